//! A stream of JSON lines, as logs and events come.

use std::marker::PhantomData;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shipway_api_types::Problem;

use crate::Error;

/// Longest line: a log line has at most 16 KiB, and JSON may make six times that of it.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Items of a stream, as they come.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    rest: BytesMut,
    over: bool,
    item: PhantomData<fn() -> T>,
}

/// What the server sends in the middle when it cannot go on.
#[derive(Deserialize)]
struct Trouble {
    problem: Problem,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, rest: BytesMut::new(), over: false, item: PhantomData }
    }

    /// The next item, or `None` when the stream has ended. May be called again
    /// when it was cancelled: nothing is lost.
    ///
    /// # Errors
    ///
    /// The connection broke, or the server could not go on.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            while let Some(line) = self.line()? {
                // An empty line is a sign of life.
                if !line.is_empty() {
                    return read(&line).map(Some);
                }
            }
            if self.over {
                return Ok(None);
            }
            match self.body.frame().await {
                None => self.over = true,
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.rest.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(Error::Broken(error.into())),
            }
        }
    }

    fn line(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(Error::Nonsense("a line is far too long".to_owned()));
            }
            return Ok(None);
        };
        let line = self.rest.split_to(end).freeze();
        self.rest.advance(1);
        Ok(Some(line))
    }
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, Error> {
    if let Ok(item) = serde_json::from_slice(line) {
        return Ok(item);
    }
    match serde_json::from_slice::<Trouble>(line) {
        Ok(trouble) => Err(Error::Refused(Box::new(trouble.problem))),
        Err(error) => Err(Error::Nonsense(error.to_string())),
    }
}

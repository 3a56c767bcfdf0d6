//! An answer on its way: bounded in bytes and time, whoever sends it.

use std::io::SeekFrom;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::{Instant, timeout_at};

use super::error::{Failure, ProxyError, Tried};

/// Bytes read from a file at once.
const FILE_PIECE_BYTES: usize = 64 << 10;

/// The body of an answer. Read it with [`Body::chunk`] or [`Body::bytes`].
#[derive(Debug)]
pub struct Body {
    pub(super) source: Source,
    /// What was asked, and of whom: for errors.
    pub(super) asked: String,
    pub(super) proxy: String,
    pub(super) left: u64,
    pub(super) limit: u64,
    pub(super) idle: Duration,
    pub(super) until: Instant,
    pub(super) size: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Source {
    Http(Box<Incoming>),
    /// A file, and how many bytes of it are still wanted.
    File {
        file: File,
        left: u64,
    },
}

impl Body {
    /// The address, without credentials, of the proxy that answered.
    #[must_use]
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    /// How many bytes it says it has, if it says so.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// Too many bytes, too slow, or cut off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ProxyError> {
        let deadline = self.until.min(Instant::now() + self.idle);
        let read = match timeout_at(deadline, self.source.next()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(self.failed(Failure::Unavailable, format!("the answer was cut off: {error}"))),
            Err(_) => return Err(self.failed(Failure::Unavailable, "the answer takes too long".to_owned())),
        };
        let Some(piece) = read else { return Ok(None) };
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let Some(left) = self.left.checked_sub(length) else {
            let limit = self.limit;
            return Err(self.failed(Failure::Broken, format!("the answer is larger than {limit} bytes")));
        };
        self.left = left;
        Ok(Some(piece))
    }

    /// The whole of a small answer.
    ///
    /// # Errors
    ///
    /// As [`Body::chunk`].
    pub async fn bytes(mut self) -> Result<Bytes, ProxyError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Leaves out all of a file but `bytes` from `start` on.
    pub(super) async fn seek(&mut self, start: u64, bytes: u64) -> std::io::Result<()> {
        if let Source::File { file, left } = &mut self.source {
            file.seek(SeekFrom::Start(start)).await?;
            *left = bytes;
        }
        self.size = Some(bytes);
        Ok(())
    }

    fn failed(&self, failure: Failure, answer: String) -> ProxyError {
        let tried = Tried { proxy: self.proxy.clone(), failure, answer };
        ProxyError { asked: self.asked.clone(), failure, tried: vec![tried] }
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Http(body) => loop {
                let Some(frame) = body.frame().await else { return Ok(None) };
                if let Ok(piece) = frame?.into_data() {
                    return Ok(Some(piece));
                }
            },
            Self::File { file, left } => {
                let mut piece = BytesMut::with_capacity(FILE_PIECE_BYTES);
                let read = file.take(*left).read_buf(&mut piece).await?;
                *left = left.saturating_sub(u64::try_from(read)?);
                Ok((read > 0).then(|| piece.freeze()))
            }
        }
    }
}

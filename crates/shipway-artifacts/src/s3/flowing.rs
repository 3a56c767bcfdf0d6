//! An answer's body, that must not stand still.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use object_store::client::HttpError;
use tokio::time::{Instant, Sleep, sleep};

use super::classify::Answer;

/// A body that ends in an error when nothing of it comes for too long.
#[derive(Debug)]
pub(super) struct Flowing {
    body: Incoming,
    stall: Duration,
    patience: Pin<Box<Sleep>>,
}

impl Flowing {
    pub(super) fn new(body: Incoming, stall: Duration) -> Self {
        Self { body, stall, patience: Box::pin(sleep(stall)) }
    }
}

impl Body for Flowing {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let stall = self.stall;
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            // Who reads slowly is not the server's fault: the time runs only while it is waited for.
            self.patience.as_mut().reset(Instant::now() + stall);
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| Answer::broken(&error).into())));
        }
        ready!(self.patience.as_mut().poll(context));
        Poll::Ready(Some(Err(Answer::late("the rest of an answer", stall).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! An answer's body, that must not stand still.

use std::error::Error as StdError;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::HttpError;
use tokio::time::{Instant, Sleep, sleep};

use super::classify::Answer;

/// A body that ends in an error when it is waited for too long. Who reads slowly is not the server's
/// fault: the time runs only while somebody waits.
#[derive(Debug)]
pub(super) struct Flowing<B> {
    body: B,
    stall: Duration,
    waited_for: bool,
    patience: Pin<Box<Sleep>>,
}

impl<B> Flowing<B> {
    pub(super) fn new(body: B, stall: Duration) -> Self {
        Self { body, stall, waited_for: false, patience: Box::pin(sleep(stall)) }
    }
}

impl<B> Body for Flowing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: StdError + 'static,
{
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.waited_for = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| Answer::broken(&error).into())));
        }
        if !self.waited_for {
            self.waited_for = true;
            let until = Instant::now() + self.stall;
            self.patience.as_mut().reset(until);
        }
        ready!(self.patience.as_mut().poll(context));
        Poll::Ready(Some(Err(Answer::late("the rest of an answer", self.stall).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::future::poll_immediate;
    use futures_util::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    const STALL: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn time_runs_while_it_is_waited_for_and_only_then() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
        let frames = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed();
        let mut body = Flowing::new(StreamBody::new(frames), STALL);
        for _ in 0..2 {
            // Nobody waits for it, for longer than it may take; then somebody looks.
            let begun = Instant::now();
            tokio::time::sleep_until(begun + STALL + STALL / 2).await;
            assert!(poll_immediate(body.frame()).await.is_none(), "it gave up too early");
            sender.try_send(Ok(Frame::data(Bytes::from("x")))).unwrap();
            assert!(body.frame().await.unwrap().is_ok());
        }
        let begun = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert!(begun.elapsed() >= STALL);
    }
}

//! A request's body on its way to a service.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pace::Pace;
use crate::headers;

/// How an upload stands, seen from the request it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    end: AtomicU8,
    bytes: AtomicU64,
    cancelled: AtomicBool,
    waker: AtomicWaker,
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadEnd {
    /// It has not.
    Running,
    /// All of it was passed on.
    Done,
    /// The visitor went away, or sent what is no body.
    Broken,
    /// The visitor paused for too long.
    Late,
    /// It was larger than allowed.
    TooLarge,
}

impl Upload {
    /// How it stands.
    pub(crate) fn end(&self) -> UploadEnd {
        match self.end.load(Ordering::Acquire) {
            0 => UploadEnd::Running,
            1 => UploadEnd::Done,
            2 => UploadEnd::Broken,
            3 => UploadEnd::Late,
            _ => UploadEnd::TooLarge,
        }
    }

    /// Bytes passed on so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Gives the rest up: the answer is complete without it.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn set(&self, end: UploadEnd) {
        let number = match end {
            UploadEnd::Running => 0,
            UploadEnd::Done => 1,
            UploadEnd::Broken => 2,
            UploadEnd::Late => 3,
            UploadEnd::TooLarge => 4,
        };
        self.end.store(number, Ordering::Release);
    }
}

/// A visitor's body, as the connection to a service reads it.
#[derive(Debug, Default)]
pub(crate) struct RequestBody(Option<Flow>);

#[derive(Debug)]
struct Flow {
    incoming: Incoming,
    upload: Arc<Upload>,
    pace: Pace,
    bytes_max: u64,
}

impl RequestBody {
    /// Wraps a body. There is no [`Upload`] where there is nothing to upload.
    pub(crate) fn new(incoming: Incoming, pause_max: Duration, bytes_max: u64) -> (Self, Option<Arc<Upload>>) {
        if incoming.is_end_stream() {
            return (Self(None), None);
        }
        let upload = Arc::new(Upload::default());
        let flow = Flow { incoming, upload: Arc::clone(&upload), pace: Pace::new(pause_max), bytes_max };
        (Self(Some(flow)), Some(upload))
    }
}

type FramePoll = Poll<Option<Result<Frame<Bytes>, io::Error>>>;

impl Flow {
    fn poll(&mut self, cx: &mut Context<'_>) -> FramePoll {
        self.upload.waker.register(cx.waker());
        if self.upload.cancelled.load(Ordering::Acquire) {
            return fail("the upload was given up");
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => self.pass(frame),
            Poll::Ready(Some(Err(error))) => {
                self.upload.set(UploadEnd::Broken);
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            Poll::Ready(None) => {
                self.upload.set(UploadEnd::Done);
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(self.pace.poll_late(cx));
                self.upload.set(UploadEnd::Late);
                fail("the visitor paused for too long")
            }
        }
    }

    fn pass(&mut self, mut frame: Frame<Bytes>) -> FramePoll {
        self.pace.moved();
        if let Some(trailers) = frame.trailers_mut() {
            headers::clean_trailers(trailers);
        }
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let before = self.upload.bytes.fetch_add(length, Ordering::Relaxed);
        if before + length > self.bytes_max {
            self.upload.set(UploadEnd::TooLarge);
            return fail("the body is too large");
        }
        if self.incoming.is_end_stream() {
            self.upload.set(UploadEnd::Done);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

fn fail(why: &'static str) -> FramePoll {
    Poll::Ready(Some(Err(io::Error::other(why))))
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll {
        match &mut self.get_mut().0 {
            Some(flow) => flow.poll(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|flow| flow.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        self.0.as_ref().map_or_else(none, |flow| flow.incoming.size_hint())
    }
}

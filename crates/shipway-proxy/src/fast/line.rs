//! The visitor's side of the fast path: its requests in, its answers out, its
//! leaving noticed.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::buffer::Buffer;
use crate::alarm::Alarm;
use crate::guard::stream::{LINGER_BYTES, LINGER_TIME};
use crate::streams::Visitor;

/// A visitor's connection.
#[derive(Debug)]
pub(super) struct Line {
    visitor: Visitor,
    /// Read, but not used yet.
    pub(super) input: Buffer,
    /// Bytes of the present request's head that still stand in `input` before its body.
    pub(super) head: usize,
    /// Bytes of the present request's body that are not used yet.
    pub(super) unread: u64,
    /// More has come than was read: nobody can see behind it whether the visitor left.
    has_more: bool,
    /// The one timer of the connection. Whoever waits sets it.
    pub(super) alarm: Alarm,
}

impl Line {
    pub(super) fn new(visitor: Visitor, first: &[u8]) -> Self {
        Self { visitor, input: Buffer::of(first), head: 0, unread: 0, has_more: false, alarm: Alarm::default() }
    }

    /// The connection and what was read of it, for somebody else.
    pub(super) fn into_parts(self) -> (Visitor, Bytes) {
        let bytes = Bytes::copy_from_slice(self.input.bytes());
        (self.visitor, bytes)
    }

    /// Takes the present request's head from `input`.
    pub(super) fn take_head(&mut self) {
        self.input.consume(std::mem::take(&mut self.head));
    }

    /// Reads more into `input`; `Ok(0)` is the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.input.poll_fill(cx, &mut self.visitor);
        self.has_more &= read.is_pending();
        read
    }

    /// Whether the visitor has left, as far as can be seen while it is answered. The
    /// task is woken when it leaves.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        if self.has_more || self.input.len() > self.head {
            return false;
        }
        match self.visitor.poll_came(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(true)) => {
                self.has_more = true;
                false
            }
            Poll::Ready(_) => true,
        }
    }

    /// Ready when the visitor has left.
    pub(super) async fn gone(&mut self) {
        poll_fn(|cx| if self.poll_gone(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Writes all of `pieces`, which shrink as it goes.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &mut &mut [IoSlice<'_>]) -> Poll<io::Result<()>> {
        IoSlice::advance_slices(pieces, 0);
        while !pieces.is_empty() {
            let visitor = Pin::new(&mut self.visitor);
            let count = match &pieces[..] {
                [one] => ready!(visitor.poll_write(cx, one))?,
                several => ready!(visitor.poll_write_vectored(cx, several))?,
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            IoSlice::advance_slices(pieces, count);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes a few bytes whole, unless the visitor reads nothing for `limit`.
    pub(super) async fn write(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        let mut pieces = [IoSlice::new(bytes)];
        let mut pieces = &mut pieces[..];
        let until = Instant::now() + limit;
        poll_fn(|cx| {
            if let Poll::Ready(written) = self.poll_write(cx, &mut pieces) {
                return Poll::Ready(written);
            }
            self.alarm.poll_until(cx, until).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    /// Ends the connection so that the visitor gets the last answer whole: what it
    /// still sends is read for a while, because a reset could overtake the answer.
    pub(super) async fn close(mut self) {
        let is_clean = self.unread == 0 && self.input.is_empty() && !self.has_more;
        let shut = poll_fn(|cx| Pin::new(&mut self.visitor).poll_shutdown(cx)).await;
        if is_clean || shut.is_err() {
            return;
        }
        let until = Instant::now() + LINGER_TIME;
        let mut left = LINGER_BYTES;
        while left > 0 {
            self.input.consume(self.input.len());
            let read = poll_fn(|cx| match self.poll_read(cx) {
                Poll::Pending => self.alarm.poll_until(cx, until).map(|()| Ok(0)),
                read => read,
            });
            match read.await {
                Ok(count) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }
}

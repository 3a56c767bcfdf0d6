//! A request on its way to a service: its head, then its body as it comes.
//!
//! Polled by whoever waits for the answer, so that a service may answer early and
//! a visitor may read its answer while it still sends.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::line::Line;
use crate::streams::Inner;

/// One request being sent. How much of its body is left, the [`Line`] knows.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    /// What of its head is not sent yet.
    head: &'a [u8],
    /// Bytes of its body sent so far.
    pub(super) bytes: u64,
    pub(super) state: State,
    /// Whether all that was sent has vanished, because the service reads no more.
    pub(super) is_unsent: bool,
}

/// How an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The service does not take it.
    WaitsForService,
    /// The visitor does not send it.
    WaitsForVisitor,
    /// All of it was sent.
    Done,
    /// The visitor went away.
    Broken,
}

impl<'a> Upload<'a> {
    pub(super) const fn new(head: &'a [u8]) -> Self {
        Self { head, bytes: 0, state: State::WaitsForService, is_unsent: false }
    }

    /// Whether nothing more will be sent.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::Broken)
    }

    /// Goes on. Returns whether anything has moved.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, line: &mut Line, io: &mut Inner) -> bool {
        let before = (self.head.len(), self.bytes);
        if !self.is_over() {
            match self.poll(cx, line, io) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.state = State::Done,
                Poll::Ready(Err(_)) => self.state = State::Broken,
            }
        }
        before != (self.head.len(), self.bytes)
    }

    fn poll(&mut self, cx: &mut Context<'_>, line: &mut Line, io: &mut Inner) -> Poll<io::Result<()>> {
        loop {
            self.state = State::WaitsForService;
            while !self.head.is_empty() || (line.unread > 0 && !line.input.is_empty()) {
                ready!(self.poll_write(cx, line, io))?;
            }
            if line.unread == 0 {
                return Poll::Ready(Ok(()));
            }
            self.state = State::WaitsForVisitor;
            if ready!(line.poll_read(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, line: &mut Line, io: &mut Inner) -> Poll<io::Result<()>> {
        let here = line.input.bytes();
        let body = &here[..usize::try_from(line.unread).unwrap_or(usize::MAX).min(here.len())];
        let is_first = self.bytes == 0 && !io.is_deaf();
        let count = if body.is_empty() {
            ready!(Pin::new(&mut *io).poll_write(cx, self.head))?
        } else {
            let pieces = [IoSlice::new(self.head), IoSlice::new(body)];
            ready!(Pin::new(&mut *io).poll_write_vectored(cx, &pieces))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.is_unsent |= is_first && io.is_deaf();
        let of_head = count.min(self.head.len());
        let of_body = count - of_head;
        self.head = &self.head[of_head..];
        if of_body > 0 {
            line.input.consume(of_body);
            line.unread -= of_body as u64;
            self.bytes += of_body as u64;
        }
        Poll::Ready(Ok(()))
    }
}

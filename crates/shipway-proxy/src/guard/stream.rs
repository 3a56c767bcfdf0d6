//! The stream that hyper reads a visitor's requests from.
//!
//! It shows everything to the [`Guard`] first. When that refuses, hyper gets a
//! small harmless request in place of the refused one, and everything before it
//! is answered first, in order. The [`Gate`], shared with the code that answers,
//! says by number which request was replaced, so nothing a visitor can send is
//! ever mistaken for it.
//!
//! It also keeps the time: a head must arrive in time, a connection may wait only
//! so long for its next request, and a visitor may not stop reading for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::{Gate, Guard, HEAD_BYTES_MAX, Refusal, Verdict};
use crate::alarm::Alarm;

/// What hyper reads in place of a refused request.
const REPLACEMENT: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// Read at a time while a head is incomplete.
const READ_BYTES: usize = 8 * 1024;

/// After a connection's last answer, what the visitor still sends is read and
/// thrown away for so long and so much: a reset could overtake the answer.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(2);
pub(crate) const LINGER_BYTES: usize = 1024 * 1024;

/// How long a visitor may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a head.
    pub(crate) header: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
    /// To read what was written to it.
    pub(crate) write: Duration,
}

/// A visitor's stream, guarded.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    io: T,
    guard: Guard,
    gate: Arc<Gate>,
    patience: Patience,
    /// Read, but not passed on yet.
    held: BytesMut,
    /// This much of `held` may be passed on.
    cleared: usize,
    /// The last request whose wish to switch the gate was told.
    announced: u64,
    /// Whether the guard has seen all of `held` in its present state.
    seen: bool,
    /// Since when a head has been awaited or incomplete.
    head_since: Option<Instant>,
    /// Since when a write has waited for its reader.
    write_since: Option<Instant>,
    /// Bytes still to be read and thrown away, and until when.
    linger: Option<(usize, Instant)>,
    reading: Alarm,
    writing: Alarm,
}

impl<T: AsyncRead + Unpin> Guarded<T> {
    /// `head_since`: when the head that `io` begins with began to arrive.
    pub(crate) fn new(io: T, gate: Arc<Gate>, patience: Patience, head_since: Instant) -> Self {
        Self {
            io,
            guard: Guard::new(),
            gate,
            patience,
            held: BytesMut::new(),
            cleared: 0,
            announced: 0,
            seen: true,
            head_since: Some(head_since),
            write_since: None,
            linger: None,
            reading: Alarm::default(),
            writing: Alarm::default(),
        }
    }

    /// Hands out what is cleared, straight from `held`.
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.cleared.min(buffer.remaining());
        buffer.put_slice(&self.held[..count]);
        self.held.advance(count);
        self.cleared -= count;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Takes the answerer's decision about an upgrade, if it has come.
    fn take_decision(&mut self, cx: &Context<'_>) {
        if !self.guard.is_switching() {
            return;
        }
        if let Some(upgraded) = self.gate.decision(cx) {
            self.guard.decide(upgraded);
            self.seen = false;
        }
    }

    /// Notes what the guard said; what is refused gives way to the replacement.
    fn settle(&mut self, verdict: Verdict) {
        self.seen = true;
        if self.guard.is_switching() && self.announced != self.guard.heads() {
            self.announced = self.guard.heads();
            self.gate.ask_upgrade(self.announced);
        }
        self.cleared = verdict.pass;
        if verdict.pass > 0 {
            self.head_since = None;
        }
        if let Some(refusal) = verdict.refusal {
            self.refuse(refusal);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        // Within a body there is nothing to replace: the request is already being
        // answered, and gets an error instead of its end.
        self.held.truncate(self.cleared);
        if refusal != Refusal::Chunk {
            self.held.extend_from_slice(REPLACEMENT);
            self.cleared = self.held.len();
        }
        self.gate.refuse(self.guard.heads() + 1, refusal);
    }

    fn is_refused(&self) -> bool {
        self.gate.refused().is_some()
    }

    /// Reads straight into the reader's buffer, and takes back what may not pass.
    fn poll_direct(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let verdict = self.guard.inspect(&buffer.filled()[before..]);
        let passed = before + verdict.pass;
        self.held.extend_from_slice(&buffer.filled()[passed..]);
        buffer.set_filled(passed);
        if verdict.pass > 0 {
            self.head_since = None;
        }
        self.settle(Verdict { pass: 0, ..verdict });
        Poll::Ready(Ok(()))
    }

    /// Reads more behind what is held. `Ok(false)` is the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.held.len() > HEAD_BYTES_MAX {
            // Only an undecided upgrade can hold so much; its decision wakes us.
            return Poll::Pending;
        }
        self.held.reserve(READ_BYTES);
        let io = Pin::new(&mut self.io);
        let count = ready!(tokio_util::io::poll_read_buf(io, cx, &mut self.held))?;
        self.seen = false;
        Poll::Ready(Ok(count > 0))
    }

    /// When what the visitor does now must be over.
    fn deadline(&mut self) -> Option<Instant> {
        if !self.guard.is_before_body() || self.is_refused() {
            return None;
        }
        let heads = self.guard.heads();
        if heads == 0 || !self.held.is_empty() {
            let since = *self.head_since.get_or_insert_with(Instant::now);
            return Some(since + self.patience.header);
        }
        // hyper does not ask again when an answer is over. So a connection that is
        // busy has an alarm too, which looks again and is then set right.
        let since = self.gate.idle_since(heads).unwrap_or_else(Instant::now);
        Some(since + self.patience.idle)
    }

    /// Called when there is nothing to read: is the visitor's time up?
    fn poll_late(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(deadline) = self.deadline() else {
            return Poll::Pending;
        };
        ready!(self.reading.poll_until(cx, deadline));
        if self.held.is_empty() {
            // Nothing was asked: the connection just ends.
            return Poll::Ready(Ok(()));
        }
        self.cleared = 0;
        self.refuse(Refusal::HeadTimeout);
        self.hand_out(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        loop {
            if this.cleared > 0 {
                this.hand_out(buffer);
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = this.gate.refused() {
                return match refusal {
                    Refusal::Chunk => Poll::Ready(Err(io::Error::other(Refusal::Chunk))),
                    // The replacement's answer closes the connection.
                    _ => Poll::Pending,
                };
            }
            this.take_decision(cx);
            if !this.seen {
                let verdict = this.guard.inspect(&this.held);
                this.settle(verdict);
                continue;
            }
            if this.held.is_empty() {
                match this.poll_direct(cx, buffer) {
                    Poll::Pending => return this.poll_late(cx, buffer),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                        return Poll::Ready(Ok(()));
                    }
                    // Nothing read at all: the end.
                    Poll::Ready(Ok(())) if this.held.is_empty() && !this.is_refused() => {
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Ok(())) => {}
                }
            } else {
                match this.poll_more(cx) {
                    Poll::Pending => return this.poll_late(cx, buffer),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(true)) => {}
                }
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    /// A write that waits too long for its reader fails.
    fn watch<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() || self.guard.is_tunnel() {
            self.write_since = None;
            return written;
        }
        let since = *self.write_since.get_or_insert_with(Instant::now);
        ready!(self.writing.poll_until(cx, since + self.patience.write));
        self.gate.give_up_unread();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and throws away, so that a reset does not overtake the last answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>, mut left: usize, until: Instant) -> Poll<()> {
        let mut scratch = [0_u8; READ_BYTES];
        while left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => {
                    self.linger = Some((left, until));
                    return self.reading.poll_until(cx, until);
                }
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    left = left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (left, until) = match this.linger {
            Some(linger) => linger,
            None => {
                ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                let is_clean = this.guard.is_before_body() && this.held.is_empty();
                let left = if is_clean || this.guard.is_tunnel() { 0 } else { LINGER_BYTES };
                (left, Instant::now() + LINGER_TIME)
            }
        };
        this.poll_linger(cx, left, until).map(Ok)
    }
}

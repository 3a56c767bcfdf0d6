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

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Guard, HEAD_BYTES_MAX, Refusal, Verdict};

/// What hyper reads in place of a refused request.
const REPLACEMENT: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// Read at a time while a head is incomplete.
const READ_BYTES: usize = 8 * 1024;

/// After a connection's last answer, what the visitor still sends is read and
/// thrown away for so long and so much: a reset could overtake the answer.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

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

/// What the guard and the code that answers tell each other.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The number of the replaced request, and why.
    refused: OnceLock<(u64, Refusal)>,
    /// The number of the request whose upgrade is undecided, or 0.
    switching: AtomicU64,
    upgraded: AtomicBool,
    waker: AtomicWaker,
    answered: AtomicU64,
}

impl Gate {
    /// Why request `number` was replaced, if it was.
    pub(crate) fn refusal(&self, number: u64) -> Option<Refusal> {
        let (refused, refusal) = self.refused.get()?;
        (*refused == number).then_some(*refusal)
    }

    /// Whether request `number` asks for another protocol.
    pub(crate) fn asks_upgrade(&self, number: u64) -> bool {
        self.switching.load(Ordering::Acquire) == number
    }

    /// Says how request `number` was answered: with 101, or otherwise.
    pub(crate) fn decide(&self, number: u64, upgraded: bool) {
        if self.asks_upgrade(number) {
            self.upgraded.store(upgraded, Ordering::Release);
            self.switching.store(0, Ordering::Release);
            self.waker.wake();
        }
    }

    /// Counts a finished answer: the connection may be idle now.
    pub(crate) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::AcqRel);
    }
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
    reading: Deadline,
    writing: Deadline,
    linger: Option<usize>,
}

impl<T: AsyncRead + Unpin> Guarded<T> {
    pub(crate) fn new(io: T, gate: Arc<Gate>, patience: Patience) -> Self {
        Self {
            io,
            guard: Guard::new(),
            gate,
            patience,
            held: BytesMut::new(),
            cleared: 0,
            announced: 0,
            seen: true,
            reading: Deadline::default(),
            writing: Deadline::default(),
            linger: None,
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
        self.gate.waker.register(cx.waker());
        if self.gate.switching.load(Ordering::Acquire) == 0 {
            self.guard.decide(self.gate.upgraded.load(Ordering::Acquire));
            self.seen = false;
        }
    }

    /// Notes what the guard said; what is refused gives way to the replacement.
    fn settle(&mut self, verdict: Verdict) {
        self.seen = true;
        if self.guard.is_switching() && self.announced != self.guard.heads() {
            self.announced = self.guard.heads();
            self.gate.switching.store(self.announced, Ordering::Release);
        }
        self.cleared = verdict.pass;
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
        // Only the first refusal counts; the guard passes nothing after it.
        self.gate.refused.set((self.guard.heads() + 1, refusal)).ok();
    }

    fn is_refused(&self) -> bool {
        self.gate.refused.get().is_some()
    }

    /// Reads straight into the reader's buffer, and takes back what may not pass.
    fn poll_direct(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let verdict = self.guard.inspect(&buffer.filled()[before..]);
        let passed = before + verdict.pass;
        self.held.extend_from_slice(&buffer.filled()[passed..]);
        buffer.set_filled(passed);
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

    /// The limit that runs now, with a number that changes when another one begins.
    fn limit(&self) -> Option<(u64, Duration)> {
        if !self.guard.is_before_body() || self.is_refused() {
            return None;
        }
        let heads = self.guard.heads();
        if heads == 0 || !self.held.is_empty() {
            return Some((heads * 2 + 1, self.patience.header));
        }
        let is_idle = self.gate.answered.load(Ordering::Acquire) >= heads;
        is_idle.then_some((heads * 2, self.patience.idle))
    }

    /// Called when there is nothing to read: is the visitor's time up?
    fn poll_late(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some((phase, limit)) = self.limit() else {
            self.reading.stop();
            return Poll::Pending;
        };
        ready!(self.reading.poll(cx, phase, limit));
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
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        loop {
            if this.cleared > 0 {
                this.hand_out(buffer);
                return Poll::Ready(Ok(()));
            }
            if let Some((_, refusal)) = this.gate.refused.get() {
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
            self.writing.stop();
            return written;
        }
        ready!(self.writing.poll(cx, 0, self.patience.write));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and throws away, so that a reset does not overtake the last answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>, mut left: usize) -> Poll<()> {
        let mut scratch = [0_u8; READ_BYTES];
        while left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => {
                    self.linger = Some(left);
                    return self.reading.poll(cx, u64::MAX, LINGER_TIME);
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
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
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
        let left = match this.linger {
            Some(left) => left,
            None => {
                ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                let is_clean = this.guard.is_before_body() && this.held.is_empty();
                if is_clean || this.guard.is_tunnel() {
                    0
                } else {
                    LINGER_BYTES
                }
            }
        };
        this.poll_linger(cx, left).map(Ok)
    }
}

/// A timer that is set up only when something really has to wait.
#[derive(Debug, Default)]
struct Deadline {
    /// What is timed now, and since when.
    running: Option<(u64, Instant)>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    const fn stop(&mut self) {
        self.running = None;
    }

    /// Ready when `phase` has lasted for `limit`. A new phase starts anew.
    fn poll(&mut self, cx: &mut Context<'_>, phase: u64, limit: Duration) -> Poll<()> {
        let since = match self.running {
            Some((running, since)) if running == phase => since,
            _ => {
                let now = Instant::now();
                self.running = Some((phase, now));
                now
            }
        };
        let end = since + limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(end)));
        // Most phases end long before their limit. Moving the timer only when it
        // rings too early costs nothing for each request.
        loop {
            if sleep.deadline() > end {
                sleep.as_mut().reset(end);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= end {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(end);
        }
    }
}

//! One request over one connection to a service, and its answer back.
//!
//! ```text
//!          ┌── upload: head, body as it comes ──┐
//! visitor ─┤                                    ├─ service
//!          └── answer: head, body as it comes ◄─┘
//! ```
//!
//! Both ways move in every wait. Nothing is collected: a slow reader slows its
//! writer down.

use std::future::poll_fn;
use std::io::{IoSlice, Write as _};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::buffer::{Buffer, SMALL};
use super::chunked::Chunks;
use super::line::Line;
use super::response::{self, Answer, Asked, Framing, Seen};
use super::upload::{State, Upload};
use crate::answer::Failure;
use crate::metrics::Limit;
use crate::server::Proxy;
use crate::streams::Inner;

/// So much of a body is copied behind its head and written with it; more is cheaper
/// written from where it is.
const JOINED_MAX: usize = 4 * 1024;

/// A request under way.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    line: &'a mut Line,
    io: Inner,
    upload: Upload<'a>,
    reply: Buffer,
    proxy: &'a Proxy,
    /// Since when nothing has moved.
    still_since: Option<Instant>,
    /// Bytes of the answer's body given to the visitor.
    pub(super) sent: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// For this reason, which the visitor is told.
    Failed(Failure),
    /// The service closed the connection.
    Closed,
    /// The visitor has left.
    Gone,
}

/// An answer that ended before its end.
#[derive(Debug)]
pub(super) struct Broken;

/// What a finished exchange leaves.
#[derive(Debug)]
pub(super) struct Finished {
    /// The connection to the service, if another request may go out on it.
    pub(super) reusable: Option<Inner>,
    /// Whether all of the request was taken.
    pub(super) is_whole: bool,
}

impl<'a> Exchange<'a> {
    /// `head` is the request's, as the service will read it.
    pub(super) fn new(line: &'a mut Line, io: Inner, head: &'a [u8], proxy: &'a Proxy) -> Self {
        let (upload, reply) = (Upload::new(head), Buffer::new());
        Self { line, io, upload, reply, proxy, still_since: None, sent: 0 }
    }

    /// Whether the service can have seen nothing of the request.
    pub(super) const fn is_unsent(&self) -> bool {
        self.upload.is_unsent
    }

    /// Bytes of the request's body sent so far.
    pub(super) const fn uploaded(&self) -> u64 {
        self.upload.bytes
    }

    /// Sends the request until the answer's head is there; `out` is then that head for
    /// the visitor.
    pub(super) async fn head(
        &mut self,
        asked: Asked<'_>,
        first_byte: Duration,
        out: &mut Vec<u8>,
    ) -> Result<Answer, NoAnswer> {
        let mut is_searched = false;
        let answer = poll_fn(|cx| self.poll_head(cx, asked, first_byte, &mut is_searched, out)).await?;
        self.reply.consume(answer.length);
        self.still_since = None;
        Ok(answer)
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        asked: Asked<'_>,
        first_byte: Duration,
        is_searched: &mut bool,
        out: &mut Vec<u8>,
    ) -> Poll<Result<Answer, NoAnswer>> {
        if self.upload.advance(cx, self.line, &mut self.io) {
            self.still_since = None;
        }
        if self.upload.state == State::Broken {
            return fail(Failure::BodyBroken);
        }
        loop {
            match self.reply.poll_fill(cx, &mut self.io) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) if count > 0 => match self.look(count, asked, is_searched, out) {
                    Some(found) => return Poll::Ready(found),
                    None => self.reply.enlarge(),
                },
                Poll::Ready(_) => return Poll::Ready(Err(NoAnswer::Closed)),
            }
        }
        if self.upload.is_over() && self.line.poll_gone(cx) {
            return Poll::Ready(Err(NoAnswer::Gone));
        }
        let (limit, late) = match self.upload.state {
            State::WaitsForVisitor => (self.proxy.limits.body_idle, Failure::BodyLate),
            _ => (first_byte, Failure::FirstByte),
        };
        match self.poll_still(cx, limit) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => fail(late),
        }
    }

    /// Looks for the answer's head after `count` more bytes have come; swallows
    /// interim responses.
    fn look(
        &mut self,
        count: usize,
        asked: Asked<'_>,
        is_searched: &mut bool,
        out: &mut Vec<u8>,
    ) -> Option<Result<Answer, NoAnswer>> {
        // Looked at once at its begin, then only when its end may be there: a head
        // that arrives byte by byte must not cost its square.
        if *is_searched && !may_end(self.reply.bytes(), count) {
            return self.is_too_large();
        }
        *is_searched = true;
        // Nothing can follow a body whose rest nobody waits for.
        let is_last = asked.is_last || self.line.unread > 0 || self.proxy.drain.is_cancelled();
        let asked = Asked { is_last, ..asked };
        loop {
            match response::look(self.reply.bytes(), asked, out) {
                Seen::Answer(answer) => return Some(Ok(answer)),
                Seen::Garbage => return Some(Err(NoAnswer::Failed(Failure::BadAnswer))),
                Seen::More => return self.is_too_large(),
                Seen::Interim(length) => self.reply.consume(length),
            }
            if self.reply.is_empty() {
                return None;
            }
        }
    }

    fn is_too_large(&mut self) -> Option<Result<Answer, NoAnswer>> {
        self.reply.enlarge();
        self.reply.is_full().then_some(Err(NoAnswer::Failed(Failure::BadAnswer)))
    }

    /// Ready when nothing has moved for `limit`.
    fn poll_still(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.still_since.get_or_insert_with(Instant::now);
        self.line.alarm.poll_until(cx, since + limit)
    }

    /// Passes the answer on to its end, `head` first.
    pub(super) async fn relay(&mut self, answer: Answer, head: &mut Vec<u8>) -> Result<(), Broken> {
        let limits = &self.proxy.limits;
        let pause_max = if answer.is_stream { limits.stream_idle } else { limits.response_idle };
        match answer.framing {
            Framing::Empty => self.write(head, 0, b"").await,
            Framing::Length(length) => self.relay_length(length, head, pause_max).await,
            Framing::Chunked => self.relay_chunks(head, pause_max).await,
            Framing::UntilClose => self.relay_to_end(head, pause_max).await,
        }
    }

    async fn relay_length(&mut self, mut left: u64, head: &mut Vec<u8>, pause_max: Duration) -> Result<(), Broken> {
        if left > SMALL as u64 {
            self.reply.enlarge();
        }
        loop {
            let here = self.reply.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if !head.is_empty() && here <= JOINED_MAX {
                head.extend_from_slice(&self.reply.bytes()[..here]);
                self.write(head, 0, b"").await?;
                self.sent += here as u64;
            } else {
                self.write(head, here, b"").await?;
            }
            self.reply.consume(here);
            head.clear();
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            if self.more(pause_max).await? == 0 {
                return self.cut();
            }
        }
    }

    async fn relay_chunks(&mut self, head: &mut Vec<u8>, pause_max: Duration) -> Result<(), Broken> {
        let mut chunks = Chunks::new();
        loop {
            let Some(unpacked) = chunks.unpack(self.reply.bytes_mut()) else {
                return self.cut();
            };
            self.write_chunk(head, unpacked.data, unpacked.is_end).await?;
            self.reply.consume(unpacked.used);
            if unpacked.is_end {
                return Ok(());
            }
            if self.more(pause_max).await? == 0 {
                return self.cut();
            }
        }
    }

    async fn relay_to_end(&mut self, head: &mut Vec<u8>, pause_max: Duration) -> Result<(), Broken> {
        let mut is_end = false;
        loop {
            let here = self.reply.len();
            self.write_chunk(head, here, is_end).await?;
            self.reply.consume(here);
            if is_end {
                return Ok(());
            }
            is_end = self.more(pause_max).await? == 0;
        }
    }

    /// Writes `before`, then the first `here` bytes of the reply as a chunk.
    async fn write_chunk(&mut self, before: &mut Vec<u8>, here: usize, is_end: bool) -> Result<(), Broken> {
        if here > 0 {
            // Writing to a Vec does not fail.
            write!(before, "{here:x}\r\n").ok();
        }
        let after: &[u8] = match (here > 0, is_end) {
            (true, true) => b"\r\n0\r\n\r\n",
            (true, false) => b"\r\n",
            (false, true) => b"0\r\n\r\n",
            (false, false) => b"",
        };
        self.write(before, here, after).await?;
        before.clear();
        Ok(())
    }

    /// The service ended its answer in the middle.
    fn cut(&self) -> Result<(), Broken> {
        self.proxy.metrics.upstream_failures.add(1);
        Err(Broken)
    }

    /// Reads more of the answer; 0 is its connection's end.
    async fn more(&mut self, pause_max: Duration) -> Result<usize, Broken> {
        self.still_since = None;
        let read = poll_fn(|cx| {
            self.upload.advance(cx, self.line, &mut self.io);
            if let Poll::Ready(read) = self.reply.poll_fill(cx, &mut self.io) {
                // A reset is an end, too: before the end of a body it is a failure.
                return Poll::Ready(Some(read.unwrap_or(0)));
            }
            let is_gone = self.upload.state == State::Broken || (self.upload.is_over() && self.line.poll_gone(cx));
            if is_gone {
                return Poll::Ready(None);
            }
            self.poll_still(cx, pause_max).map(|()| {
                self.proxy.metrics.limit(Limit::ResponseIdle);
                None
            })
        });
        read.await.ok_or(Broken)
    }

    /// Writes to the visitor: `before`, the first `here` bytes of the reply, `after`.
    async fn write(&mut self, before: &[u8], here: usize, after: &[u8]) -> Result<(), Broken> {
        let Self { line, io, upload, reply, proxy, .. } = self;
        let mut pieces = [before, &reply.bytes()[..here], after].map(IoSlice::new);
        let count = pieces.iter().rposition(|piece| !piece.is_empty()).map_or(0, |last| last + 1);
        let mut pieces = &mut pieces[..count];
        let mut waits = None;
        let write = poll_fn(|cx| {
            let before = pieces.iter().map(|piece| piece.len()).sum::<usize>();
            if let Poll::Ready(written) = line.poll_write(cx, &mut pieces) {
                return Poll::Ready(written.map_err(|_| Broken));
            }
            upload.advance(cx, line, io);
            let moved = pieces.iter().map(|piece| piece.len()).sum::<usize>() != before;
            if moved {
                waits = None;
            }
            let since = *waits.get_or_insert_with(Instant::now);
            line.alarm.poll_until(cx, since + proxy.limits.response_idle).map(|()| {
                proxy.metrics.limit(Limit::ResponseIdle);
                Err(Broken)
            })
        });
        write.await?;
        self.sent += here as u64;
        Ok(())
    }

    /// Ends it after the whole answer: what is left on the connection decides whether
    /// it may be used again.
    pub(super) fn finish(self, answer: Answer) -> Finished {
        let is_whole = self.upload.state == State::Done;
        let is_reusable = answer.is_reusable && answer.framing != Framing::UntilClose;
        let is_clean = is_whole && is_reusable && self.reply.is_empty() && !self.io.is_deaf();
        Finished { reusable: is_clean.then_some(self.io), is_whole }
    }
}

fn fail<T>(failure: Failure) -> Poll<Result<T, NoAnswer>> {
    Poll::Ready(Err(NoAnswer::Failed(failure)))
}

/// Whether a head may end in the last `count` of `bytes`.
fn may_end(bytes: &[u8], count: usize) -> bool {
    let from = bytes.len().saturating_sub(count + 2);
    bytes[from..].windows(2).any(|pair| pair[0] == b'\n' && (pair[1] == b'\n' || pair[1] == b'\r'))
}

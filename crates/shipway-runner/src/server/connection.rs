//! One client: its socket, what it sent and has not been read yet, what it has
//! not taken yet, and how far its current request is.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::limits;
use super::output::Output;
use super::poller::Poller;
use super::script::Script;
use super::slots::{Source, Token};
use crate::http::body::{Body, Piece};
use crate::http::head::{Framing, Head, Refusal};

/// Bytes asked for at a time.
const READ_BYTES: usize = 16 * 1024;

/// The connection cannot go on and is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// How far a connection's current request is.
#[derive(Debug)]
pub enum Phase {
    /// Its head has not arrived; `begun` when some of it has.
    Head {
        /// Whether the clock for the head runs.
        begun: bool,
    },
    /// It waits for a script's seat.
    Queued,
    /// A script works on it.
    Script(Box<Script>),
    /// Its answer is complete and is being written.
    Flush,
    /// Answered; what the client still sends is dropped, so many bytes at most.
    Linger {
        /// Bytes left.
        left: usize,
    },
}

/// What reading from a client came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// There is more in `input` now.
    More,
    /// Nothing to read now.
    Blocked,
    /// The client sends no more.
    End,
}

/// One client.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// Received, not yet used.
    pub input: Vec<u8>,
    /// How much of `input` has been searched for the end of a head.
    pub scanned: usize,
    /// To be written.
    pub output: Output,
    /// How far the current request is.
    pub phase: Phase,
    /// When the current phase has lasted too long.
    pub deadline: Instant,
    /// That has happened.
    pub is_due: bool,
    /// The current request.
    pub head: Option<Rc<Head>>,
    /// How far its body has been read.
    pub body: Body,
    /// Whether another request may follow.
    pub keep_alive: bool,
    /// The runner is stopping: no other request follows.
    pub is_last: bool,
    /// There is more to do at once; others get their turn first.
    pub again: bool,
    readable: bool,
    wants_input: bool,
    wants_output: bool,
    watched: Option<EventFlags>,
}

impl Connection {
    /// Takes a client that has just come.
    #[must_use]
    pub fn new(socket: OwnedFd, deadline: Instant) -> Self {
        Self {
            socket,
            input: Vec::new(),
            scanned: 0,
            output: Output::default(),
            phase: Phase::Head { begun: false },
            deadline,
            is_due: false,
            head: None,
            body: Body::new(Framing::None),
            keep_alive: true,
            is_last: false,
            again: false,
            readable: false,
            wants_input: false,
            wants_output: false,
            watched: None,
        }
    }

    /// Takes note of an event on the socket; true when the client is gone.
    ///
    /// A unix socket says HUP once the peer has closed it, but not when it only
    /// stopped sending. TCP cannot tell the two apart; there, a client that stops
    /// sending while a script works for it counts as gone, as elsewhere on the web.
    pub fn note(&mut self, flags: EventFlags, is_tcp: bool) -> bool {
        self.readable |= flags.contains(EventFlags::IN);
        let waits_for_script = matches!(self.phase, Phase::Queued | Phase::Script(_));
        flags.intersects(EventFlags::HUP | EventFlags::ERR)
            || (is_tcp && waits_for_script && flags.contains(EventFlags::RDHUP))
    }

    /// Takes note of an event on one of its script's pipes.
    pub fn wake(&mut self, source: Source) {
        if let Phase::Script(script) = &mut self.phase {
            script.wake(source);
        }
    }

    /// Forgets what the last turn waited for.
    pub const fn begin_turn(&mut self) {
        self.wants_input = false;
        self.wants_output = false;
        self.again = false;
    }

    /// Reads more of what the client sends.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub fn fill(&mut self) -> Result<Filled, Gone> {
        while self.readable {
            self.input.reserve(READ_BYTES);
            match rustix::io::read(&self.socket, spare_capacity(&mut self.input)) {
                Ok(0) => return Ok(Filled::End),
                Ok(_) => return Ok(Filled::More),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readable = false,
                Err(_) => return Err(Gone),
            }
        }
        self.wants_input = true;
        Ok(Filled::Blocked)
    }

    /// Drops what has been used of `input`, and its memory when nothing is left:
    /// most connections are idle.
    pub fn used(&mut self, count: usize) {
        if count >= self.input.len() {
            self.input = Vec::new();
        } else {
            self.input.drain(..count);
        }
        self.scanned = 0;
    }

    /// Writes what the client takes; true when all is written.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub fn flush(&mut self, now: Instant) -> Result<bool, Gone> {
        if self.output.is_empty() {
            return Ok(true);
        }
        let (flushed, moved) = self.output.flush(&self.socket).map_err(|_| Gone)?;
        if moved && matches!(self.phase, Phase::Flush) {
            self.deadline = now + limits::STALL;
        }
        self.wants_output = flushed == super::output::Flushed::Some;
        Ok(!self.wants_output)
    }

    /// Drops what has arrived of the current request's body; true when that was all.
    ///
    /// # Errors
    ///
    /// Its framing is broken.
    pub fn drop_body(&mut self) -> Result<bool, Refusal> {
        loop {
            match self.body.next(&self.input)? {
                Piece::Done => return Ok(true),
                Piece::Wait => return Ok(false),
                Piece::Framing(count) => self.used(count),
                Piece::Data(count) => {
                    self.body.consume(count);
                    self.used(count);
                }
            }
        }
    }

    /// Says that nothing more will be sent, so that the client sees the end of
    /// the answer while we still drop what it sends.
    pub fn stop_sending(&self) {
        // A client that is gone already needs no telling.
        rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write).ok();
    }

    /// Makes closing reset the connection (TCP), so that half an answer is not
    /// taken for a whole one. On a unix socket the missing end must say so.
    pub fn reset(&self) {
        let at_once = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&self.socket, at_once).ok();
    }

    /// Asks to be told of what this turn ended waiting for.
    ///
    /// # Errors
    ///
    /// `epoll` takes no more.
    pub fn watch(&mut self, poller: &Poller, token: Token, is_tcp: bool) -> Result<(), Gone> {
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, self.wants_input);
        wanted.set(EventFlags::OUT, self.wants_output);
        let waits_for_script = matches!(self.phase, Phase::Queued | Phase::Script(_));
        wanted.set(EventFlags::RDHUP, is_tcp && waits_for_script);
        let data = token.data(Source::Socket);
        let result = match self.watched {
            None => poller.add(&self.socket, wanted, data),
            Some(watched) if watched != wanted => poller.modify(&self.socket, wanted, data),
            Some(_) => Ok(()),
        };
        self.watched = Some(wanted);
        if let Phase::Script(script) = &mut self.phase {
            script.watch(poller, token).map_err(|_: io::Error| Gone)?;
        }
        result.map_err(|_| Gone)
    }
}

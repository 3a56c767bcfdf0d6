//! The loop: one thread, one `epoll`, everything non-blocking.
//!
//! A connection is in one of these phases, and [`exchange`] moves it on until it
//! must wait for something:
//!
//! ```text
//!        ┌────────────────────────── keep-alive ──────────────────────────┐
//!        ▼                                                                │
//!      Head ──► (file, refusal, probe) ────────────────────────────► Flush ──► Linger ──► closed
//!        │                                                            ▲
//!        └──► Queued ──► Script ──────────────────────────────────────┘
//! ```
//!
//! Events only say *look again*: no state is kept in them, all of them are
//! level-triggered, and one that is late for a closed connection meets a newer
//! generation of its [`slots::Token`] and is dropped.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventFlags};

use crate::cgi::environment::Base;
use crate::cgi::program::Program;
use crate::config::{Config, Kind};
use crate::content::Content;
use crate::family::Family;
use crate::sys;

pub mod connection;
pub mod exchange;
pub mod limits;
pub mod log;
pub mod output;
pub mod poller;
pub mod process;
pub mod script;
pub mod slots;
pub mod waiting;

use connection::{Connection, Phase};
use limits::Budget;
use poller::Poller;
use slots::{Slots, Source, Token};

/// Most events taken at once; more wait in the kernel.
const EVENTS_MAX: usize = 64;

/// Most connections accepted before others get their turn.
const ACCEPTS_MAX: usize = 64;

/// The runner at work.
#[derive(Debug)]
pub struct Server {
    config: Config,
    budget: Budget,
    content: Content,
    program: Option<Program>,
    base: Base,
    poller: Poller,
    listener: Option<OwnedFd>,
    is_listening: bool,
    is_tcp: bool,
    signals: OwnedFd,
    slots: Slots<Connection>,
    queue: waiting::Queue,
    family: Family,
    log: log::Log,
    scratch: Vec<u8>,
    /// When the loop must look at its deadlines; nothing is due before.
    wake_at: Option<Instant>,
    sweep_at: Option<Instant>,
    draining_until: Option<Instant>,
    now: Instant,
}

impl Server {
    /// Takes over descriptor 3 and the signals.
    ///
    /// # Errors
    ///
    /// There is no listening socket at descriptor 3, or the kernel refused a call.
    pub fn open(config: Config) -> io::Result<Self> {
        let listener = sys::announced_listener()?;
        rustix::io::ioctl_fionbio(&listener, true)?;
        sys::hide_from_scripts()?;
        let signals = sys::take_signals()?;
        let poller = Poller::open()?;
        poller.add(&listener, EventFlags::IN, slots::LISTENER)?;
        poller.add(&signals, EventFlags::IN, slots::SIGNALS)?;
        let is_tcp = !matches!(rustix::net::getsockname(&listener)?.address_family(), rustix::net::AddressFamily::UNIX);
        let budget = Budget::new(config.concurrency);
        Ok(Self {
            budget,
            content: Content::open(&config),
            program: None,
            base: Base::new(std::env::vars_os()),
            poller,
            listener: Some(listener),
            is_listening: true,
            is_tcp,
            signals,
            slots: Slots::default(),
            queue: waiting::Queue::default(),
            family: Family::open()?,
            log: log::Log::default(),
            scratch: Vec::new(),
            wake_at: None,
            sweep_at: None,
            draining_until: None,
            now: Instant::now(),
            config,
        })
    }

    /// Serves until SIGTERM, then finishes what is in flight.
    ///
    /// # Errors
    ///
    /// `epoll_wait` failed, which nothing can be done about.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while !self.is_finished() {
            self.poller.wait(&mut events, self.now, self.next_wake())?;
            self.now = Instant::now();
            for event in events.drain(..) {
                self.dispatch(event);
            }
            self.on_time();
            self.start_waiting();
            self.log.flush();
        }
        self.family.end_all();
        self.log.flush();
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.draining_until.is_some_and(|limit| self.slots.count() == 0 || self.now >= limit)
    }

    fn dispatch(&mut self, event: epoll::Event) {
        match event.data.u64() {
            slots::LISTENER => self.accept(),
            slots::SIGNALS => self.on_signals(),
            data => {
                let (token, source) = Token::of(data);
                self.on_connection(token, source, event.flags);
            }
        }
    }

    /// Accepts what has come, up to what descriptors there are for.
    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            if self.slots.count() >= self.budget.connections {
                return self.stop_listening();
            }
            let Some(listener) = &self.listener else {
                return;
            };
            let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
            match rustix::net::accept_with(listener, flags) {
                Ok(socket) => self.admit(socket),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOMEM) => {
                    // Tried again when a connection ends, or soon.
                    self.wake_by(self.now + limits::RETRY);
                    return self.stop_listening();
                }
                // One that is gone already says nothing about the next.
                Err(_) => {}
            }
        }
    }

    fn admit(&mut self, socket: OwnedFd) {
        let deadline = self.now + limits::IDLE;
        let connection = Box::new(Connection::new(socket, deadline));
        let token = self.slots.insert(connection);
        self.wake_by(deadline);
        self.on_connection(token, Source::Socket, EventFlags::IN);
    }

    fn stop_listening(&mut self) {
        if let (Some(listener), true) = (&self.listener, self.is_listening) {
            self.is_listening = self.poller.delete(listener).is_err();
        }
    }

    fn listen_again(&mut self) {
        if self.is_listening || self.slots.count() >= self.budget.connections {
            return;
        }
        if let Some(listener) = &self.listener {
            self.is_listening = self.poller.add(listener, EventFlags::IN, slots::LISTENER).is_ok();
        }
    }

    /// Moves one connection on after an event on one of its descriptors.
    fn on_connection(&mut self, token: Token, source: Source, flags: EventFlags) {
        let Some(mut connection) = self.slots.take(token) else {
            return;
        };
        let is_gone = source == Source::Socket && connection.note(flags, self.is_tcp);
        if source != Source::Socket {
            connection.wake(source);
        }
        if is_gone {
            self.close(token, connection);
        } else {
            self.go_on(token, connection);
        }
    }

    /// Drives a connection until it must wait, and keeps it or lets it go.
    fn go_on(&mut self, token: Token, mut connection: Box<Connection>) {
        let fate = exchange::drive(self, token, &mut connection);
        let fate = fate.and_then(|()| connection.watch(&self.poller, token, self.is_tcp));
        if fate.is_err() {
            return self.close(token, connection);
        }
        self.wake_by(connection.deadline);
        self.slots.put_back(token, connection);
    }

    fn close(&mut self, token: Token, connection: Box<Connection>) {
        if let Phase::Script(script) = &connection.phase {
            script.abandon(&mut self.family);
        }
        self.slots.remove(token);
        drop(connection);
        self.listen_again();
    }

    fn wake_by(&mut self, deadline: Instant) {
        self.wake_at = Some(self.wake_at.map_or(deadline, |at| at.min(deadline)));
    }

    fn next_wake(&self) -> Option<Instant> {
        let retry = self.log.is_waiting().then(|| self.now + limits::RETRY);
        [self.wake_at, self.sweep_at, self.draining_until, retry].into_iter().flatten().min()
    }

    /// Does what is due.
    fn on_time(&mut self) {
        if self.sweep_at.is_some_and(|at| at <= self.now) {
            self.sweep_at = None;
            self.sweep();
        }
        if self.log.resume() {
            self.for_each(|connection, _| connection.wake(Source::Stderr));
        }
        if self.wake_at.is_some_and(|at| at <= self.now) {
            self.wake_at = None;
            self.for_each(|connection, now| connection.is_due |= connection.deadline <= now);
            self.listen_again();
        }
    }

    /// Lets every connection take note of something, and moves on those that did.
    fn for_each(&mut self, note: impl Fn(&mut Connection, Instant)) {
        for token in self.slots.tokens() {
            if let Some(mut connection) = self.slots.take(token) {
                note(&mut connection, self.now);
                self.go_on(token, connection);
            }
        }
    }

    /// Begins to stop: nobody new, nobody idle; the others finish their request.
    fn drain(&mut self) {
        if self.draining_until.is_some() {
            // Asked twice: now.
            self.draining_until = Some(self.now);
            return;
        }
        self.stop_listening();
        self.listener = None;
        self.draining_until = Some(self.now + self.config.timeout + limits::DRAIN_EXTRA);
        self.for_each(|connection, _| connection.is_last = true);
    }

    /// What runs the script; learnt when first asked for, and again while it fails.
    fn program(&mut self) -> io::Result<&Program> {
        match &mut self.program {
            Some(program) => Ok(program),
            empty => Ok(empty.insert(Program::of_script(&self.config.content)?)),
        }
    }

    /// Whether content could be served now; otherwise, why not.
    fn readiness(&mut self) -> Result<(), String> {
        crate::content::readable(&self.config.content)?;
        if self.config.kind == Kind::Static {
            return Ok(());
        }
        let program = self.program().map_err(|error| error.to_string())?;
        program.obstacle().map_or(Ok(()), Err)
    }
}

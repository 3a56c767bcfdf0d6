//! What a child says on its way to its program, heard by its shim.

use alloc::string::String;
use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use shipway_shim::protocol::Launched;

use crate::container::child::{EXEC, READY, TERMINAL};
use crate::failure::{Failure, Step as _};
use crate::packet::{Packet, receive};
use crate::{status, sys};

const STEP: &str = "wait for the program to start";

/// What one child has said so far.
#[derive(Debug)]
pub(crate) struct Words<'child> {
    socket: &'child OwnedFd,
    heard: Heard,
}

/// The same, without whom it was heard from.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Its terminal's master side.
    pub(crate) master: Option<OwnedFd>,
    /// It has nothing left to do but to run.
    ready: bool,
    /// It is about to execute its program.
    pub(crate) executes: bool,
}

impl<'child> Words<'child> {
    /// Nothing yet from the child behind `socket`.
    pub(super) fn new(socket: &'child OwnedFd) -> Self {
        Self { socket, heard: Heard::default() }
    }

    /// Listens until the child waits for the word to run.
    pub(super) fn until_ready(&mut self, limit: Duration) -> Result<(), Failure> {
        let deadline = status::now() + limit;
        while !self.heard.ready {
            if !self.hear_one(deadline)? {
                return Err(killed());
            }
        }
        Ok(())
    }

    /// Listens until the program has taken the child's place; returns its terminal.
    pub(super) fn until_executed(mut self, limit: Duration) -> Result<Option<OwnedFd>, Failure> {
        let deadline = status::now() + limit;
        while self.hear_one(deadline)? {}
        if self.heard.executes { Ok(self.heard.master) } else { Err(killed()) }
    }

    /// Whether there was a word; else it has fallen silent for good.
    fn hear_one(&mut self, deadline: Duration) -> Result<bool, Failure> {
        loop {
            let left = deadline.saturating_sub(status::now());
            let mut watched = [sys::watched(self.socket, libc::POLLIN)];
            sys::poll(&mut watched, i32::try_from(left.as_millis()).unwrap_or(0)).step(STEP)?;
            match receive(self.socket, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) if left.is_zero() => return Err(Errno::TIMEDOUT).step(STEP),
                Err(Errno::AGAIN) => {}
                Err(errno) => return Err(errno).step(STEP),
                Ok(None) => return Ok(false),
                Ok(Some(packet)) => return self.heard.take(packet).map(|()| true),
            }
        }
    }
}

impl Heard {
    /// Takes one word; a child that says what went wrong is a failure.
    pub(crate) fn take(&mut self, packet: Packet) -> Result<(), Failure> {
        const STEP: &str = "listen to the child";
        match packet.bytes.as_deref() {
            Some(EXEC) => self.executes = true,
            Some(READY) => self.ready = true,
            Some(TERMINAL) => self.master = packet.descriptors.into_iter().next(),
            Some(words) => match serde_json::from_slice(words) {
                Ok(Launched::Failed { step, errno, detail }) => {
                    return Err(Failure { step, errno, detail });
                }
                _ => return Err(Failure::refused(STEP, String::from_utf8_lossy(words))),
            },
            None => return Err(Failure::refused(STEP, "it spoke too long")),
        }
        Ok(())
    }
}

fn killed() -> Failure {
    Failure::refused(STEP, "the child was killed on its way")
}

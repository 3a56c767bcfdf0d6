//! Ends wrappers that have stopped minding their time.
//!
//! A wrapper is its script's user, so a script can stop it (`SIGSTOP`) and live on past
//! its time limit. The first process cannot be stopped. Each wrapper connects to it
//! before it starts a script and stays connected; one that still is when every limit of
//! its request must have passed is killed, and what it leaves becomes the first
//! process's to end. Nothing is read from the connection.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::SocketFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::family;

/// Who is at work, and until when.
#[derive(Debug)]
pub struct Watch {
    listener: OwnedFd,
    limit: Duration,
    most: usize,
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    connection: OwnedFd,
    process: OwnedFd,
    until: Instant,
}

impl Watch {
    /// Watches who connects to `listener`: at most `most`, each for `limit`.
    ///
    /// # Errors
    ///
    /// Any error of making it non-blocking.
    pub fn new(listener: OwnedFd, most: usize, limit: Duration) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        Ok(Self { listener, limit, most, watched: Vec::new() })
    }

    /// What becomes readable when there is something for [`Watch::look`] to do.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.watched.iter().map(|watched| watched.connection.as_fd()))
    }

    /// When somebody's time is over.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.watched.iter().map(|watched| watched.until).min()
    }

    /// Forgets who has ended, takes note of who has come, and kills who is overdue.
    /// `is_parent` says which processes start wrappers. Returns how many were killed.
    pub fn look(&mut self, now: Instant, is_parent: impl Fn(Pid) -> bool) -> usize {
        self.watched.retain(|watched| is_connected(&watched.connection));
        while let Ok(connection) =
            rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
        {
            if let (Some(process), true) = (wrapper(&connection, &is_parent), self.watched.len() < self.most) {
                self.watched.push(Watched { connection, process, until: now + self.limit });
            }
        }
        let before = self.watched.len();
        self.watched.retain(|watched| {
            let is_due = watched.until <= now;
            if is_due {
                // Fails only when it has ended.
                rustix::process::pidfd_send_signal(&watched.process, Signal::KILL).ok();
            }
            !is_due
        });
        before - self.watched.len()
    }
}

/// The process at the other end, if it is a wrapper. A script may connect too, and hand
/// the connection on; it is no child of fcgiwrap's.
fn wrapper(connection: &OwnedFd, is_parent: impl Fn(Pid) -> bool) -> Option<OwnedFd> {
    let pid = rustix::net::sockopt::socket_peercred(connection).ok()?.pid;
    // Opened first: from here on the number means this process or none.
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    family::parent_of(pid).filter(|parent| is_parent(*parent)).map(|_| process)
}

fn is_connected(connection: &OwnedFd) -> bool {
    let mut byte = [0];
    // Whoever sends something is as little a wrapper as who has hung up.
    rustix::io::read(connection, &mut byte) == Err(rustix::io::Errno::AGAIN)
}

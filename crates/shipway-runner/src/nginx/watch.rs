//! Ends wrappers that have stopped minding their time.
//!
//! A wrapper is its script's user, so a script can stop it (`SIGSTOP`) and live on past
//! its time limit. The first process cannot be stopped. Each wrapper connects to it
//! before it starts a script; one that still runs when every limit of its request must
//! have passed is killed. What one leaves when it ends is the first process's to end,
//! which hears of that here: the kernel tells nobody that it has become a parent. Nothing
//! is read from the connection.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
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

/// What [`Watch::look`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How many have ended.
    pub ended: usize,
    /// How many were overdue and were killed.
    pub killed: usize,
}

#[derive(Debug)]
struct Watched {
    /// Its end tells the wrapper that nobody watches it.
    _connection: OwnedFd,
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
        std::iter::once(self.listener.as_fd()).chain(self.watched.iter().map(|watched| watched.process.as_fd()))
    }

    /// When somebody's time is over.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.watched.iter().map(|watched| watched.until).min()
    }

    /// Forgets who has ended, takes note of who has come, and kills who is overdue.
    /// `is_parent` says which processes start wrappers.
    pub fn look(&mut self, now: Instant, is_parent: impl Fn(Pid) -> bool) -> Seen {
        let before = self.watched.len();
        self.watched.retain(|watched| !has_ended(&watched.process));
        let mut ended = before - self.watched.len();
        while let Ok(connection) =
            rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
        {
            match caller(&connection) {
                Some((process, parent)) if is_parent(parent) && self.watched.len() < self.most => {
                    self.watched.push(Watched { _connection: connection, process, until: now + self.limit });
                }
                Some(_) => {}
                // A script may have killed its wrapper before this, and fcgiwrap have reaped it.
                None => ended += 1,
            }
        }
        let mut killed = 0;
        for watched in self.watched.iter_mut().filter(|watched| watched.until <= now) {
            // Fails only when it has ended.
            rustix::process::pidfd_send_signal(&watched.process, Signal::KILL).ok();
            watched.until = now + self.limit;
            killed += 1;
        }
        Seen { ended, killed }
    }
}

/// The process that connected, unless it is gone, and its parent: fcgiwrap if it is a
/// wrapper. A script may connect too, and hand the connection on.
fn caller(connection: &OwnedFd) -> Option<(OwnedFd, Pid)> {
    let pid = rustix::net::sockopt::socket_peercred(connection).ok()?.pid;
    // Opened first: from here on the number means this process or none.
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    family::parent_of(pid).map(|parent| (process, parent))
}

/// A process's descriptor becomes readable when its children have been given away.
fn has_ended(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that connects, says so, and stays.
    fn connected(path: &std::path::Path) -> Child {
        let program = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nprint(flush=True)\nsys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", program]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child
    }

    #[test]
    fn who_stays_too_long_is_killed_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watch");
        let listener = UnixListener::bind(&path).unwrap();
        let limit = Duration::from_secs(60);
        let mut watch = Watch::new(listener.into(), 2, limit).unwrap();
        let now = Instant::now();
        let is_parent = |pid| pid == rustix::process::getpid();

        // A stranger, with a connection it hands to nobody.
        let stranger = UnixStream::connect(&path).unwrap();
        let mut stopped = connected(&path);
        rustix::process::kill_process(Pid::from_child(&stopped), Signal::STOP).unwrap();
        assert_eq!(watch.look(now, is_parent), Seen { ended: 0, killed: 0 });
        assert_eq!(watch.watched.len(), 1, "the stranger is no child of the parent's");
        let mut quick = connected(&path);
        let mut surplus = connected(&path);
        assert_eq!(watch.look(now, is_parent), Seen { ended: 0, killed: 0 });
        assert_eq!(watch.watched.len(), 2, "and no more than that");
        drop(quick.stdin.take());
        quick.wait().unwrap();
        assert_eq!(watch.next_wake(), Some(now + limit));
        assert_eq!(watch.look(now + limit, is_parent), Seen { ended: 1, killed: 1 });
        assert_eq!(stopped.wait().unwrap().signal(), Some(9));
        assert_eq!(watch.look(now + limit, is_parent), Seen { ended: 1, killed: 0 });
        assert!(watch.watched.is_empty());
        drop((stranger, surplus.stdin.take()));
        surplus.wait().unwrap();
    }

    #[test]
    fn who_connected_and_is_gone_before_anybody_looks_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watch");
        let listener = UnixListener::bind(&path).unwrap();
        let mut watch = Watch::new(listener.into(), 2, Duration::from_secs(60)).unwrap();
        let mut killed = connected(&path);
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert_eq!(watch.look(Instant::now(), |_| true), Seen { ended: 1, killed: 0 });
        assert!(watch.watched.is_empty());
    }
}

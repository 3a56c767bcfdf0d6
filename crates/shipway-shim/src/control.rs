//! `ctl.sock`: questions about a running container, and their answers.
//!
//! Root alone can connect. One message is one question; a connection may ask several,
//! but one that asked for a process ([`crate::exec`]) belongs to that process, and its
//! hanging up kills it.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, accept_with};
use rustix::process::{Signal, WaitIdStatus, pidfd_send_signal};
use shipway_shim::protocol::{Answer, Ask, CONNECTIONS_MAX, EXECS_MAX, Process, TerminalSize};

use crate::exec::{Execution, Progress};
use crate::failure::{Failure, MayFail as _};
use crate::launcher::Shared;
use crate::packet::{Packet, receive, send_json};
use crate::shim::watch::{Place, Watch};
use crate::start::Running;
use crate::sys;

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// Exit status, when it exited.
    pub(crate) code: Option<i32>,
    /// Signal, when it was killed.
    pub(crate) signal: Option<i32>,
}

impl From<&WaitIdStatus> for Ended {
    fn from(status: &WaitIdStatus) -> Self {
        Self { code: status.exit_status(), signal: status.terminating_signal() }
    }
}

impl Ended {
    /// Whether SIGKILL ended it, or a shell says that of its last command.
    pub(crate) fn was_killed(self) -> bool {
        self.signal == Some(libc::SIGKILL) || self.code == Some(128 + libc::SIGKILL)
    }

    fn answer(self) -> Answer {
        Answer::Exited { code: self.code, signal: self.signal }
    }
}

/// Everybody who is connected, and the processes they asked for.
#[derive(Debug, Default)]
pub(crate) struct Control {
    connections: Vec<Connection>,
    executions: Vec<Execution>,
    next_id: u64,
    has_killed: bool,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    socket: OwnedFd,
    /// Whether it asked to be told of the container's end.
    waits: bool,
}

impl Control {
    /// Whether the container's first process was killed on request.
    pub(crate) fn has_killed(&self) -> bool {
        self.has_killed
    }

    /// Adds everything of it that can be waited for.
    pub(crate) fn watch(&self, watch: &mut Watch, listener: &OwnedFd) {
        watch.add(Place::Control, listener, libc::POLLIN);
        for connection in &self.connections {
            watch.add(Place::Connection(connection.id), &connection.socket, libc::POLLIN);
        }
        for execution in &self.executions {
            watch.add(Place::Execution(execution.id()), execution.watched(), libc::POLLIN);
        }
    }

    /// When [`Control::expire`] is next needed.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.executions.iter().filter_map(Execution::deadline).min()
    }

    /// Kills processes that were too long on their way.
    pub(crate) fn expire(&mut self) {
        for execution in &mut self.executions {
            execution.expire();
        }
    }

    /// Takes one new connection, or hangs up on it when there are too many.
    pub(crate) fn accept(&mut self, listener: &OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = accept_with(listener, flags) else {
            return;
        };
        if self.connections.len() < CONNECTIONS_MAX {
            self.next_id += 1;
            self.connections.push(Connection { id: self.next_id, socket, waits: false });
        }
    }

    /// Answers one question of connection `id`.
    pub(crate) fn hear(&mut self, id: u64, running: &Running, shared: &Shared) {
        let Some(at) = self.connections.iter().position(|one| one.id == id) else {
            return;
        };
        let received = self.connections.get(at).map(|connection| receive(&connection.socket, RecvFlags::DONTWAIT));
        let packet = match received {
            Some(Ok(Some(packet))) => packet,
            Some(Err(Errno::AGAIN)) | None => return,
            Some(Ok(None) | Err(_)) => return self.hang_up(id),
        };
        if let Some(answer) = self.answer(id, packet, running, shared) {
            self.send(id, &answer, &[]);
        }
    }

    fn answer(&mut self, id: u64, packet: Packet, running: &Running, shared: &Shared) -> Option<Answer> {
        let text = packet.bytes.unwrap_or_default();
        let ask = match serde_json::from_slice(&text) {
            Ok(ask) => ask,
            Err(error) => return Some(refused(0, alloc::format!("not a question: {error}"))),
        };
        match ask {
            Ask::Ping => Some(Answer::Done),
            Ask::Kill => Some(self.kill(running)),
            Ask::Signal { signal } => Some(self.signal(id, signal, running)),
            Ask::Wait => {
                let connection = self.connections.iter_mut().find(|one| one.id == id);
                connection.into_iter().for_each(|connection| connection.waits = true);
                None
            }
            Ask::Exec { process, size } => {
                let started = self.execute(id, (&process, size), packet.descriptors, running, shared);
                started.err().map(|failure| refusal(&failure))
            }
        }
    }

    /// A process of the asker's own, or the container's first.
    fn signal(&mut self, id: u64, signal: i32, running: &Running) -> Answer {
        let Some(signal_sent) = sys::signal(signal) else {
            return refused(Errno::INVAL.raw_os_error(), "no such signal".into());
        };
        let own = self.executions.iter().find(|one| one.id() == id);
        if own.is_none() && signal == libc::SIGKILL {
            self.has_killed = true;
        }
        let target = own.map_or(&running.init.pidfd, Execution::pidfd);
        done(pidfd_send_signal(target, signal_sent))
    }

    /// The first process takes every other of its pid namespace along.
    fn kill(&mut self, running: &Running) -> Answer {
        self.has_killed = true;
        done(pidfd_send_signal(&running.init.pidfd, Signal::KILL))
    }

    fn execute(
        &mut self,
        id: u64,
        process: (&Process, Option<TerminalSize>),
        descriptors: Vec<OwnedFd>,
        running: &Running,
        shared: &Shared,
    ) -> Result<(), Failure> {
        const STEP: &str = "start another process";
        if self.executions.iter().any(|one| one.id() == id) {
            return Err(Failure::refused(STEP, "this connection has one already"));
        }
        if self.executions.len() >= EXECS_MAX {
            return Err(Failure::refused(STEP, "too many are running"));
        }
        let execution = Execution::start(id, process, descriptors, running, shared)?;
        self.executions.push(execution);
        Ok(())
    }

    /// Something happened to the process of connection `id`.
    pub(crate) fn follow(&mut self, id: u64) {
        let Some(at) = self.executions.iter().position(|one| one.id() == id) else {
            return;
        };
        let Some(execution) = self.executions.get_mut(at) else {
            return;
        };
        match execution.follow() {
            Progress::Nothing => {}
            Progress::Runs { pid, master } => {
                let master: Vec<BorrowedFd<'_>> = master.iter().map(AsFd::as_fd).collect();
                self.send(id, &Answer::Executed { pid }, &master);
            }
            Progress::Failed(failure) => {
                drop(self.executions.swap_remove(at));
                self.send(id, &refusal(&failure), &[]);
            }
            Progress::Ended(ended) => {
                drop(self.executions.swap_remove(at));
                self.send(id, &ended.answer(), &[]);
                self.hang_up(id);
            }
        }
    }

    /// Tells all who asked that the container has ended.
    pub(crate) fn tell_waiting(&mut self, ended: Ended) {
        // Its other processes died with it, and were reaped on the way here or are
        // now; their askers are owed how.
        let executing: Vec<u64> = self.executions.iter().map(Execution::id).collect();
        for id in executing {
            self.follow(id);
        }
        for connection in self.connections.iter().filter(|one| one.waits) {
            // Who does not listen will find exit.json.
            send_json(&connection.socket, &ended.answer(), &[]).may_fail();
        }
    }

    /// Sends an answer; who does not take it is hung up on.
    fn send(&mut self, id: u64, answer: &Answer, descriptors: &[BorrowedFd<'_>]) {
        let connection = self.connections.iter().find(|one| one.id == id);
        let sent = connection.map(|one| send_json(&one.socket, answer, descriptors));
        if matches!(sent, Some(Err(_))) {
            self.hang_up(id);
        }
    }

    /// Forgets a connection; its process is killed, and reaped when it has died.
    fn hang_up(&mut self, id: u64) {
        self.connections.retain(|one| one.id != id);
        if let Some(execution) = self.executions.iter().find(|one| one.id() == id) {
            // Gone already, at worst.
            pidfd_send_signal(execution.pidfd(), Signal::KILL).may_fail();
        }
    }
}

fn done(result: Result<(), Errno>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(errno) => refused(errno.raw_os_error(), "the process cannot be signalled".into()),
    }
}

fn refusal(failure: &Failure) -> Answer {
    refused(failure.errno, alloc::format!("{}: {}", failure.step, failure.detail))
}

fn refused(errno: i32, detail: String) -> Answer {
    Answer::Refused { errno, detail }
}

//! Another process in a running container.
//!
//! Forked from the shim, not from a program executed anew: 0.7 ms instead of the 14
//! that `runc exec` takes. The shim's children are in the container's pid namespace
//! already; the child joins the cgroups and the other namespaces, gives up the same as
//! the first process did, and executes.
//!
//! Between entering and execve the child is among hostile processes: it is not
//! dumpable, so none of them can trace it or look at what it has open, and if they stop
//! it, it is killed after [`START_LIMIT`] while the shim goes on.

use alloc::vec::Vec;
use core::ffi::c_int;
use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use shipway_shim::protocol::{Process, TerminalSize};

use crate::container::child::{TERMINAL, become_root_inside, join_cgroups};
use crate::container::process::{Cue, Program, Stdio};
use crate::container::terminal;
use crate::control::Ended;
use crate::failure::{Failure, MayFail as _, Step as _};
use crate::launcher::Shared;
use crate::packet::{receive, send, send_json};
use crate::start::{self, Heard, Running};
use crate::status;
use crate::sys::{self, Child, Forked};

/// Longest time from the fork to the program.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What the child enters. Its pid namespace it is born into, its network the shim is in.
const ENTERED: c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;

/// One such process, on its way or running.
#[derive(Debug)]
pub(crate) struct Execution {
    /// Of the connection that asked for it.
    id: u64,
    child: Child,
    way: Option<Way>,
}

/// The time between fork and execve.
#[derive(Debug)]
struct Way {
    socket: OwnedFd,
    heard: Heard,
    deadline: Duration,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing to tell yet.
    Nothing,
    /// Its program runs.
    Runs {
        /// Seen from the host.
        pid: i32,
        /// Of its terminal.
        master: Option<OwnedFd>,
    },
    /// It never ran.
    Failed(Failure),
    /// It ended.
    Ended(Ended),
}

impl Execution {
    /// Forks a child on its way to `process`, whose terminal, if any, has this size.
    pub(crate) fn start(
        id: u64,
        (process, size): (&Process, Option<TerminalSize>),
        descriptors: Vec<OwnedFd>,
        running: &Running,
        shared: &Shared,
    ) -> Result<Self, Failure> {
        start::check_process(process)?;
        let stdio = stdio(process, descriptors)?;
        let (ours, theirs) = start::socket_pair()?;
        let (cgroup, tasks) = start::open_cgroups(&running.launch)?;
        let forked = sys::clone3(0, cgroup.as_ref().map(AsFd::as_fd));
        match forked.step("fork the process")? {
            Forked::Child => Entrant { process, size, stdio, tasks, running, shared, shim: theirs }.live(),
            Forked::Parent(child) => Ok(Self {
                id,
                child,
                way: Some(Way { socket: ours, heard: Heard::default(), deadline: status::now() + START_LIMIT }),
            }),
        }
    }

    /// Of the connection that asked for it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Its process.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.child.pidfd
    }

    /// What to wait for: its words on its way, then its end.
    pub(crate) fn watched(&self) -> BorrowedFd<'_> {
        let way = self.way.as_ref();
        way.map_or_else(|| self.child.pidfd.as_fd(), |way| way.socket.as_fd())
    }

    /// When it must be running.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.way.as_ref().map(|way| way.deadline)
    }

    /// Kills it if it is not running when it must be.
    pub(crate) fn expire(&mut self) {
        let now = status::now();
        let Some(way) = self.way.as_mut().filter(|way| way.deadline <= now) else {
            return;
        };
        // Its socket's end is heard next, and says the rest. One that even this does not
        // end at once is not tried again in a tight loop.
        way.deadline = now + START_LIMIT;
        pidfd_send_signal(&self.child.pidfd, Signal::KILL).may_fail();
    }

    /// Finds out what happened.
    pub(crate) fn follow(&mut self) -> Progress {
        match &mut self.way {
            Some(way) => match way.follow() {
                Ok(false) => Progress::Nothing,
                Ok(true) => {
                    let way = self.way.take();
                    Progress::Runs { pid: self.child.pid, master: way.and_then(|way| way.heard.master) }
                }
                Err(failure) => {
                    start::end(&self.child);
                    Progress::Failed(failure)
                }
            },
            None => self.reap(),
        }
    }

    fn reap(&self) -> Progress {
        let child = WaitId::PidFd(self.child.pidfd.as_fd());
        match waitid(child, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(status)) => Progress::Ended(Ended::from(&status)),
            _ => Progress::Nothing,
        }
    }
}

impl Way {
    /// Whether its program runs.
    fn follow(&mut self) -> Result<bool, Failure> {
        const STEP: &str = "wait for the process to start";
        match receive(&self.socket, RecvFlags::DONTWAIT) {
            Ok(Some(packet)) => self.heard.take(packet).map(|()| false),
            Ok(None) if self.heard.executes => Ok(true),
            Ok(None) => Err(Failure::refused(STEP, "it was killed on its way")),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno).step(STEP),
        }
    }
}

fn stdio(process: &Process, descriptors: Vec<OwnedFd>) -> Result<Option<Stdio>, Failure> {
    const STEP: &str = "take stdin, stdout and stderr";
    let count = descriptors.len();
    let mut three = descriptors.into_iter();
    match (process.terminal, three.next(), three.next(), three.next()) {
        (true, ..) => Ok(None),
        (false, Some(input), Some(output), Some(errors)) => Ok(Some(Stdio::apart(input, output, errors))),
        _ => Err(Failure::refused(STEP, alloc::format!("{count} descriptors came"))),
    }
}

/// The child on its way in.
struct Entrant<'spec> {
    process: &'spec Process,
    size: Option<TerminalSize>,
    /// `None`: a terminal is made inside.
    stdio: Option<Stdio>,
    tasks: Vec<OwnedFd>,
    running: &'spec Running,
    shared: &'spec Shared,
    shim: OwnedFd,
}

impl<'spec> Entrant<'spec> {
    fn live(self) -> ! {
        let Ok(report) = sys::duplicate_above(&self.shim, 128) else { sys::leave(1) };
        let failure = match self.enter() {
            Ok(program) => program.execute(&report),
            Err(failure) => failure,
        };
        // If the shim is gone too, nobody is left to tell.
        send_json(&report, &failure.into_launched(), &[]).may_fail();
        sys::leave(1)
    }

    fn enter(self) -> Result<Program<'spec>, Failure> {
        join_cgroups(&self.tasks)?;
        sys::enter(&self.running.init.pidfd, ENTERED).step("enter the container")?;
        become_root_inside()?;
        let stdio = match self.stdio {
            Some(stdio) => stdio,
            None => {
                let terminals = terminal::of_this_container()?;
                let pair = terminal::make(&terminals, self.process)?;
                if let Some(size) = self.size {
                    sys::resize_terminal(&pair.master, size.columns, size.rows).step("set the terminal's size")?;
                }
                send(&self.shim, TERMINAL, &[pair.master.as_fd()]).step("hand over the terminal")?;
                Stdio::of_terminal(pair.slave)?
            }
        };
        Ok(Program {
            process: self.process,
            stdio,
            listener: None,
            seccomp: self.shared.seccomp.as_deref(),
            cue: Cue::AtOnce,
        })
    }
}

//! The shim's side of a start: from a launch to a running program, or to nothing.
//!
//! A start that fails leaves nothing behind: the child is dead and reaped, mounts and
//! namespaces went with it, sockets and `run.json` are unlinked. Cgroups belong to the
//! engine and are left as they are, empty.

mod checks;
mod gate;
mod places;
mod words;

use alloc::vec::Vec;
use core::ffi::c_int;
use core::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use shipway_shim::protocol::{Launch, Run, path_bytes};

use crate::container::child::{self, Birth, GO, RUN};
use crate::container::namespaces;
use crate::container::trees::Trees;
use crate::failure::{Failure, MayFail as _, Step as _};
use crate::launcher::Shared;
use crate::packet::send;
use crate::status;
use crate::sys::{self, Child, Forked};
pub(crate) use checks::check_process;
pub(crate) use places::Places;
pub(crate) use words::Heard;
use words::Words;

/// Longest time from the first namespace to the program; far beyond the 2 ms it takes,
/// so that only a hung file system runs into it.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running container, as its shim holds it.
#[derive(Debug)]
pub(crate) struct Running {
    /// What it was made from.
    pub(crate) launch: Launch,
    /// Its folders and sockets.
    pub(crate) places: Places,
    /// Its first process.
    pub(crate) init: Child,
    /// What `run.json` says.
    pub(crate) run: Run,
    /// Where its output comes from: stdout and stderr, or a terminal.
    pub(crate) output: Output,
}

/// Where a container's output comes from.
#[derive(Debug)]
pub(crate) enum Output {
    /// The reading ends of two pipes.
    Pipes {
        /// stdout.
        output: OwnedFd,
        /// stderr.
        errors: OwnedFd,
    },
    /// The master side of its terminal.
    Terminal(OwnedFd),
    /// Somewhere else already: the shim's loop reads it.
    Taken,
}

/// Parses `message`, makes the container and starts its program; with a gate, once the
/// engine at the other end of `reply` has opened it.
pub(crate) fn start(
    shared: &Shared,
    message: &[u8],
    listener: Option<OwnedFd>,
    reply: &OwnedFd,
) -> Result<Running, Failure> {
    let launch: Launch = serde_json::from_slice(message)
        .map_err(|error| Failure::refused("read the launch", alloc::format!("{error}")))?;
    checks::check(&launch, listener.is_some())?;
    let mut places = Places::open(&launch)?;
    match bear(shared, &launch, listener, &mut places, reply) {
        Ok((init, run, output)) => Ok(Running { launch, places, init, run, output }),
        Err(failure) => {
            places.forget();
            Err(failure)
        }
    }
}

type Born = (Child, Run, Output);

fn bear(
    shared: &Shared,
    launch: &Launch,
    listener: Option<OwnedFd>,
    places: &mut Places,
    reply: &OwnedFd,
) -> Result<Born, Failure> {
    let (ours, theirs) = socket_pair()?;
    let (pipes, output) = pipes(launch)?;
    let (cgroup, tasks) = open_cgroups(launch)?;
    let flags = namespaces::of_a_new_container(&launch.network);
    let forked = sys::clone3(flags, cgroup.as_ref().map(AsFd::as_fd));
    match forked.step("clone the first process")? {
        Forked::Child => child::live(Birth { launch, shared, shim: theirs, tasks, output, listener }),
        Forked::Parent(init) => {
            drop((theirs, output, tasks, cgroup, listener));
            match (Raising { shared, launch, init: &init, socket: &ours, reply }).raise(places) {
                Ok((run, master)) => {
                    let output = match (pipes, master) {
                        (Some(pipes), _) => pipes,
                        (None, Some(master)) => Output::Terminal(master),
                        (None, None) => unreachable_without_terminal(&init)?,
                    };
                    Ok((init, run, output))
                }
                Err(failure) => {
                    end(&init);
                    Err(failure)
                }
            }
        }
    }
}

fn unreachable_without_terminal(init: &Child) -> Result<Output, Failure> {
    end(init);
    Err(Failure::refused("take the terminal", "the child sent none"))
}

/// Kills and reaps a child whose start failed.
pub(crate) fn end(child: &Child) {
    use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
    pidfd_send_signal(&child.pidfd, Signal::KILL).may_fail();
    waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED).may_fail();
}

/// What it takes to bring a child up.
struct Raising<'launch> {
    shared: &'launch Shared,
    launch: &'launch Launch,
    init: &'launch Child,
    /// To the child.
    socket: &'launch OwnedFd,
    /// To the engine.
    reply: &'launch OwnedFd,
}

impl Raising<'_> {
    /// Brings the child up to its program; returns what is recorded, and its terminal.
    fn raise(self, places: &mut Places) -> Result<(Run, Option<OwnedFd>), Failure> {
        let Self { shared, launch, init, socket, reply } = self;
        let namespace = namespaces::map_ids(init.pid, launch.id_base)?;
        raise_limits(launch, init.pid)?;
        let trees = Trees::prepare(launch, shared, &namespace)?;
        tell(socket, GO, &trees)?;
        drop((trees, namespace));
        let mut run = status::begin_run(init.pid, &shared.boot_id)?;
        let mut words = Words::new(socket);
        if let Some(patience_ms) = launch.gate_ms {
            words.until_ready(START_LIMIT)?;
            gate::wait(reply, socket, &run, Duration::from_millis(patience_ms))?;
            places.begin()?;
            run.started_at = status::micros_since_epoch();
        }
        status::record_run(places, &run)?;
        // A child that failed already says so below.
        send(socket, RUN, &[]).may_fail();
        let master = words.until_executed(START_LIMIT)?;
        Ok((run, master))
    }
}

fn tell(socket: &OwnedFd, word: &[u8], trees: &Trees) -> Result<(), Failure> {
    match send(socket, word, &trees.descriptors()) {
        // The child has failed and gone; its own words are more use than this.
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        other => other.step("hand over the mounts"),
    }
}

/// Hard limits above the shim's own, while we have the host's privileges. Where they
/// do not suffice (no `CAP_SYS_RESOURCE`), the limit stays at the host's.
fn raise_limits(launch: &Launch, pid: i32) -> Result<(), Failure> {
    for limit in &launch.process.rlimits {
        let (soft, hard) = sys::limit(pid, limit.resource, None).step("read a resource limit")?;
        if limit.hard > hard {
            sys::limit(pid, limit.resource, Some((soft, limit.hard))).may_fail();
        }
    }
    Ok(())
}

/// The namespaces of a container that its shim enters: so that sockets it makes are in
/// the container's network, and its children in the container's pid namespace.
pub(crate) fn own_namespaces(launch: &Launch) -> c_int {
    namespaces::own_network(&launch.network) | libc::CLONE_NEWPID
}

/// A pair of sockets for packets.
pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd), Failure> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    socketpair(AddressFamily::UNIX, kind, flags, None).step("make a socket pair")
}

type Pipes = (Option<Output>, Option<[OwnedFd; 2]>);

/// Our ends and the child's. The child's belong to its user, so that `/dev/stdout`
/// can be opened again inside.
fn pipes(launch: &Launch) -> Result<Pipes, Failure> {
    const STEP: &str = "make the output's pipes";
    if launch.process.terminal {
        return Ok((None, None));
    }
    let user = rustix::fs::Uid::from_raw(launch.id_base + launch.process.uid);
    let group = rustix::fs::Gid::from_raw(launch.id_base + launch.process.gid);
    let make = || -> Result<(OwnedFd, OwnedFd), Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only our end: a program that finds its stdout non-blocking loses output.
        rustix::io::ioctl_fionbio(&reader, true)?;
        rustix::fs::fchown(&writer, Some(user), Some(group))?;
        Ok((reader, writer))
    };
    let ((output, output_in), (errors, errors_in)) = (make().step(STEP)?, make().step(STEP)?);
    Ok((Some(Output::Pipes { output, errors }), Some([output_in, errors_in])))
}

type OpenCgroups = (Option<OwnedFd>, Vec<OwnedFd>);

/// The v2 directory to be born into, and the `tasks` files of the v1 ones.
pub(crate) fn open_cgroups(launch: &Launch) -> Result<OpenCgroups, Failure> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let (mut v2, mut v1) = (None, Vec::new());
    for cgroup in &launch.cgroups {
        let path = path_bytes(&cgroup.path);
        if cgroup.v2 {
            v2 = Some(crate::files::open_folder(path).step_on("open a cgroup", path)?);
            continue;
        }
        let tasks = [path, b"/tasks"].concat();
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(CWD, &tasks, flags, Mode::empty()).step_on("open a cgroup", &tasks)?;
        v1.push(file);
    }
    Ok((v2, v1))
}

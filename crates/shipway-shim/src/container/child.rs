//! The child's side: from its first instruction to the user's program.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Mode;
use rustix::net::RecvFlags;
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use shipway_shim::protocol::{Launch, Network};

use crate::container::process::{Cue, Program, Stdio};
use crate::container::trees::Trees;
use crate::container::{assembly, network, terminal};
use crate::failure::{Failure, MayFail as _, Step as _};
use crate::launcher::Shared;
use crate::packet::{receive, send, send_json};
use crate::sys;

/// The shim's word that the mounts are ready.
pub(crate) const GO: &[u8] = b"go";
/// The shim's word that `run.json` is written.
pub(crate) const RUN: &[u8] = b"run";
/// The child's word beside its terminal's master side.
pub(crate) const TERMINAL: &[u8] = b"terminal";
/// The child's word that it has nothing left to do but to wait for [`RUN`]; only with a gate.
pub(crate) const READY: &[u8] = b"ready";
/// The child's last word before execve.
pub(crate) const EXEC: &[u8] = b"exec";

/// What a child starts with.
#[derive(Debug)]
pub(crate) struct Birth<'launch> {
    /// What it was made from.
    pub(crate) launch: &'launch Launch,
    /// What all containers share.
    pub(crate) shared: &'launch Shared,
    /// Its end of the socket pair.
    pub(crate) shim: OwnedFd,
    /// The `tasks` files of its v1 cgroups, opened by the shim.
    pub(crate) tasks: Vec<OwnedFd>,
    /// Where stdout and stderr go; `None` with a terminal.
    pub(crate) output: Option<[OwnedFd; 2]>,
    /// The listening socket of a runner.
    pub(crate) listener: Option<OwnedFd>,
}

/// Becomes the container's program, or says why not and ends.
pub(crate) fn live(birth: Birth<'_>) -> ! {
    // Kept apart, because on the way the original is moved and closed.
    let Ok(report) = sys::duplicate_above(&birth.shim, 64) else { sys::leave(1) };
    let failure = match grow_up(birth) {
        Ok(program) => program.execute(&report),
        Err(failure) => failure,
    };
    // If the shim is gone too, nobody is left to tell.
    send_json(&report, &failure.into_launched(), &[]).may_fail();
    sys::leave(1)
}

fn grow_up(birth: Birth<'_>) -> Result<Program<'_>, Failure> {
    let launch = birth.launch;
    join_cgroups(&birth.tasks)?;
    // Only now, so that /proc/self/cgroup shows nothing of the host's paths.
    sys::unshare(libc::CLONE_NEWCGROUP).step("make a cgroup namespace")?;
    if let Network::None { address } = launch.network {
        network::raise_loopback(address)?;
    }
    rustix::system::sethostname(launch.hostname.as_bytes()).step("set the host name")?;
    let trees = wait_for_trees(&birth)?;
    become_root_inside()?;
    let assembled = assembly::assemble(launch, trees)?;
    let stdio = match birth.output {
        Some([output, errors]) => Stdio::apart(open_null()?, output, errors),
        None => Stdio::of_terminal(open_terminal(&birth, &assembled)?)?,
    };
    Ok(Program {
        process: &launch.process,
        stdio,
        listener: birth.listener,
        seccomp: birth.shared.seccomp.as_deref(),
        cue: if launch.gate_ms.is_some() { Cue::WordAtTheGate } else { Cue::Word },
    })
}

/// By its own write: a parent that writes our number waits 8–20 ms for the kernel's
/// grace period after some idleness, we do not (engine.md §4).
pub(crate) fn join_cgroups(tasks: &[OwnedFd]) -> Result<(), Failure> {
    let mut files = tasks.iter();
    files.try_for_each(|file| crate::files::write_all(file, b"0")).step("join a cgroup")
}

fn wait_for_trees(birth: &Birth<'_>) -> Result<Trees, Failure> {
    const STEP: &str = "wait for the mounts";
    let packet = receive(&birth.shim, RecvFlags::empty()).step(STEP)?;
    let came = packet.filter(|packet| packet.bytes.as_deref() == Some(GO));
    came.and_then(|packet| Trees::from_descriptors(birth.launch, packet.descriptors))
        .ok_or_else(|| Failure::refused(STEP, "the shim is gone"))
}

/// Until now this is the host's root, whom the maps do not know.
pub(crate) fn become_root_inside() -> Result<(), Failure> {
    const STEP: &str = "become root inside";
    set_thread_groups(&[]).step(STEP)?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).step(STEP)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).step(STEP)?;
    // What is made from here on gets exactly the mode it is made with.
    rustix::process::umask(Mode::empty());
    Ok(())
}

fn open_null() -> Result<OwnedFd, Failure> {
    use rustix::fs::{CWD, OFlags, openat};
    openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step("open /dev/null")
}

fn open_terminal(birth: &Birth<'_>, made: &assembly::Assembled) -> Result<OwnedFd, Failure> {
    let pair = terminal::make(&made.terminals, &birth.launch.process)?;
    terminal::lay_over_console(&pair, &made.terminals, &made.devices)?;
    send(&birth.shim, TERMINAL, &[pair.master.as_fd()]).step("hand over the terminal")?;
    Ok(pair.slave)
}

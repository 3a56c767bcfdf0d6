//! The launcher: started before the server has threads or memory, forks shims.
//!
//! A fork copies page tables: 18 ms from a server of 500 MB, 0.1 ms from this. So
//! the engine starts one launcher first thing and sends it every launch. The
//! launcher does nothing that could wait: it reads a packet, forks, and reads on;
//! the shim parses the packet and answers it. What every container needs is made
//! once, before the first: a mount namespace of few mounts ([`mounts`]), a tree of
//! devices ([`devices`]), the seccomp program.
//!
//! # Invariants
//!
//! * One thread, no descriptor but its own, not dumpable: what is forked from it may
//!   enter a hostile container's namespaces.
//! * Shims are children nobody waits for (SIGCHLD ignored), in sessions of their own:
//!   they outlive the launcher and the engine.

mod arguments;
mod devices;
mod mounts;

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::net::RecvFlags;
use rustix::process::{DumpableBehavior, setsid};
use shipway_shim::protocol::{LAUNCHER_FD, SECCOMP_FD};

use crate::failure::{Failure, MayFail as _, Step as _};
use crate::packet::{Packet, receive, send_json};
use crate::sys::{self, Forked, Instruction};
use arguments::Arguments;

/// What all containers of one launcher share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The filter of every program in a container; `None` only when a test said so.
    pub(crate) seccomp: Option<Vec<Instruction>>,
    /// The kernel's boot id.
    pub(crate) boot_id: Vec<u8>,
    /// The kernel's version, major and minor, or the older one a test asked for.
    pub(crate) kernel: (u32, u32),
}

/// The program: returns its exit status, and says on stderr why it is not 0.
pub(crate) fn main(arguments: &[Vec<u8>]) -> u8 {
    let result = arguments::parse(arguments).and_then(|arguments| run(&arguments));
    let Err(failure) = result else { return 0 };
    let why = format!("shipway-shim: {}: {} (errno {})\n", failure.step, failure.detail, failure.errno);
    sys::complain(why.as_bytes());
    1
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut socket = Some(sys::inherited(LAUNCHER_FD).step("take the engine's socket")?);
    let shared = prepare(arguments)?;
    while let Some(engine) = &socket {
        match receive(engine, RecvFlags::empty()) {
            Ok(Some(packet)) => launch(packet, &shared, &mut socket),
            // The engine is gone; what runs goes on without us.
            Ok(None) => return Ok(()),
            Err(errno) => return Err(errno).step("wait for a launch"),
        }
    }
    Ok(())
}

fn prepare(arguments: &Arguments) -> Result<Shared, Failure> {
    let seccomp = seccomp(arguments.without_seccomp)?;
    sys::close_from(SECCOMP_FD).step("close inherited descriptors")?;
    settle(seccomp, &arguments.paths, arguments.kernel)
}

/// Makes of this process one that containers are forked from.
pub(crate) fn settle(
    seccomp: Option<Vec<Instruction>>,
    paths: &[Vec<u8>],
    as_kernel: Option<(u32, u32)>,
) -> Result<Shared, Failure> {
    for signal in 1..=64 {
        sys::default_signal(signal);
    }
    sys::unblock_signals();
    sys::ignore_signal(libc::SIGPIPE);
    // Also reaps every shim the moment it ends.
    sys::ignore_signal(libc::SIGCHLD);
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step("become undumpable")?;
    // Already a leader when a shell started it: no session to leave then.
    setsid().may_fail();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::chdir("/").step("leave the working directory")?;
    let boot_id = boot_id()?;
    mounts::leave_the_hosts(paths)?;
    devices::lay_over_dev()?;
    Ok(Shared { seccomp, boot_id, kernel: as_kernel.map_or_else(kernel, Ok)? })
}

fn boot_id() -> Result<Vec<u8>, Failure> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = crate::files::read_small(rustix::fs::CWD, path).step("read the boot id")?;
    Ok(text.trim_ascii().to_vec())
}

/// Major and minor of the running kernel.
fn kernel() -> Result<(u32, u32), Failure> {
    let name = rustix::system::uname();
    let release = name.release().to_str().unwrap_or_default();
    arguments::version(release).ok_or_else(|| Failure::refused("read the kernel's version", release))
}

/// Reads the compiled program; no program is an error unless a test said otherwise.
fn seccomp(without: bool) -> Result<Option<Vec<Instruction>>, Failure> {
    const STEP: &str = "read the seccomp program";
    if without {
        return Ok(None);
    }
    let file = sys::inherited(SECCOMP_FD).step(STEP)?;
    let mut program = Vec::new();
    loop {
        let mut instruction = Instruction::default();
        let offset = u64::try_from(program.len() * instruction.len()).unwrap_or(u64::MAX);
        match rustix::io::pread(&file, &mut instruction, offset).step(STEP)? {
            0 => break,
            8 => program.push(instruction),
            _ => return Err(Failure::refused(STEP, "it ends within an instruction")),
        }
    }
    match program.len() {
        1..=INSTRUCTIONS_MAX => Ok(Some(program)),
        _ => Err(Failure::refused(STEP, "it is empty or has over 4,096 instructions")),
    }
}

/// The kernel's own limit (`BPF_MAXINSNS`).
const INSTRUCTIONS_MAX: usize = 4096;

/// Forks the shim of one launch. A fork that fails is answered here.
fn launch(packet: Packet, shared: &Shared, socket: &mut Option<OwnedFd>) {
    let mut descriptors = packet.descriptors.into_iter();
    let Some(reply) = descriptors.next() else {
        return;
    };
    let answer = |failure: Failure| {
        // The engine may have gone meanwhile; nobody else wants to know.
        send_json(&reply, &failure.into_launched(), &[]).may_fail();
    };
    let Some(bytes) = packet.bytes else {
        return answer(Failure::refused("read the launch", "the message is too long"));
    };
    match sys::fork().step("fork the shim") {
        Ok(Forked::Parent(_)) => {}
        Ok(Forked::Child) => {
            let listener = descriptors.next();
            // The engine's end must end with the launcher, not with the last shim.
            drop(socket.take());
            crate::shim::run(shared, &bytes, reply, listener)
        }
        Err(failure) => answer(failure),
    }
}

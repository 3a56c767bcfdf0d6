//! Terminals, made from the container's own devpts.
//!
//! Both sides are opened relative to a descriptor of that file system, never by a
//! path that the container could have made point elsewhere.

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fchown, fstatfs, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use shipway_shim::protocol::Process;

use crate::failure::{Failure, Step as _};

/// The type of a devpts, as statfs(2) tells it.
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Both sides of a terminal.
#[derive(Debug)]
pub(crate) struct Pair {
    /// For whoever looks at it.
    pub(crate) master: OwnedFd,
    /// For the program.
    pub(crate) slave: OwnedFd,
}

/// Makes a terminal for `process` in the devpts whose root is `terminals`.
pub(crate) fn make(terminals: impl AsFd, process: &Process) -> Result<Pair, Failure> {
    const STEP: &str = "make a terminal";
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = openat(terminals, "ptmx", flags, Mode::empty()).step(STEP)?;
    unlockpt(&master).step(STEP)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).step(STEP)?;
    let user = rustix::fs::Uid::from_raw(process.uid);
    fchown(&slave, Some(user), None).step("give the terminal to its user")?;
    Ok(Pair { master, slave })
}

/// Binds the program's side over `/dev/console`.
pub(crate) fn lay_over_console(pair: &Pair, terminals: impl AsFd, devices: impl AsFd) -> Result<(), Failure> {
    const STEP: &str = "bind the console";
    let path = ptsname(&pair.master, Vec::new()).step(STEP)?;
    let path = path.to_str().map_err(|_| Errno::INVAL).step(STEP)?;
    let number = path.rsplit('/').next().unwrap_or_default();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let console = open_tree(terminals, number, flags).step(STEP)?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&console, "", devices, "console", empty).step(STEP)
}

/// Opens the devpts of the container that this process has entered.
pub(crate) fn of_this_container() -> Result<OwnedFd, Failure> {
    const STEP: &str = "open the container's terminals";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let terminals = openat2(CWD, "/dev/pts", flags, Mode::empty(), resolve).step(STEP)?;
    let kind = fstatfs(&terminals).step(STEP)?.f_type;
    if kind != DEVPTS_MAGIC {
        let detail = format!("/dev/pts is a file system of type {kind:#x}");
        return Err(Failure::refused(STEP, detail));
    }
    Ok(terminals)
}

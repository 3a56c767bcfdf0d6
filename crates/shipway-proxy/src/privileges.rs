//! Giving up every privilege, for good, before a visitor's byte is read.
//!
//! All of this is per thread in the kernel, so it happens while the process has
//! just one. There is no way back: no capability is left to regain, no set-id
//! program gives one, and the bounding set is empty.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::config::User;

/// The kernel knows fewer than this many capabilities.
const CAPABILITIES_MAX: u32 = 64;

/// Why privileges could not be given up. The process must not go on.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Other threads would keep what this one gives up.
    #[error("the process already has {0} threads")]
    Threads(usize),
    /// Root is no user to drop to.
    #[error("the proxy must not run as user or group 0")]
    Root,
    /// A system call failed.
    #[error("could not {0}")]
    Call(&'static str, #[source] io::Error),
}

fn call<T>(what: &'static str, result: rustix::io::Result<T>) -> Result<T, PrivilegeError> {
    result.map_err(|error| PrivilegeError::Call(what, error.into()))
}

/// Becomes `user` without any privilege. `None` gives up what it can without
/// changing the user.
pub(crate) fn drop_for_good(user: Option<User>) -> Result<(), PrivilegeError> {
    let threads =
        std::fs::read_dir("/proc/self/task").map_err(|error| PrivilegeError::Call("count threads", error))?.count();
    if threads != 1 {
        return Err(PrivilegeError::Threads(threads));
    }
    umask(Mode::from_raw_mode(0o077));
    if let Some(user) = user {
        become_user(user)?;
    }
    call("clear ambient capabilities", clear_ambient_capability_set())?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    if user.is_some() {
        call("give up capabilities", set_capabilities(None, none))?;
    }
    call("forbid new privileges", set_no_new_privs(true))?;
    // Nobody but root may look into this process, not even its own user.
    call("forbid dumps", set_dumpable_behavior(DumpableBehavior::NotDumpable))
}

fn become_user(user: User) -> Result<(), PrivilegeError> {
    if user.uid == 0 || user.gid == 0 {
        return Err(PrivilegeError::Root);
    }
    empty_bounding_set()?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    call("clear groups", set_thread_groups(&[]))?;
    call("change the group", set_thread_res_gid(gid, gid, gid))?;
    call("change the user", set_thread_res_uid(uid, uid, uid))
}

fn empty_bounding_set() -> Result<(), PrivilegeError> {
    for number in 0..CAPABILITIES_MAX {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last one that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return call("empty the bounding set", Err(error)),
        }
    }
    Ok(())
}

/// Allows as many open files as the connections need, or as many as it can.
pub(crate) fn allow_files(wanted: u64) {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX);
    if now.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let limits = |n| Rlimit { current: Some(n), maximum: Some(n) };
    let raised =
        setrlimit(Resource::Nofile, limits(wanted.max(most))).or_else(|_| setrlimit(Resource::Nofile, limits(most)));
    if let Err(error) = raised {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}

/// Closes every descriptor but standard input, output and error and `kept`: what
/// a careless parent leaked must not be at a hostile visitor's reach.
pub(crate) fn close_others(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let kept: BTreeSet<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open {
        if fd > 2 && !kept.contains(&fd) {
            // The listing's own descriptor is closed by now: not an error.
            nix::unistd::close(fd).ok();
        }
    }
    Ok(())
}

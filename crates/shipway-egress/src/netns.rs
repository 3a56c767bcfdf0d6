//! Another network namespace, visited by a thread that does not come back.
//!
//! A thread that has entered a namespace is never used for anything else: it opens
//! what is needed there (a netlink socket goes on belonging to the namespace it was
//! opened in) and ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::thread::ThreadNameSpaceType;

/// Runs `visit` in the network namespace of `target`: a descriptor of one
/// (`/proc/<pid>/ns/net`) or of a process (a pidfd).
///
/// # Errors
///
/// Those of `setns` (the process is gone, not a namespace), or that no thread could be had.
pub(crate) fn within<T: Send>(target: BorrowedFd<'_>, visit: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    visited(move || {
        rustix::thread::move_into_thread_name_spaces(target, ThreadNameSpaceType::NETWORK)?;
        visit()
    })
}

/// Runs `visit` in a network namespace that nobody else has and that ends with it.
pub(crate) fn within_a_new_one<T: Send>(visit: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    visited(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        visit()
    })
}

fn visited<T: Send>(visit: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("egress-visit".to_owned()).spawn_scoped(scope, visit)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the visit of a network namespace panicked")))
    })
}

/// A new one, that lives as long as its descriptor.
pub(crate) fn of_a_new_one() -> io::Result<File> {
    within_a_new_one(current)
}

/// The calling thread's own.
pub(crate) fn current() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// Which namespace a descriptor of one is of: equal for equal namespaces while it lives.
pub(crate) fn identity(namespace: impl AsFd) -> io::Result<Identity> {
    let found = rustix::fs::fstat(namespace)?;
    Ok((found.st_dev, found.st_ino))
}

/// Device and inode.
pub(crate) type Identity = (u64, u64);

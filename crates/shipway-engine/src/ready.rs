//! Waiting for a descriptor to become ready, on the runtime's own poller.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor, which must be non-blocking to be read or written.
///
/// # Errors
///
/// Any error of `epoll_ctl`. Must be called inside a tokio runtime.
#[expect(unsafe_code, reason = "the only safe constructors of AsyncFd are deprecated")]
pub(crate) fn register(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open for as long as it lives, and the `AsyncFd` owns it.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    registered.map_err(io::Error::from)
}

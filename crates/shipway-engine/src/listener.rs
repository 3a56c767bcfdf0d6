//! The socket that a runner inherits, and that visitors' connections wait on.
//!
//! Made anew for each start, before it, so that whoever connects during a restart
//! waits instead of being refused. Bound under another name and renamed over the
//! last one's: there is never a moment without.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::EngineError;
use crate::error::Doing;

/// Connections that may wait while the program starts. The kernel caps it at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Listens at `path`, where only `owner` (and root) may connect.
pub(crate) fn listen(path: &Path, owner: u32) -> Result<OwnedFd, EngineError> {
    let fresh = path.with_extension("sock.new");
    drop(fs::remove_file(&fresh));
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .doing(|| "make a socket".to_owned())?;
    let address = SocketAddrUnix::new(&fresh).on("name a socket", &fresh)?;
    rustix::net::bind(&socket, &address).on("bind", &fresh)?;
    // Nobody can connect before `listen`, so the order is safe.
    fs::set_permissions(&fresh, Permissions::from_mode(0o600)).on("set the mode of", &fresh)?;
    std::os::unix::fs::chown(&fresh, Some(owner), Some(owner)).on("give away", &fresh)?;
    rustix::net::listen(&socket, BACKLOG).on("listen at", &fresh)?;
    fs::rename(&fresh, path).on("place", path)?;
    Ok(socket)
}

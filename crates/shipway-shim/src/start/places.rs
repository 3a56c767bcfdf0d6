//! A container's folders on the host, and the sockets in them.

use alloc::format;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, Uid, chmodat, chownat, mkdirat, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use shipway_shim::protocol::{CONTROL_SOCKET, DIAL_SOCKET, EXIT_FILE, LOG_FOLDER, Launch, RUN_FILE, path_bytes};

use crate::failure::{Failure, MayFail as _, Step as _};
use crate::files::open_folder;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// What a run leaves in the state directory, besides its log.
const RECORDS: [&str; 2] = [RUN_FILE, EXIT_FILE];
/// What the shim makes in the run directory.
const SOCKETS: [&str; 2] = [CONTROL_SOCKET, DIAL_SOCKET];

/// A container's folders on the host, and the sockets in them.
#[derive(Debug)]
pub(crate) struct Places {
    /// Holds `run.json`, `exit.json` and the log.
    pub(crate) state: OwnedFd,
    /// Holds the sockets.
    pub(crate) run: OwnedFd,
    /// Holds the log's segments.
    log: Option<OwnedFd>,
    /// `ctl.sock`, listening.
    pub(crate) control: OwnedFd,
    /// `dial.sock`, listening.
    pub(crate) dial: Option<OwnedFd>,
    /// Whether the files of an earlier run are gone, and those there are this run's.
    has_begun: bool,
}

impl Places {
    /// Opens the folders, clears away what an earlier run left, and makes the sockets.
    /// With a gate, the earlier run's records stay until [`Places::begin`].
    pub(crate) fn open(launch: &Launch) -> Result<Self, Failure> {
        let (state_dir, run_dir) = (path_bytes(&launch.state_dir), path_bytes(&launch.run_dir));
        let state = open_folder(state_dir).step_on("open the state directory", state_dir)?;
        let run = open_folder(run_dir).step_on("open the run directory", run_dir)?;
        let has_begun = launch.gate_ms.is_none();
        if has_begun {
            forget_all(&state, &RECORDS)?;
        }
        forget_all(&run, &SOCKETS)?;
        match mkdirat(&state, LOG_FOLDER, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            other => other.step("make the log's folder")?,
        }
        let log = openat_folder(&state, LOG_FOLDER).step("open the log's folder")?;
        let control = listen_at(run_dir, &run, CONTROL_SOCKET, SocketType::SEQPACKET, 0)?;
        let owner = launch.dialer.as_ref().map(|dialer| dialer.owner_uid);
        let dial = owner.map(|owner| listen_at(run_dir, &run, DIAL_SOCKET, SocketType::STREAM, owner)).transpose();
        if dial.is_err() {
            forget(&run, CONTROL_SOCKET).may_fail();
        }
        Ok(Self { dial: dial?, state, run, log: Some(log), control, has_begun })
    }

    /// Clears away the records of an earlier run: this one begins.
    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        self.has_begun = true;
        forget_all(&self.state, &RECORDS)
    }

    /// The log's folder, for the one who writes it.
    pub(crate) fn take_log(&mut self) -> Option<OwnedFd> {
        self.log.take()
    }

    /// Removes the sockets' names; who is connected stays so.
    pub(crate) fn unlink_sockets(&self) {
        for name in SOCKETS {
            // A leftover name is refused connections, and the engine removes the folder.
            forget(&self.run, name).may_fail();
        }
    }

    /// Removes all that a start that failed has left.
    pub(crate) fn forget(&self) {
        self.unlink_sockets();
        if self.has_begun {
            forget(&self.state, RUN_FILE).may_fail();
        }
        // Stays if an earlier run wrote to it.
        unlinkat(&self.state, LOG_FOLDER, AtFlags::REMOVEDIR).may_fail();
    }
}

fn forget_all(folder: &OwnedFd, names: &[&str]) -> Result<(), Failure> {
    let mut names = names.iter();
    names.try_for_each(|name| forget(folder, name).step_on("remove an earlier run's file", name.as_bytes()))
}

fn forget(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn openat_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    use rustix::fs::{OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// A listening socket that only `owner` (and root) can connect to.
fn listen_at(path: &[u8], folder: &OwnedFd, name: &str, kind: SocketType, owner: u32) -> Result<OwnedFd, Failure> {
    let step = format!("make {name}");
    let path = [path, b"/", name.as_bytes()].concat();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None).step(&step)?;
    let address = SocketAddrUnix::new(path.as_slice()).step_on(&step, &path)?;
    // Connecting takes the right to write, which the mask leaves to root alone.
    bind(&socket, &address).step_on(&step, &path)?;
    let restrict = || {
        if owner != 0 {
            chownat(folder, name, Some(Uid::from_raw(owner)), None, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        chmodat(folder, name, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
        listen(&socket, BACKLOG)
    };
    restrict().step_on(&step, &path)?;
    Ok(socket)
}

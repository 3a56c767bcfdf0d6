//! How a supervisor starts a proxy and hands it what it needs.
//!
//! The child's standard input is one end of a socket pair. Its settings come
//! through it as one JSON line, with the listening sockets beside it
//! (`SCM_RIGHTS`). So nothing is inherited by number, nothing another child
//! could inherit by accident is ever open without close-on-exec, and neither
//! side needs unsafe code. Sockets from systemd (`LISTEN_FDS`) are taken by
//! [`from_listen_fds`].

use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::config::{Listener, ProxyConfig, Settings};
use crate::descriptors;
use crate::wire::{LINE_BYTES_MAX, ListenerNote, VERSION};

/// The first descriptor of the `LISTEN_FDS` protocol (`sd_listen_fds(3)`).
const LISTEN_FDS_START: i32 = 3;

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    version: u32,
    settings: Settings,
    listeners: Vec<ListenerNote>,
}

/// Starts `program` with `args` as a proxy. The child is a process group of its
/// own, so that a Ctrl-C meant for the supervisor does not reach it.
///
/// The child is expected to call [`receive`] and then [`run`](crate::run()).
///
/// # Errors
///
/// Any error of making the process or of handing over.
pub fn start(program: &Path, args: &[&str], config: &ProxyConfig) -> io::Result<Child> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(program).args(args).stdin(OwnedFd::from(theirs)).process_group(0).spawn()?;
    send(&ours, config)?;
    Ok(child)
}

fn send(socket: &UnixStream, config: &ProxyConfig) -> io::Result<()> {
    let message = Message {
        version: VERSION,
        settings: config.settings.clone(),
        listeners: config.listeners.iter().map(note).collect(),
    };
    let mut line = serde_json::to_vec(&message)?;
    line.push(b'\n');
    let sockets: Vec<BorrowedFd<'_>> = config.listeners.iter().map(|listener| listener.socket.as_fd()).collect();
    let sent = descriptors::send_now(socket, &line, &sockets)?;
    io::Write::write_all(&mut &*socket, &line[sent..])
}

pub(crate) fn note(listener: &Listener) -> ListenerNote {
    ListenerNote { name: listener.name.clone(), serves: listener.serves }
}

/// Receives, in the child, what [`start`] handed over.
///
/// # Errors
///
/// Any error of the socket, and [`io::ErrorKind::InvalidData`] when what came is
/// not what this version understands.
pub fn receive() -> io::Result<ProxyConfig> {
    let stdin = io::stdin();
    let (mut line, mut fds) = (Vec::new(), Vec::new());
    let mut chunk = [0; 4096];
    let count = descriptors::receive_now(stdin.as_fd(), &mut chunk, &mut fds)?;
    line.extend_from_slice(&chunk[..count]);
    while !line.ends_with(b"\n") {
        let count = stdin.lock().read(&mut chunk)?;
        line.extend_from_slice(&chunk[..count]);
        if count == 0 || line.len() > LINE_BYTES_MAX {
            return Err(invalid("no settings came over standard input"));
        }
    }
    let message: Message = serde_json::from_slice(&line)?;
    if message.version != VERSION {
        return Err(invalid("the settings are of another version"));
    }
    Ok(ProxyConfig { settings: message.settings, listeners: join(message.listeners, fds)? })
}

/// Joins notes and sockets that travelled apart, in the same order.
pub(crate) fn join(notes: Vec<ListenerNote>, fds: Vec<OwnedFd>) -> io::Result<Vec<Listener>> {
    if notes.len() != fds.len() {
        return Err(invalid("the number of sockets is not that of the listeners"));
    }
    let joined = notes.into_iter().zip(fds).map(|(note, fd)| Listener {
        name: note.name,
        serves: note.serves,
        socket: TcpListener::from(fd),
    });
    Ok(joined.collect())
}

/// Takes sockets passed as descriptors 3, 4, …, one for each note.
///
/// The originals stay open until [`run`](crate::run()) closes everything it does
/// not know.
///
/// # Errors
///
/// Any error of duplicating them (Linux 5.6 or later).
pub fn from_listen_fds(notes: Vec<ListenerNote>) -> io::Result<Vec<Listener>> {
    let me = i32::try_from(std::process::id()).ok().and_then(Pid::from_raw);
    let me = me.ok_or_else(|| invalid("this process has no number"))?;
    let pidfd = pidfd_open(me, PidfdFlags::empty())?;
    let fds =
        (LISTEN_FDS_START..).take(notes.len()).map(|number| Ok(pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty())?));
    let fds = fds.collect::<io::Result<Vec<OwnedFd>>>()?;
    join(notes, fds)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

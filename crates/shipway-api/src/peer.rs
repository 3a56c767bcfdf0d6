//! Who is at the other end of a connection to the API.
//!
//! Two doors lead in, both unix sockets. The *admin* door is for people on this
//! machine; the kernel says who they are (`SO_PEERCRED`). The *edge* door is for
//! the proxy, which passes on visitors of its TCP listeners. The proxy is not
//! believed: with the first byte of each connection it hands over the visitor's
//! own socket (`SCM_RIGHTS`), and the API asks the kernel itself whose it is. A
//! captured proxy can pass on sockets it has, and gains nothing by it: its own
//! belong to its own user.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketType, sockopt};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::config::OpenLoopback;
use crate::sock_diag;

/// Longest the proxy may take to say whose connection this is.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// The byte that carries the visitor's socket; another one is another protocol.
const GREETING: u8 = 1;

/// A socket of the API's, and who may use it.
#[derive(Debug, Clone)]
pub enum Door {
    /// For people on this machine: these users are let in without a token.
    Admin {
        /// Root, and the user Shipway runs as.
        uids: Vec<u32>,
    },
    /// For the proxy.
    Edge {
        /// Users that may connect: the proxy's, and root.
        proxy_uids: Vec<u32>,
        /// Whom `api.open: loopback` lets in without a token, if it is set.
        open: Option<OpenLoopback>,
    },
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The kernel vouches for it: no token is needed.
    pub(crate) trusted: bool,
    /// The visitor's address, when it came through the proxy.
    pub(crate) visitor: Option<SocketAddr>,
}

/// Finds out who has connected. `None`: not to be served at all.
///
/// # Errors
///
/// The connection broke, or the proxy did not introduce its visitor.
pub(crate) async fn meet(door: &Door, stream: &UnixStream) -> io::Result<Option<Peer>> {
    let uid = stream.peer_cred()?.uid();
    match door {
        Door::Admin { uids } => Ok(Some(Peer { trusted: uids.contains(&uid), visitor: None })),
        Door::Edge { proxy_uids, .. } if !proxy_uids.contains(&uid) => Ok(None),
        Door::Edge { open, .. } => {
            let socket = tokio::time::timeout(INTRODUCTION, introduced(stream)).await??;
            Ok(Some(socket.map_or(Peer { trusted: false, visitor: None }, |socket| judge(&socket, open.as_ref()))))
        }
    }
}

/// Reads the first byte and the visitor's socket that comes with it.
async fn introduced(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    loop {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || receive(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

fn receive(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if byte[0] != GREETING {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not the proxy's greeting"));
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    }))
}

fn judge(socket: &OwnedFd, open: Option<&OpenLoopback>) -> Peer {
    let visitor = ends(socket).ok().flatten();
    let trusted = match (visitor, open) {
        (Some((local, remote)), Some(open)) => is_let_in(open, local, remote),
        _ => false,
    };
    Peer { trusted, visitor: visitor.map(|(_, remote)| remote) }
}

/// The two ends of a TCP connection, ours first.
fn ends(socket: &OwnedFd) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let family = sockopt::socket_domain(socket)?;
    let inet = family == AddressFamily::INET || family == AddressFamily::INET6;
    if !inet || sockopt::socket_type(socket)? != SocketType::STREAM {
        return Ok(None);
    }
    let local = rustix::net::getsockname(socket)?;
    let Some(remote) = rustix::net::getpeername(socket)? else {
        return Ok(None);
    };
    Ok(Some((local.try_into()?, remote.try_into()?)))
}

fn is_let_in(open: &OpenLoopback, local: SocketAddr, remote: SocketAddr) -> bool {
    let inside = local.ip().is_loopback() && remote.ip().is_loopback();
    if !inside || !open.listeners.contains(&local) {
        return false;
    }
    match sock_diag::owner(remote, local) {
        Ok(Some(uid)) => open.uids.contains(&uid),
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(%error, "cannot ask the kernel whose socket this is: a token is needed");
            false
        }
    }
}

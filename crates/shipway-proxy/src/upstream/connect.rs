//! Opening connections: to a unix socket, or through a container's dialer.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::descriptors;
use crate::streams::Inner;

/// Longest wait for a dialer's answer. The dialer itself gives up after five seconds.
const DIAL_TIME: Duration = Duration::from_secs(6);

/// The dialer's byte (`shipway_shim::protocol`): connected, the socket is beside it.
const DIAL_CONNECTED: u8 = 0;
/// The dialer's byte: nobody listens there (yet), or the program hung up.
const DIAL_REFUSED: u8 = 1;
/// The dialer's byte: no answer in time, or too many dials under way.
const DIAL_BUSY: u8 = 2;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody listens (yet, or any more): worth another try.
    #[error("nothing listens at its endpoint")]
    Absent(#[source] io::Error),
    /// The endpoint exists but did not take the connection in time.
    #[error("its endpoint did not accept in time")]
    Slow,
    /// Anything else.
    #[error("its endpoint could not be reached")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            // WouldBlock: a unix listener whose queue is full right now.
            K::NotFound
            | K::ConnectionRefused
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::UnexpectedEof
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::WouldBlock => Self::Absent(error),
            K::TimedOut => Self::Slow,
            _ => Self::Failed(error),
        }
    }
}

/// Connects to the socket at `path`, or to what the dialer there connects to.
pub(crate) async fn open(path: &str, is_dialer: bool) -> Result<Inner, ConnectError> {
    if !is_dialer {
        return Ok(open_unix(path).await?.into());
    }
    tokio::time::timeout(DIAL_TIME, dial(path)).await.map_err(|_| ConnectError::Slow)?
}

/// Connects to the unix socket at `path`.
pub(crate) async fn open_unix(path: impl AsRef<std::path::Path>) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}

/// Asks a shim for a connection: it sends a status byte, with the connected socket
/// beside it if all went well.
async fn dial(path: &str) -> Result<Inner, ConnectError> {
    let dialer = open_unix(path).await?;
    let (mut status, mut fds) = ([0_u8; 1], Vec::new());
    let count = descriptors::receive(&dialer, &mut status, &mut fds).await?;
    if count == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    match status[0] {
        DIAL_CONNECTED => {}
        DIAL_REFUSED => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
        DIAL_BUSY => return Err(io::Error::from(io::ErrorKind::WouldBlock).into()),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a dialer's answer").into()),
    }
    let socket = fds.pop().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no socket came"))?;
    Ok(adopt(socket)?.into())
}

fn adopt(socket: OwnedFd) -> io::Result<TcpStream> {
    let socket = std::net::TcpStream::from(socket);
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    TcpStream::from_std(socket)
}

//! Connecting to an instance as the proxy does.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use shipway_model::instance::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

/// What a request can be sent over.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Connects to where an instance answers.
pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Box<dyn Connection>> {
    match endpoint {
        Endpoint::Unix { path } => Ok(Box::new(UnixStream::connect(path).await?)),
        Endpoint::Dialer { path, .. } => {
            let shim = UnixStream::connect(path).await?;
            let passed = shim.async_io(Interest::READABLE, || take_descriptor(&shim)).await?;
            let connection = StdTcpStream::from(passed);
            connection.set_nonblocking(true)?;
            Ok(Box::new(TcpStream::from_std(connection)?))
        }
    }
}

/// Takes the one descriptor that the shim passes over (`SCM_RIGHTS`).
fn take_descriptor(shim: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let message = recvmsg(shim, &mut [io::IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let passed = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    // None came: the shim could not reach the program inside.
    passed.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
}

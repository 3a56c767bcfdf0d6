//! Packets with descriptors beside them: the way to the launcher and the shims.
//!
//! `SOCK_SEQPACKET` keeps message borders, so neither side has to count bytes.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shipway_shim::protocol::MESSAGE_BYTES_MAX;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::ready;

/// Most descriptors beside one packet, in either direction.
const DESCRIPTORS_MAX: usize = 4;

/// A connected socket of packets.
#[derive(Debug)]
pub(crate) struct Packets(AsyncFd<OwnedFd>);

/// Makes both ends of a new socket; the second one, blocking, is for another process.
pub(crate) fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Makes room for the longest message (each packet also costs some overhead).
pub(crate) fn widen(socket: &OwnedFd) -> std::io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_send_buffer_size(socket, 2 * MESSAGE_BYTES_MAX)?)
}

/// Sends one packet without waiting; `EAGAIN` when the other side is behind.
pub(crate) fn send_now(socket: impl AsFd, bytes: &[u8], beside: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !beside.is_empty() && !control.push(SendAncillaryMessage::ScmRights(beside)) {
        return Err(Errno::TOOBIG);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags)?;
    Ok(())
}

impl Packets {
    /// Takes over a non-blocking socket. Must be called inside a tokio runtime.
    pub(crate) fn new(socket: OwnedFd) -> std::io::Result<Self> {
        ready::register(socket, Interest::READABLE | Interest::WRITABLE).map(Self)
    }

    /// Connects to a listening socket of packets.
    pub(crate) fn connect(path: &Path) -> std::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        widen(&socket)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Self::new(socket)
    }

    /// Sends one message.
    pub(crate) async fn send(
        &self,
        message: &(impl Serialize + Sync),
        beside: &[BorrowedFd<'_>],
    ) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        self.0.async_io(Interest::WRITABLE, |socket| Ok(send_now(socket, &bytes, beside)?)).await
    }

    /// Waits until the other side has said something more or hung up, and takes nothing.
    ///
    /// # Errors
    ///
    /// Any error of the socket's; it is of no more use then.
    pub(crate) async fn stirred(&self) -> std::io::Result<()> {
        self.0.async_io(Interest::READABLE, |socket| Ok(peek(socket)?)).await
    }

    /// Whether [`Packets::stirred`] would still wait.
    pub(crate) fn is_silent(&self) -> bool {
        peek(self.0.get_ref()) == Err(Errno::AGAIN)
    }

    /// Tells the other side that nothing more comes, whoever else holds this socket.
    pub(crate) fn hang_up(&self) {
        if let Err(error) = rustix::net::shutdown(self.0.get_ref(), rustix::net::Shutdown::Both) {
            tracing::trace!(%error, "the other side has hung up already");
        }
    }

    /// Receives one message and the descriptors beside it; `None` at the end.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> std::io::Result<Option<(T, Vec<OwnedFd>)>> {
        let (bytes, beside) = self.0.async_io(Interest::READABLE, |socket| Ok(receive_now(socket)?)).await?;
        match bytes.is_empty() {
            true => Ok(None),
            false => Ok(Some((serde_json::from_slice(&bytes)?, beside))),
        }
    }
}

fn peek(socket: &OwnedFd) -> Result<(), Errno> {
    let mut byte = [0_u8; 1];
    rustix::net::recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT).map(drop)
}

fn receive_now(socket: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    let beside = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if got.flags.contains(ReturnFlags::TRUNC) || got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    bytes.truncate(got.bytes);
    Ok((bytes, beside))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn a_message_arrives_with_its_descriptors() {
        let (ours, theirs) = pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send_now(&theirs, b"\"hello\"", &[writer.as_fd()]).unwrap();
        drop((theirs, writer));
        let packets = Packets::new(ours).unwrap();
        let (text, mut beside): (String, _) = packets.receive().await.unwrap().unwrap();
        assert_eq!((text.as_str(), beside.len()), ("hello", 1));
        let mut file = std::fs::File::from(beside.remove(0));
        file.write_all(b"through").unwrap();
        drop(file);
        let mut through = String::new();
        reader.read_to_string(&mut through).unwrap();
        assert_eq!(through, "through");
        assert!(packets.receive::<String>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error() {
        let (ours, theirs) = pair().unwrap();
        send_now(&theirs, b"{", &[]).unwrap();
        let packets = Packets::new(ours).unwrap();
        assert!(packets.receive::<String>().await.is_err());
    }
}

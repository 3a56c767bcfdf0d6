//! Descriptors over unix sockets (`SCM_RIGHTS`), the async way.
//!
//! The same two calls carry visitors' sockets to the API, containers' sockets
//! from their dialers, and listeners between a proxy and its supervisor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Most descriptors in one message. More would be closed by the kernel unseen.
pub(crate) const DESCRIPTORS_MAX: usize = 16;

const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Sends some of `bytes`, with `fds` beside the first of them; returns how many went.
pub(crate) fn send_now(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let flags = SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?)
}

/// Receives into `buffer`; appends descriptors that came along, close-on-exec.
pub(crate) fn receive_now(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut parts, &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            fds.extend(came);
        }
    }
    Ok(received.bytes)
}

/// Sends all of `bytes`, with `fds` beside the first of them.
pub(crate) async fn send_all(socket: &UnixStream, mut bytes: &[u8], mut fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = socket.async_io(Interest::WRITABLE, || send_now(socket, bytes, fds)).await?;
        bytes = &bytes[sent..];
        fds = &[];
    }
    Ok(())
}

/// Receives some bytes, and the descriptors beside them. 0 is the end.
pub(crate) async fn receive(socket: &UnixStream, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    // `async_io` takes a `FnMut`, which cannot lend its captures out: borrow anew each time.
    loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || receive_now(socket, buffer, fds)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Splits a unix stream into lines, keeping descriptors with the line they came in.
#[derive(Debug)]
pub(crate) struct Lines {
    held: Vec<u8>,
    searched: usize,
    fds: Vec<OwnedFd>,
    chunk: Box<[u8]>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { held: Vec::new(), searched: 0, fds: Vec::new(), chunk: vec![0; 64 * 1024].into() }
    }
}

impl Lines {
    /// Returns the next line without its end, or `None` when the peer is gone.
    ///
    /// Safe to drop and call again: nothing read is lost.
    pub(crate) async fn next(&mut self, socket: &UnixStream, length_max: usize) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.held[self.searched..].iter().position(|b| *b == b'\n') {
                let rest = self.held.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.held.len();
            if self.held.len() > length_max {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            let count = receive(socket, &mut self.chunk, &mut self.fds).await?;
            if count == 0 {
                return Ok(None);
            }
            self.held.extend_from_slice(&self.chunk[..count]);
            if self.fds.len() > DESCRIPTORS_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors"));
            }
        }
    }

    /// Takes the descriptors that came so far.
    pub(crate) fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }
}

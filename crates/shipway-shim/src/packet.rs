//! Packets of the protocol: JSON on a `SOCK_SEQPACKET` socket, descriptors beside it.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};
use serde::Serialize;
use shipway_shim::protocol::MESSAGE_BYTES_MAX;

/// Most descriptors beside one packet; the kernel's own limit is 253.
const DESCRIPTORS_MAX: usize = 128;

/// What came in one packet.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Its text, or `None` if it was longer than [`MESSAGE_BYTES_MAX`].
    pub(crate) bytes: Option<Vec<u8>>,
    /// What came beside it, all close-on-exec.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Receives one packet, or `None` at the end of the stream.
pub(crate) fn receive(socket: impl AsFd, flags: RecvFlags) -> Result<Option<Packet>, Errno> {
    let socket = socket.as_fd();
    // A look at the length first, so that only what is needed is allocated: the
    // launcher's memory is copied by every fork.
    let mut nothing: [u8; 0] = [];
    let look = flags | RecvFlags::PEEK | RecvFlags::TRUNC;
    let ((), length) = insist(|| recv(socket, &mut nothing, look).map(|(_, length)| ((), length)))?;
    let mut bytes = vec![0; length.min(MESSAGE_BYTES_MAX)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = insist(|| {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        recvmsg(socket, &mut parts, &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 && descriptors.is_empty() && length == 0 {
        return Ok(None);
    }
    let whole = !received.flags.contains(ReturnFlags::TRUNC);
    Ok(Some(Packet { bytes: whole.then_some(bytes), descriptors }))
}

/// Sends `message` as JSON, with descriptors beside it.
pub(crate) fn send_json(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let text = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    send(socket, &text, descriptors)
}

/// Sends one packet. Never blocks and never raises SIGPIPE.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    retry(|| sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, flags)).map(drop)
}

/// Calls again while a signal interrupts, or after a reset: a peer that died without
/// reading all our words says so once, and its own last words are still to be read.
fn insist<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => return other,
        }
    }
}

/// Calls again while a signal interrupts.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

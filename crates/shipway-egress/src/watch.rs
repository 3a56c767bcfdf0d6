//! Hearing at once that somebody changed the packet filter.
//!
//! A firewall that is reloaded often begins with `flush ruleset`, and then nothing is
//! left of our table: containers would reach what they should not until the next look.
//! The kernel tells of every change and who made it, so the look can follow at once.

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UnixDatagram;

/// `NFNLGRP_NFTABLES`, as a bit.
const GROUP: u32 = 1 << 6;

/// Hears of changes that others make. From [`Egress::watch`](crate::Egress::watch).
#[derive(Debug)]
pub struct Watch {
    /// A netlink socket: to the runtime, anything that takes datagrams is one kind.
    socket: UnixDatagram,
    /// The address of our own socket, whose changes are no news.
    own: u32,
}

impl Watch {
    pub(crate) fn open(own: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::NETFILTER);
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, GROUP))?;
        Ok(Self { socket: UnixDatagram::from_std(StdDatagram::from(fd))?, own })
    }

    /// Waits until somebody else has changed some table in this namespace; what follows
    /// is to call [`Egress::reconcile`](crate::Egress::reconcile). Many changes in a row
    /// are told as one. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of the socket; then only looking from time to time remains.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            self.socket.readable().await?;
            if self.drain()? {
                return Ok(());
            }
        }
    }

    /// Takes everything that waits; whether some of it is of somebody else.
    fn drain(&self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let mut others = false;
        loop {
            match self.socket.try_recv(&mut buffer) {
                Ok(length) => others |= senders(&buffer[..length.min(buffer.len())]).any(|sender| sender != self.own),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(others),
                // So many that some were lost: certainly news.
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => others = true,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Who sent each message: the last word of its header.
fn senders(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let head = bytes.first_chunk::<16>()?;
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        bytes = bytes.get(length.next_multiple_of(4).max(16)..).unwrap_or(&[]);
        Some(u32::from_ne_bytes([head[12], head[13], head[14], head[15]]))
    })
}

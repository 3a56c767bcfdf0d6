//! `lo`, the only link of a container: raised, with one more address if asked for.
//!
//! Two requests of rtnetlink(7) in one packet, because each round of the usual
//! ioctls costs a socket and two calls.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, send, socket_with};

use crate::failure::{Failure, Step as _};

/// The index that the kernel gives the loopback link of every new namespace.
const LOOPBACK: u32 = 1;
const HEADER_BYTES: u32 = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_AND_ACK: u16 = 0x5;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const CREATE: u16 = 0x600;

/// Raises `lo` and gives it `address`, as a network of that one address.
pub(super) fn raise_loopback(address: Option<Ipv4Addr>) -> Result<(), Failure> {
    const STEP: &str = "raise the loopback link";
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0.
        None,
    )
    .step(STEP)?;
    let mut packet = raise();
    let mut answers = 1;
    if let Some(address) = address {
        packet.extend(add(address));
        answers += 1;
    }
    send(&kernel, &packet, SendFlags::empty()).step(STEP)?;
    while answers > 0 {
        let mut answer = [0; 1024];
        let (count, _) = recv(&kernel, &mut answer, RecvFlags::empty()).step(STEP)?;
        answers -= acknowledged(answer.get(..count).unwrap_or_default()).step(STEP)?;
    }
    Ok(())
}

/// `RTM_NEWLINK`: set `IFF_UP`.
fn raise() -> Vec<u8> {
    let up = libc::IFF_UP.cast_unsigned();
    let mut body = Vec::new();
    // struct ifinfomsg: family, pad, type, index, flags, change mask.
    body.extend([0; 4]);
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    request(libc::RTM_NEWLINK, REQUEST_AND_ACK, 1, &body)
}

/// `RTM_NEWADDR`: one address, its own network.
fn add(address: Ipv4Addr) -> Vec<u8> {
    /// Host scope: never offered as a source to anybody outside.
    const SCOPE_HOST: u8 = 254;
    const INET: u8 = 2;
    let mut body = Vec::new();
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    body.extend([INET, 32, 0, SCOPE_HOST]);
    body.extend(LOOPBACK.to_ne_bytes());
    for kind in [libc::IFA_LOCAL, libc::IFA_ADDRESS] {
        // struct rtattr: length, type, then the four bytes.
        body.extend(8_u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(address.octets());
    }
    request(libc::RTM_NEWADDR, REQUEST_AND_ACK | CREATE, 2, &body)
}

/// struct nlmsghdr: length, type, flags, sequence, port.
fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    // Both bodies are a few dozen bytes, multiples of four.
    let length = HEADER_BYTES + u32::try_from(body.len()).unwrap_or(0);
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    message
}

/// How many requests `packet` says were done; an error if one was not.
fn acknowledged(mut packet: &[u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while let Some(length) = packet.first_chunk::<4>() {
        let length = usize::try_from(u32::from_ne_bytes(*length)).map_err(|_| Errno::PROTO)?;
        let message = packet.get(..length).filter(|_| length >= 20).ok_or(Errno::PROTO)?;
        // struct nlmsgerr begins with a negative errno, or 0.
        let code = message.get(16..).and_then(|body| body.first_chunk::<4>());
        match code.map(|code| i32::from_ne_bytes(*code)) {
            Some(0) => done += 1,
            Some(code) => return Err(Errno::from_raw_os_error(-code)),
            None => return Err(Errno::PROTO),
        }
        packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    if done == 0 {
        return Err(Errno::PROTO);
    }
    Ok(done)
}

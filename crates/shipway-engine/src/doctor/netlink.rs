//! One question to the kernel over netlink(7), and its answer.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// Header of every message, in bytes.
const HEADER: usize = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`.
pub(super) const ASK: u16 = 0x01 | 0x04;
/// Type of the answer that is an errno, 0 for success.
const ERROR: u16 = 2;

/// Sends one message over `protocol` (`None`: the one of links and routes) and returns the kernel's verdict: an error, or not.
pub(super) fn ask(protocol: Option<rustix::net::Protocol>, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let family = AddressFamily::NETLINK;
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, 0))?;
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(std::time::Duration::from_secs(2)),
    )?;
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 4096];
    let (received, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    verdict(&answer[..received])
}

/// Anything but an error message is what was asked for.
pub(super) fn verdict(answer: &[u8]) -> io::Result<()> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let kind = answer.get(4..6).ok_or_else(short)?;
    if kind != ERROR.to_ne_bytes() {
        return Ok(());
    }
    let errno = answer.get(HEADER..HEADER + 4).ok_or_else(short)?;
    let errno: [u8; 4] = errno.try_into().map_err(|_| short())?;
    match i32::from_ne_bytes(errno) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
    }
}

/// One attribute: length, type, value, padding to four bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(value.len() + 8);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

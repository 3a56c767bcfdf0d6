//! This host's own addresses.
//!
//! A public address of our own is as good a way to our own listeners as loopback,
//! so it is not fetched from. The kernel is asked (rtnetlink(7), `RTM_GETADDR`)
//! before every connection, because addresses come and go. What it cannot know is
//! an address that a router in front of us translates to ours.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The protocol's number is 0, which is the default of its family.
const NETLINK_ROUTE: Option<Protocol> = None;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `struct nlmsghdr`, then `struct ifaddrmsg`.
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = HEADER_BYTES + 8;
/// Most answers read: more addresses than any host has.
const ANSWERS_MAX: usize = 1024;

/// Lists the addresses of every interface in this network namespace.
///
/// # Errors
///
/// The kernel cannot be asked, or its answer has no end.
pub(crate) fn addresses() -> io::Result<Vec<IpAddr>> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, NETLINK_ROUTE)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(1)))?;
    rustix::net::send(&socket, &request(), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    for _ in 0..ANSWERS_MAX {
        let (filled, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if read(&buffer[..filled], &mut found)? {
            return Ok(found);
        }
    }
    Err(io::Error::other("the kernel's list of addresses has no end"))
}

fn request() -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    bytes[..4].copy_from_slice(&24_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&RTM_GETADDR.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes
}

/// Reads one datagram of answers; true when it holds the end of the list.
fn read(mut bytes: &[u8], found: &mut Vec<IpAddr>) -> io::Result<bool> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    while bytes.len() >= HEADER_BYTES {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let length = usize::try_from(length).map_err(|_| broken())?;
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER_BYTES).ok_or_else(broken)?;
        match u16::from_ne_bytes([message[4], message[5]]) {
            NLMSG_DONE => return Ok(true),
            RTM_NEWADDR => read_attributes(message.get(MESSAGE_BYTES..).ok_or_else(broken)?, found),
            // An error, or an answer to what nobody asked.
            _ => return Err(broken()),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn read_attributes(mut bytes: &[u8], found: &mut Vec<IpAddr>) {
    while let [l0, l1, k0, k1, ..] = *bytes {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = bytes.get(4..length) else { return };
        if matches!(u16::from_ne_bytes([k0, k1]), IFA_ADDRESS | IFA_LOCAL) {
            let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(value).map(IpAddr::from);
            found.extend(v4.or(v6));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_what_the_host_has() {
        let own = addresses().unwrap();
        assert!(own.contains(&"127.0.0.1".parse().unwrap()), "{own:?}");
        // What a packet to the world would be sent from is ours, whatever it is.
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_ok() {
            assert!(own.contains(&socket.local_addr().unwrap().ip()), "{own:?}");
        }
    }

    #[test]
    fn a_broken_answer_is_an_error_and_never_a_panic() {
        let mut found = Vec::new();
        assert!(read(&[9, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &mut found).is_err());
        assert!(read(&[255; 64], &mut found).is_err());
        assert!(read(&[0; 64], &mut found).is_err());
        read_attributes(&[3, 0, 1, 0, 1, 2, 3], &mut found);
        read_attributes(&[200, 0, 1, 0, 1, 2, 3], &mut found);
        assert!(found.is_empty());
    }
}

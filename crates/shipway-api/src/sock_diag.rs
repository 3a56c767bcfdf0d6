//! Asking the kernel whose socket is at the other end of a loopback connection.
//!
//! `sock_diag` (netlink, `sock_diag(7)`) looks up one TCP socket by its exact
//! addresses and says, among much else, which user made it. No list is walked and
//! no privilege is needed. The numbers below are the kernel's ABI
//! (`linux/inet_diag.h`, `linux/netlink.h`).
//!
//! # The trap
//!
//! A socket whose owner has closed it is still found for a while, and then belongs
//! to nobody: the kernel says uid 0 for it. So an answer counts only for an
//! *established* socket with an inode: a stranger who sends a request and closes
//! at once must not be taken for root.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
const TCP_ESTABLISHED: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `INET_DIAG_NOCOOKIE`: we look for a socket we have not met before.
const NO_COOKIE: [u8; 8] = [0xff; 8];

const HEADER_BYTES: usize = 16;
const ID_BYTES: usize = 48;
/// Header, then family, protocol, extensions, padding, states, then the id.
const REQUEST_BYTES: usize = HEADER_BYTES + 8 + ID_BYTES;
/// Header, family, state, timer, retransmits, id, expiry, queues, uid, inode.
const ANSWER_BYTES: usize = HEADER_BYTES + 4 + ID_BYTES + 20;

/// Returns the user who owns the established TCP socket that is bound to `local`
/// and connected to `remote`, or `None` when there is none.
///
/// # Errors
///
/// The kernel cannot be asked.
pub(crate) fn owner(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    let Some(request) = request(local, remote) else {
        return Ok(None);
    };
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // The kernel answers before `send` returns; the limit is for what we don't know.
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(200)))?;
    rustix::net::send(&socket, &request, SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (filled, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    Ok(read(&answer[..filled], &request[HEADER_BYTES + 8..]))
}

fn request(local: SocketAddr, remote: SocketAddr) -> Option<[u8; REQUEST_BYTES]> {
    let family = match (local.ip(), remote.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => AF_INET,
        (IpAddr::V6(_), IpAddr::V6(_)) => AF_INET6,
        _ => return None,
    };
    let mut bytes = [0; REQUEST_BYTES];
    bytes[0..4].copy_from_slice(&u32::try_from(REQUEST_BYTES).ok()?.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    bytes[16] = family;
    bytes[17] = IPPROTO_TCP;
    bytes[20..24].copy_from_slice(&(1_u32 << TCP_ESTABLISHED).to_ne_bytes());
    let id = &mut bytes[24..];
    id[0..2].copy_from_slice(&local.port().to_be_bytes());
    id[2..4].copy_from_slice(&remote.port().to_be_bytes());
    put_address(&mut id[4..20], local.ip());
    put_address(&mut id[20..36], remote.ip());
    id[40..48].copy_from_slice(&NO_COOKIE);
    Some(bytes)
}

fn put_address(place: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(v4) => place[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => place.copy_from_slice(&v6.octets()),
    }
}

/// Reads the kernel's answer; anything but the very socket asked for is `None`.
fn read(answer: &[u8], asked: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != SOCK_DIAG_BY_FAMILY || answer.len() < ANSWER_BYTES {
        return None;
    }
    let body = &answer[HEADER_BYTES..];
    let (state, id) = (body[1], &body[4..4 + ID_BYTES]);
    // Ports and addresses; a listener on the same port would differ here.
    if state != TCP_ESTABLISHED || id[..36] != asked[..36] {
        return None;
    }
    let tail = &body[4 + ID_BYTES..];
    let uid = u32::from_ne_bytes(tail[12..16].try_into().ok()?);
    let inode = u32::from_ne_bytes(tail[16..20].try_into().ok()?);
    (inode != 0).then_some(uid)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (client, server)
    }

    fn visitor(server: &TcpStream) -> Option<u32> {
        owner(server.peer_addr().unwrap(), server.local_addr().unwrap()).unwrap()
    }

    #[test]
    fn the_kernel_knows_whose_socket_is_at_the_other_end() {
        let us = rustix::process::geteuid().as_raw();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (_client, server) = pair(address);
            assert_eq!(visitor(&server), Some(us), "{address}");
        }
    }

    #[test]
    fn a_socket_its_owner_has_closed_belongs_to_nobody() {
        let (client, server) = pair("127.0.0.1:0");
        drop(client);
        assert_eq!(visitor(&server), None);
    }

    #[test]
    fn half_closed_is_no_longer_established() {
        let (client, server) = pair("127.0.0.1:0");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(visitor(&server), None);
    }

    #[test]
    fn a_listener_is_not_taken_for_a_visitor() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(owner(address, "127.0.0.1:9".parse().unwrap()).unwrap(), None);
    }
}

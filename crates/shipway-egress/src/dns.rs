//! The DNS forwarder: containers ask here, and get no answer that leads where the
//! packet filter would not let them go.
//!
//! A container is told from another by its address, which the packet filter vouches
//! for. Questions are taken apart and asked anew, with an id and a port of our own, of
//! the resolvers the host itself uses; answers are taken apart, checked against the
//! question, rid of forbidden addresses and put together again, so that no byte of one
//! side reaches the other unread. Everything has a bound: questions at a time, sizes,
//! waits. Nothing is kept: the host's resolver has a cache of its own.

mod answer;
mod listen;
mod members;
mod upstream;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

pub(crate) use members::Members;
pub use members::NameCounters;
pub use upstream::Upstreams;

use crate::addresses::Addresses;

/// Where names are asked for.
const PORT: u16 = 53;
/// Connections waiting to be accepted.
const BACKLOG: i32 = 64;

/// The forwarder, ready to run: its sockets are bound, in the namespace of the thread
/// that opened [`Egress`](crate::Egress).
#[derive(Debug)]
pub struct Forwarder {
    sockets: Vec<Ears>,
    members: Arc<Members>,
    upstreams: Upstreams,
}

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct Ears {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Forwarder {
    pub(crate) fn new(sockets: Vec<Ears>, members: Arc<Members>, upstreams: Upstreams) -> Self {
        Self { sockets, members, upstreams }
    }

    /// Answers until dropped. To be spawned once, on any runtime with I/O and time; the
    /// task holds everything it starts, so that aborting it ends all.
    ///
    /// # Errors
    ///
    /// Those of handing the sockets to the runtime; later ones are waited out.
    pub async fn run(self) -> io::Result<()> {
        listen::run(self.sockets, self.members, self.upstreams).await
    }
}

/// Binds to the router's addresses, which need not be there yet: the first container's
/// link brings them. Nobody else can bind them then, so this is also the lock that
/// keeps two engine roots from using one pool.
pub(crate) fn bind(router: Addresses, v6: bool) -> io::Result<Vec<Ears>> {
    let mut addresses = vec![IpAddr::from(router.v4)];
    addresses.extend(v6.then(|| IpAddr::from(router.v6)));
    addresses.into_iter().map(bind_one).collect()
}

fn bind_one(address: IpAddr) -> io::Result<Ears> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let bound = |kind| -> io::Result<_> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(family, kind, flags, None)?;
        match address {
            IpAddr::V4(_) => sockopt::set_ip_freebind(&fd, true)?,
            IpAddr::V6(_) => sockopt::set_ipv6_freebind(&fd, true)?,
        }
        if kind == SocketType::STREAM {
            // Connections of a predecessor in TIME_WAIT are no reason to fail; one that
            // still listens is, with or without this.
            sockopt::set_socket_reuseaddr(&fd, true)?;
        }
        rustix::net::bind(&fd, &SocketAddr::new(address, PORT))?;
        Ok(fd)
    };
    let udp = UdpSocket::from(bound(SocketType::DGRAM)?);
    let tcp = bound(SocketType::STREAM)?;
    rustix::net::listen(&tcp, BACKLOG)?;
    Ok(Ears { udp, tcp: TcpListener::from(tcp) })
}

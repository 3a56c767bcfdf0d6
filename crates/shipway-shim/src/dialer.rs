//! The dialer: connections into the container's network, for those outside of it.
//!
//! The shim lives in that network, so no bridge is needed, and whoever may open
//! `dial.sock` reaches the one address of this service and nothing else. Each accepted
//! connection is one dial: the shim connects, hands the socket over, and forgets both.
//! Nothing is read from the asker, so there is nothing to parse.

use alloc::vec::Vec;
use core::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::{set_tcp_nodelay, socket_error};
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, connect, socket_with};
use shipway_shim::protocol::{DIAL_BUSY, DIAL_CONNECTED, DIAL_REFUSED, DIALS_MAX};

use crate::failure::MayFail as _;
use crate::packet::send;
use crate::shim::watch::{Place, Watch};
use crate::start::Running;
use crate::status;

/// Longest time a dial may take. On a loopback link only a program that does not
/// accept is slow; its backlog is full then, and more dials would not help it.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// The dials under way.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    dials: Vec<Dial>,
    next_id: u64,
}

#[derive(Debug)]
struct Dial {
    id: u64,
    asker: OwnedFd,
    socket: OwnedFd,
    deadline: Duration,
}

impl Dials {
    /// Adds everything of it that can be waited for.
    pub(crate) fn watch(&self, watch: &mut Watch, listener: Option<&OwnedFd>) {
        if let Some(listener) = listener {
            watch.add(Place::Dial, listener, libc::POLLIN);
        }
        for dial in &self.dials {
            watch.add(Place::Dialling(dial.id), &dial.socket, libc::POLLOUT);
            // Only its hanging up.
            watch.add(Place::Dialling(dial.id), &dial.asker, 0);
        }
    }

    /// When [`Dials::expire`] is next needed.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.dials.iter().map(|dial| dial.deadline).min()
    }

    /// Gives up the dials that took too long.
    pub(crate) fn expire(&mut self) {
        let now = status::now();
        for dial in self.dials.extract_if(.., |dial| dial.deadline <= now) {
            tell(&dial.asker, DIAL_BUSY);
        }
    }

    /// Takes one asker and dials for it.
    pub(crate) fn accept(&mut self, running: &Running) {
        let (Some(listener), Some(dialer)) = (&running.places.dial, &running.launch.dialer) else {
            return;
        };
        let Ok(asker) = accept_with(listener, SocketFlags::CLOEXEC) else {
            return;
        };
        if self.dials.len() >= DIALS_MAX {
            return tell(&asker, DIAL_BUSY);
        }
        let family = match dialer.address.is_ipv4() {
            true => AddressFamily::INET,
            false => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = socket_with(family, SocketType::STREAM, flags, None) else {
            return tell(&asker, DIAL_BUSY);
        };
        match connect(&socket, &dialer.address) {
            // On loopback the usual case: the handshake is done when connect returns.
            Ok(()) => hand_over(&asker, &socket),
            Err(Errno::INPROGRESS) => self.wait(asker, socket),
            Err(_) => tell(&asker, DIAL_REFUSED),
        }
    }

    fn wait(&mut self, asker: OwnedFd, socket: OwnedFd) {
        self.next_id += 1;
        self.dials.push(Dial { id: self.next_id, asker, socket, deadline: status::now() + DIAL_LIMIT });
    }

    /// Ends dial `id`: connected, refused, or its asker has hung up.
    pub(crate) fn finish(&mut self, id: u64) {
        let Some(at) = self.dials.iter().position(|dial| dial.id == id) else {
            return;
        };
        let dial = self.dials.swap_remove(at);
        match socket_error(&dial.socket) {
            // Also when it is the asker that hung up: telling it is harmless.
            Ok(Ok(())) => hand_over(&dial.asker, &dial.socket),
            _ => tell(&dial.asker, DIAL_REFUSED),
        }
    }
}

fn hand_over(asker: &OwnedFd, socket: &OwnedFd) {
    // Whoever speaks through it writes whole heads at once; a delay would only add.
    set_tcp_nodelay(socket, true).may_fail();
    // An asker that hung up is not owed anything.
    send(asker, &[DIAL_CONNECTED], &[socket.as_fd()]).may_fail();
}

fn tell(asker: &OwnedFd, why: u8) {
    send(asker, &[why], &[]).may_fail();
}

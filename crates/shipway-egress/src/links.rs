//! Links, addresses and routes: a container's pair, and what else the host has.
//!
//! A pair is made in one message, with the far end born in the container's namespace.
//! Both ends know each other's hardware address for good, so that neither has to ask
//! and nobody can answer falsely.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::addresses::{Addresses, End, Plan, Slot};
use crate::netlink::{Attributes, CREATE, EXCLUSIVE, Message, NetlinkError, REPLACE, Socket};
use crate::table::octets;

mod host;

pub(crate) use host::Link;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NEW_NEIGHBOUR: u16 = 28;

/// `IFF_UP`.
const UP: u32 = 1;
/// The container's end is called what programs expect.
pub(crate) const FAR_NAME: &str = "eth0";

/// A socket for links in one namespace.
#[derive(Debug)]
pub(crate) struct Links(Socket);

fn link_message(kind: u16, flags: u16, index: u32, up: bool, attributes: &Attributes) -> Message {
    Message::new(kind, flags, &link_head(index, up), attributes)
}

/// `struct ifinfomsg`.
fn link_head(index: u32, up: bool) -> [u8; 16] {
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        head[8..12].copy_from_slice(&UP.to_ne_bytes());
        head[12..16].copy_from_slice(&UP.to_ne_bytes());
    }
    head
}

impl Links {
    /// Opens it in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(Socket::open(None)?))
    }

    /// Makes a pair: our end here, `eth0` in the namespace of `far`.
    pub(crate) fn make_pair(
        &mut self,
        plan: &Plan,
        slot: Slot,
        mtu: u32,
        far: BorrowedFd<'_>,
    ) -> Result<(), NetlinkError> {
        let descriptor = u32::try_from(far.as_raw_fd()).expect("a descriptor is not negative");
        let peer = Attributes::new()
            .text(3, FAR_NAME)
            .u32(4, mtu)
            .raw(1, &Plan::hardware(slot, End::Container))
            .u32(28, descriptor);
        let mut whole = link_head(0, false).to_vec();
        whole.extend_from_slice(peer.bytes());
        let info = Attributes::new().text(1, "veth").nest(2, &Attributes::new().raw(1, &whole));
        let attributes = Attributes::new()
            .text(3, &plan.link(slot))
            .u32(4, mtu)
            .raw(1, &Plan::hardware(slot, End::Host))
            .nest(18, &info);
        self.0.ask(&link_message(NEW_LINK, CREATE | EXCLUSIVE, 0, false, &attributes))
    }

    /// Says whose a link is.
    pub(crate) fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), NetlinkError> {
        let attributes = Attributes::new().raw(20, alias.as_bytes());
        self.0.ask(&link_message(SET_LINK, 0, index, false, &attributes))
    }

    /// Keeps a link from making itself an IPv6 address, before it is up.
    pub(crate) fn no_own_address(&mut self, index: u32) -> Result<(), NetlinkError> {
        let inner = Attributes::new().nest(10, &Attributes::new().raw(8, &[1]));
        self.0.ask(&link_message(SET_LINK, 0, index, false, &Attributes::new().nest(26, &inner)))
    }

    /// Switches a link on.
    pub(crate) fn up(&mut self, index: u32) -> Result<(), NetlinkError> {
        self.0.ask(&link_message(SET_LINK, 0, index, true, &Attributes::new()))
    }

    /// Deletes a link; one that is gone already is no error.
    pub(crate) fn delete(&mut self, name: &str) -> Result<(), NetlinkError> {
        let message = link_message(DELETE_LINK, 0, 0, false, &Attributes::new().text(3, name));
        gone_is_fine(self.0.ask(&message))
    }

    /// Gives a link an address of its own, that of nobody else on it.
    pub(crate) fn add_address(&mut self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let bytes = octets(address);
        let (family, bits) = family(address);
        let mut head = [family, bits, 0, 0, 0, 0, 0, 0];
        head[4..].copy_from_slice(&index.to_ne_bytes());
        // No question whether somebody has it, and no route of the kernel's making.
        let attributes = Attributes::new().raw(1, &bytes).raw(2, &bytes).u32(8, 0x02 | 0x200);
        self.0.ask(&Message::new(NEW_ADDRESS, CREATE | REPLACE, &head, &attributes))
    }

    /// Leads one address to a link.
    pub(crate) fn route_to(&mut self, index: u32, to: IpAddr) -> Result<(), NetlinkError> {
        let (_, bits) = family(to);
        let attributes = Attributes::new().raw(1, &octets(to)).u32(4, index);
        self.route(to, bits, 253, &attributes)
    }

    /// Leads everything else through a router on a link.
    pub(crate) fn route_all(&mut self, index: u32, router: IpAddr, from: IpAddr) -> Result<(), NetlinkError> {
        let attributes = Attributes::new().raw(5, &octets(router)).u32(4, index).raw(7, &octets(from));
        self.route(router, 0, 0, &attributes)
    }

    fn route(&mut self, like: IpAddr, bits: u8, scope: u8, attributes: &Attributes) -> Result<(), NetlinkError> {
        // Main table, by an administrator, unicast.
        let scope = if like.is_ipv4() { scope } else { 0 };
        let head = [family(like).0, bits, 0, 0, 254, 4, scope, 1, 0, 0, 0, 0];
        self.0.ask(&Message::new(NEW_ROUTE, CREATE | REPLACE, &head, attributes))
    }

    /// Writes down a neighbour's hardware address for good.
    pub(crate) fn know(&mut self, index: u32, who: IpAddr, hardware: [u8; 6]) -> Result<(), NetlinkError> {
        let mut head = [family(who).0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0];
        head[4..8].copy_from_slice(&index.to_ne_bytes());
        let attributes = Attributes::new().raw(1, &octets(who)).raw(2, &hardware);
        self.0.ask(&Message::new(NEW_NEIGHBOUR, CREATE | REPLACE, &head, &attributes))
    }

    /// Puts one end of a pair in order: its own address, the other's, and the link up.
    pub(crate) fn dress(
        &mut self,
        index: u32,
        slot: Slot,
        end: End,
        addresses: Pair,
        v6: bool,
    ) -> Result<(), NetlinkError> {
        let (own, other) = match end {
            End::Host => (addresses.router, addresses.container),
            End::Container => (addresses.container, addresses.router),
        };
        let other_hardware = Plan::hardware(slot, if end == End::Host { End::Container } else { End::Host });
        if v6 {
            self.no_own_address(index)?;
        }
        self.up(index)?;
        if end == End::Container {
            // Ours is up already. IPv6 takes a link for ready only when the same worker
            // of the kernel has been there.
            self.wait_for(FAR_NAME)?;
        }
        for (own, other) in families(own, other, v6) {
            self.add_address(index, own)?;
            self.know(index, other, other_hardware)?;
            self.route_to(index, other)?;
            if end == End::Container {
                self.route_all(index, other, own)?;
            }
        }
        Ok(())
    }
}

/// The addresses of both ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) router: Addresses,
    pub(crate) container: Addresses,
}

fn families(own: Addresses, other: Addresses, v6: bool) -> Vec<(IpAddr, IpAddr)> {
    let mut all = vec![(own.v4.into(), other.v4.into())];
    if v6 {
        all.push((own.v6.into(), other.v6.into()));
    }
    all
}

/// Its number, and the bits of an address.
fn family(address: IpAddr) -> (u8, u8) {
    if address.is_ipv4() { (2, 32) } else { (10, 128) }
}

fn gone_is_fine(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.errno == Errno::NODEV => Ok(()),
        other => other,
    }
}

//! What is there: links, addresses and routes as the kernel lists them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustix::io::Errno;

use crate::netlink::{Attributes, DUMP, Found, Message, NetlinkError};
use crate::policy::Block;
use crate::table::octets;

use super::{Links, family, link_message};

/// The kernel's worker runs within milliseconds, or once a second when it has much to do.
const WORKS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const GET_ROUTE: u16 = 26;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// What was written on it.
    pub(crate) alias: String,
    /// The index of its far end, in that end's namespace.
    pub(crate) far: Option<u32>,
    pub(crate) mtu: u32,
    /// Whether packets pass, rather than being thrown away until the kernel has
    /// noticed that the other end is up (`IF_OPER_UP`).
    pub(crate) works: bool,
}

/// An address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkAddress {
    pub(crate) index: u32,
    pub(crate) network: Block,
    pub(crate) address: IpAddr,
}

/// A route: where to, and by which links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: Block,
    pub(crate) links: Vec<u32>,
    /// Whether it leads anywhere (`RTN_UNICAST`), rather than to the host or nowhere.
    pub(crate) leads_on: bool,
}

impl Links {
    /// All links here.
    pub(crate) fn all(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let bodies = self.0.get(&link_message(GET_LINK, DUMP, 0, false, &Attributes::new()))?;
        Ok(bodies.iter().filter_map(|body| link_of(body)).collect())
    }

    /// The link of that name.
    pub(crate) fn find(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        match self.0.get(&link_message(GET_LINK, 0, 0, false, &Attributes::new().text(3, name))) {
            Err(error) if error.errno == Errno::NODEV => Ok(None),
            other => Ok(other?.first().and_then(|body| link_of(body))),
        }
    }

    /// Waits until our end passes packets. The far end came up second and does so at
    /// once; ours is told by a worker of the kernel's, which Linux 6.8 and newer hurry
    /// along when asked. A first question for a name would be lost meanwhile, and asked
    /// again five seconds later.
    pub(crate) fn wait_for(&mut self, name: &str) -> Result<(), NetlinkError> {
        let begun = std::time::Instant::now();
        while !self.find(name)?.is_some_and(|link| link.works) {
            if begun.elapsed() > WORKS_WITHIN {
                return Err(Errno::NETDOWN.into());
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
        Ok(())
    }

    /// All addresses here.
    pub(crate) fn addresses(&mut self) -> Result<Vec<LinkAddress>, NetlinkError> {
        let bodies = self.0.get(&Message::new(GET_ADDRESS, DUMP, &[0; 8], &Attributes::new()))?;
        Ok(bodies.iter().filter_map(|body| address_of(body)).collect())
    }

    /// All routes here, of all tables.
    pub(crate) fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        let bodies = self.0.get(&Message::new(GET_ROUTE, DUMP, &[0; 12], &Attributes::new()))?;
        Ok(bodies.iter().filter_map(|body| route_of(body)).collect())
    }

    /// The link by which a packet to this address would leave, if any.
    pub(crate) fn way_to(&mut self, address: IpAddr) -> Result<Option<u32>, NetlinkError> {
        let (family, bits) = family(address);
        let head = [family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        match self.0.get(&Message::new(GET_ROUTE, 0, &head, &Attributes::new().raw(1, &octets(address)))) {
            Ok(bodies) => {
                let route = bodies.first().and_then(|body| route_of(body));
                Ok(route.filter(|route| route.leads_on).and_then(|route| route.links.first().copied()))
            }
            // No way there is an answer.
            Err(error) if matches!(error.errno, Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS) => Ok(None),
            Err(error) if matches!(error.errno, Errno::INVAL | Errno::AFNOSUPPORT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn link_of(body: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let found = Found(body.get(16..)?);
    Some(Link {
        index,
        name: found.text(3)?,
        alias: found.text(20).unwrap_or_default(),
        far: found.u32(5),
        mtu: found.u32(4).unwrap_or(1500),
        works: found.get(16) == Some(&[6]),
    })
}

fn address_of(body: &[u8]) -> Option<LinkAddress> {
    let bits = *body.get(1)?;
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let found = Found(body.get(8..)?);
    let network = to_address(found.get(1)?)?;
    let address = found.get(2).and_then(to_address).unwrap_or(network);
    Some(LinkAddress { index, network: Block { first: network, bits }, address })
}

fn route_of(body: &[u8]) -> Option<Route> {
    let (family, bits, kind) = (*body.first()?, *body.get(1)?, *body.get(7)?);
    let found = Found(body.get(12..)?);
    let everything = match family {
        2 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        10 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let first = found.get(1).and_then(to_address).unwrap_or(everything);
    let mut links: Vec<u32> = found.u32(4).into_iter().collect();
    links.extend(found.get(9).map(next_hops).unwrap_or_default());
    Some(Route { to: Block { first, bits }, links, leads_on: kind == 1 })
}

/// The links of a route with several: `struct rtnexthop`, one behind the other.
fn next_hops(mut bytes: &[u8]) -> Vec<u32> {
    let mut links = Vec::new();
    while let Some(head) = bytes.first_chunk::<8>() {
        links.push(u32::from_ne_bytes([head[4], head[5], head[6], head[7]]));
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]])).max(8);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    links
}

fn to_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

//! Names and addresses: all of them follow from the engine root's instance id, the
//! pool and the container's slot, so that nothing needs to be written down.
//!
//! A container has one address of each kind on its `eth0`, point to point: no network
//! is shared with a neighbour, and a router of ours is its only acquaintance. The
//! router has one address for all containers, where the DNS forwarder listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest as _, Sha256};

use crate::policy::Block;

/// Which container of the engine root: handed out by the engine, unique among the
/// living, small.
pub type Slot = u16;

/// Whose network this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The engine root's instance id.
    pub(crate) instance: String,
    /// Where IPv4 addresses are taken from.
    pub(crate) pool: Block,
    /// Where IPv6 addresses are taken from: a unique local /64.
    pub(crate) local: Block,
}

/// The two addresses of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address; there also where the host has no IPv6, but then unused.
    pub v6: Ipv6Addr,
}

/// Slots a pool must have room for, or it is refused: the slots of an engine root are
/// counted by the id ranges of its machine.
pub(crate) const POOL_BITS: std::ops::RangeInclusive<u8> = 8..=20;

impl Plan {
    /// Puts a plan together; `pool` has a prefix within [`POOL_BITS`].
    pub(crate) fn new(instance: &str, pool: Block) -> Self {
        let digest = Sha256::digest(format!("shipway egress {instance}"));
        let mut bytes = [0u8; 16];
        bytes[0] = 0xfd;
        bytes[1..6].copy_from_slice(&digest[..5]);
        let local = Block { first: IpAddr::V6(Ipv6Addr::from(bytes)), bits: 64 };
        Self { instance: instance.to_owned(), pool: Block { first: pool.edges().0, bits: pool.bits }, local }
    }

    /// The addresses of our end, which is where names are asked for.
    pub(crate) fn router(&self) -> Addresses {
        self.nth(1)
    }

    /// The addresses of a container.
    pub(crate) fn container(&self, slot: Slot) -> Addresses {
        self.nth(u32::from(slot) + 2)
    }

    /// Whether the pool has an address for this slot.
    pub(crate) fn has_room_for(&self, slot: Slot) -> bool {
        // The last address of the pool is left alone: it looks like a broadcast.
        u32::from(slot) + 3 < u32::MAX >> self.pool.bits
    }

    fn nth(&self, n: u32) -> Addresses {
        let (IpAddr::V4(pool), IpAddr::V6(local)) = (self.pool.first, self.local.first) else {
            unreachable!("a plan has an IPv4 pool and an IPv6 one");
        };
        Addresses {
            v4: Ipv4Addr::from_bits(pool.to_bits().wrapping_add(n)),
            v6: Ipv6Addr::from_bits(local.to_bits() | u128::from(n)),
        }
    }

    /// The name of our end of a container's link: at most 15 bytes, as the kernel has it.
    pub(crate) fn link(&self, slot: Slot) -> String {
        format!("{}{slot:x}", self.link_prefix())
    }

    /// What the names of all our links begin with.
    pub(crate) fn link_prefix(&self) -> String {
        format!("sw{:.8}-", self.instance)
    }

    /// The slot of a link of ours.
    pub(crate) fn slot_of(&self, link: &str) -> Option<Slot> {
        let slot = Slot::from_str_radix(link.strip_prefix(&self.link_prefix())?, 16).ok()?;
        // One spelling only: `-01` is not what we would have written.
        (self.link(slot) == link).then_some(slot)
    }

    /// Written on our links, because eight digits of an id are not the whole id.
    pub(crate) fn alias(&self) -> String {
        format!("shipway {}", self.instance)
    }

    /// The name of our table.
    pub(crate) fn table(&self) -> String {
        format!("shipway-{}", self.instance)
    }

    /// The hardware address of one end: locally administered, told by slot.
    pub(crate) fn hardware(slot: Slot, end: End) -> [u8; 6] {
        let [high, low] = slot.to_be_bytes();
        [0x02, 0x53, 0x57, if end == End::Host { 0 } else { 1 }, high, low]
    }
}

/// Which end of a container's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Ours.
    Host,
    /// The container's `eth0`.
    Container,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new("0123456789ab", "10.201.0.0/16".parse().unwrap())
    }

    #[test]
    fn addresses_follow_from_the_slot() {
        let plan = plan();
        assert_eq!(plan.router().v4.to_string(), "10.201.0.1");
        assert_eq!(plan.container(0).v4.to_string(), "10.201.0.2");
        assert_eq!(plan.container(300).v4.to_string(), "10.201.1.46");
        assert!(plan.pool.contains(plan.container(60_000).v4.into()));
        assert!(plan.local.contains(plan.container(60_000).v6.into()));
        assert!("fd00::/8".parse::<Block>().unwrap().contains(plan.router().v6.into()));
        assert!(plan.has_room_for(65_000) && !plan.has_room_for(65_534));
        let other = Plan::new("0123456789ac", plan.pool);
        assert_ne!(other.local, plan.local, "each root has an IPv6 network of its own");
    }

    #[test]
    fn a_link_tells_its_slot_and_fits_the_kernel() {
        let plan = plan();
        for slot in [0, 1, 255, u16::MAX] {
            assert!(plan.link(slot).len() <= 15);
            assert_eq!(plan.slot_of(&plan.link(slot)), Some(slot));
        }
        for foreign in ["eth0", "sw01234567-", "sw01234567-01", "sw01234567-+1", "sw01234567-10000", "sw76543210-1"] {
            assert_eq!(plan.slot_of(foreign), None, "{foreign}");
        }
    }
}

//! Which addresses are anybody's to fetch from.
//!
//! Everything in the IANA special-purpose registries (RFC 6890 and its updates),
//! multicast and reserved space is not. An IPv6 address that carries an IPv4 one
//! (mapped, NAT64, 6to4) is judged by what it carries, and refused besides: none
//! of those forms is how a public origin is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<A> {
    /// Its first address.
    pub first: A,
    /// Length of its prefix in bits.
    pub bits: u8,
    /// What it is for, in a few words.
    pub what: &'static str,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8, what: &'static str) -> Block<Ipv4Addr> {
    Block { first: Ipv4Addr::new(a, b, c, d), bits, what }
}

const fn v6(first: [u16; 8], bits: u8, what: &'static str) -> Block<Ipv6Addr> {
    let [a, b, c, d, e, f, g, h] = first;
    Block { first: Ipv6Addr::new(a, b, c, d, e, f, g, h), bits, what }
}

/// IPv4 blocks that are not fetched from.
pub const V4_BLOCKS: &[Block<Ipv4Addr>] = &[
    v4(0, 0, 0, 0, 8, "this network (RFC 791)"),
    v4(10, 0, 0, 0, 8, "private (RFC 1918)"),
    v4(100, 64, 0, 0, 10, "shared by carriers (RFC 6598)"),
    v4(127, 0, 0, 0, 8, "loopback (RFC 1122)"),
    v4(169, 254, 0, 0, 16, "link-local and metadata services (RFC 3927)"),
    v4(172, 16, 0, 0, 12, "private (RFC 1918)"),
    v4(192, 0, 0, 0, 24, "protocol assignments (RFC 6890)"),
    v4(192, 0, 2, 0, 24, "documentation (RFC 5737)"),
    v4(192, 88, 99, 0, 24, "6to4 relays (RFC 7526)"),
    v4(192, 168, 0, 0, 16, "private (RFC 1918)"),
    v4(198, 18, 0, 0, 15, "benchmarks (RFC 2544)"),
    v4(198, 51, 100, 0, 24, "documentation (RFC 5737)"),
    v4(203, 0, 113, 0, 24, "documentation (RFC 5737)"),
    v4(224, 0, 0, 0, 4, "multicast (RFC 5771)"),
    v4(240, 0, 0, 0, 4, "reserved and broadcast (RFC 1112)"),
];

/// IPv6 blocks that are not fetched from.
pub const V6_BLOCKS: &[Block<Ipv6Addr>] = &[
    v6([0; 8], 128, "unspecified (RFC 4291)"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback (RFC 4291)"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "an IPv4 address in disguise (RFC 4291)"),
    v6([0; 8], 96, "an IPv4 address in disguise (RFC 4291)"),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64 (RFC 6052)"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "NAT64 (RFC 8215)"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard (RFC 6666)"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments, Teredo (RFC 2928)"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation (RFC 3849)"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4 (RFC 3056)"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation (RFC 9637)"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing (RFC 9602)"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local, metadata services (RFC 4193)"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local (RFC 4291)"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local (RFC 3879)"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast (RFC 4291)"),
];

impl Block<Ipv4Addr> {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        same_prefix(u128::from(address.to_bits()), u128::from(self.first.to_bits()), 32, self.bits)
    }
}

impl Block<Ipv6Addr> {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        same_prefix(address.to_bits(), self.first.to_bits(), 128, self.bits)
    }
}

/// Whether the first `bits` of two numbers of `width` bits are equal.
pub(crate) fn same_prefix(a: u128, b: u128, width: u32, bits: u8) -> bool {
    let rest = width.saturating_sub(u32::from(bits));
    rest >= 128 || (a >> rest) == (b >> rest)
}

/// Says what an address is for when it is not anybody's to fetch from.
#[must_use]
pub fn special_use(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => V4_BLOCKS.iter().find(|block| block.contains(address)).map(|block| block.what),
        IpAddr::V6(address) => {
            let listed = V6_BLOCKS.iter().find(|block| block.contains(address)).map(|block| block.what);
            // Only 2000::/3 has been given out for the public internet (RFC 4291 §2.4).
            listed.or_else(|| (address.segments()[0] >> 13 != 1).then_some("not global unicast (RFC 4291)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<&'static str> {
        special_use(text.parse().unwrap())
    }

    #[test]
    fn the_first_and_last_address_of_every_block_are_refused() {
        for block in V4_BLOCKS {
            let last = block.first.to_bits() | u32::MAX.checked_shr(u32::from(block.bits)).unwrap_or(0);
            assert!(special_use(block.first.into()).is_some(), "{block:?}");
            assert!(special_use(Ipv4Addr::from_bits(last).into()).is_some(), "{block:?}");
        }
        for block in V6_BLOCKS {
            let last = block.first.to_bits() | u128::MAX.checked_shr(u32::from(block.bits)).unwrap_or(0);
            assert!(special_use(block.first.into()).is_some(), "{block:?}");
            assert!(special_use(Ipv6Addr::from_bits(last).into()).is_some(), "{block:?}");
        }
    }

    #[test]
    fn neighbours_of_blocks_are_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.0.0.1",
            "128.0.0.1",
            "169.253.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn what_attackers_ask_for_is_refused() {
        for text in [
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "::1",
            "::",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "2001::1",
            "4000::1",
            "255.255.255.255",
        ] {
            assert!(of(text).is_some(), "{text}");
        }
    }
}

//! Which addresses are nobody's to reach from a container, and which never are.
//!
//! The blocks are those of the IANA special-purpose registries (RFC 6890 and its
//! updates), multicast and reserved space: the list `shipway-fetch` goes by as well,
//! and a test compares the two. Of IPv6 only `2000::/3` is the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::Block;

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Block {
    Block { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
}

const fn v6(first: [u16; 8], bits: u8) -> Block {
    let [a, b, c, d, e, f, g, h] = first;
    Block { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), bits }
}

/// Some address of each family, where only the family matters.
pub(crate) const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// The other family.
pub(crate) const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// IPv4 blocks that are refused unless allowed, in order and without overlap.
pub(crate) const SPECIAL_V4: &[Block] = &[
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 3),
];

/// IPv6 blocks that are refused unless allowed: all but `2000::/3`, and within it what
/// was given to documentation, tunnels and protocols. In order and without overlap.
pub(crate) const SPECIAL_V6: &[Block] = &[
    v6([0; 8], 3),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1),
];

/// Where clouds keep the credentials of a machine. A block of `network.allow` never
/// opens these; only an entry that names one of them does.
pub(crate) const METADATA: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether an address is special: not the public internet.
pub(crate) fn is_special(address: IpAddr) -> bool {
    let blocks = if address.is_ipv4() { SPECIAL_V4 } else { SPECIAL_V6 };
    METADATA.contains(&address) || blocks.iter().any(|block| block.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_of_special_addresses_agree() {
        let mut samples: Vec<IpAddr> = Vec::new();
        for block in shipway_fetch::address::V4_BLOCKS {
            let (first, last) = (block.first.to_bits(), block.first.to_bits() | (u32::MAX >> block.bits));
            let around = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            samples.extend(around.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))));
        }
        for block in shipway_fetch::address::V6_BLOCKS {
            let first = block.first.to_bits();
            let last = first | u128::MAX.checked_shr(u32::from(block.bits)).unwrap_or(0);
            let around = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            samples.extend(around.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))));
        }
        for block in SPECIAL_V4.iter().chain(SPECIAL_V6) {
            let (first, last) = block.edges();
            samples.extend([first, last]);
        }
        assert!(samples.len() > 100);
        for address in samples {
            let other = shipway_fetch::address::special_use(address).is_some();
            assert_eq!(is_special(address), other, "{address}");
        }
    }

    #[test]
    fn blocks_are_in_order_and_apart() {
        for blocks in [SPECIAL_V4, SPECIAL_V6] {
            for pair in blocks.windows(2) {
                assert!(pair[0].edges().1 < pair[1].edges().0, "{pair:?}");
            }
        }
    }

    #[test]
    fn what_attackers_ask_for_is_special() {
        for text in
            ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "::ffff:8.8.8.8", "255.255.255.255", "4000::1"]
        {
            assert!(is_special(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "223.255.255.255", "2606:4700::1111"] {
            assert!(!is_special(text.parse().unwrap()), "{text}");
        }
    }
}

//! What an operator trusts although it is private.
//!
//! Comma-separated: `address:port` exempts exactly that pair, also from the rule
//! about ports; a CIDR (`10.1.0.0/16`) exempts its addresses at every port.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::address::same_prefix;

/// What is exempt from the rules about addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Pair(SocketAddr),
    Block { first: IpAddr, bits: u8 },
}

/// Which entry cannot be read, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither address:port (10.1.2.3:443, [fd00::1]:80) nor a CIDR (10.1.0.0/16)")]
pub struct AllowError(pub String);

impl AllowList {
    /// Whether the address is exempt at this port.
    #[must_use]
    pub fn exempts(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Pair(pair) => *pair == address,
            Entry::Block { first, bits } => contains(*first, *bits, address.ip()),
        })
    }

    /// Whether some address is exempt at this port: then the port alone is no reason
    /// to refuse a name, before it is known what the name stands for.
    #[must_use]
    pub fn may_exempt(&self, port: u16) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Pair(pair) => pair.port() == port,
            Entry::Block { .. } => true,
        })
    }
}

fn contains(first: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            same_prefix(u128::from(first.to_bits()), u128::from(address.to_bits()), 32, bits)
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => same_prefix(first.to_bits(), address.to_bits(), 128, bits),
        _ => false,
    }
}

impl FromStr for AllowList {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| parse(entry).ok_or_else(|| AllowError(entry.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse(text: &str) -> Option<Entry> {
    if let Some((first, bits)) = text.split_once('/') {
        let (first, bits) = (first.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
        let most = if first.is_ipv4() { 32 } else { 128 };
        return (bits <= most).then_some(Entry::Block { first, bits });
    }
    text.parse().ok().map(Entry::Pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_exempts_itself_and_a_block_its_addresses() {
        let list: AllowList = "127.0.0.1:8099, 10.1.0.0/16,[fd00::1]:80, fd12::/16,".parse().unwrap();
        let exempts = |text: &str| list.exempts(text.parse().unwrap());
        assert!(
            exempts("127.0.0.1:8099")
                && exempts("10.1.255.1:443")
                && exempts("[fd00::1]:80")
                && exempts("[fd12::9]:443")
        );
        assert!(
            !exempts("127.0.0.1:8098")
                && !exempts("127.0.0.2:8099")
                && !exempts("10.2.0.1:443")
                && !exempts("[fd00::1]:443")
        );
        assert!(exempts("10.1.255.1:5000"), "a block is exempt at every port");
        assert!(list.may_exempt(8099) && list.may_exempt(443));
        let list: AllowList = "127.0.0.1:8099".parse().unwrap();
        assert!(list.may_exempt(8099) && !list.may_exempt(443));
        assert!(!AllowList::default().may_exempt(80));
    }

    #[test]
    fn a_bad_entry_is_named() {
        for bad in ["10.0.0.1", "10.0.0.0/33", "example.org:80", "::1/129", "10.0.0.0/-1", "x"] {
            assert_eq!(format!("127.0.0.1:1,{bad}").parse::<AllowList>(), Err(AllowError(bad.to_owned())));
        }
    }
}

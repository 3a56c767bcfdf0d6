//! What a container may reach beside the public internet, and how much of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::special::{METADATA, is_special};

/// Entries of one allow list at most: each is a rule that every new connection passes.
pub const ALLOW_MAX: usize = 64;
/// Connections of one container at a time, unless told. A build that fetches a thousand
/// files keeps a few dozen open; a scan of the internet would like more.
pub const CONNECTIONS_DEFAULT: u32 = 1024;

/// What one container may do on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Exempt from the rules about special addresses (`network.allow`).
    pub allow: Vec<Allow>,
    /// Bytes a second in each direction; `None` for as fast as it goes.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Connections (TCP, UDP flows and others) open at a time.
    pub connections: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { allow: Vec::new(), bytes_per_second: None, connections: CONNECTIONS_DEFAULT }
    }
}

/// One entry of `network.allow`: `address:port` (TCP and UDP) or a CIDR at every port.
///
/// An entry that names one address (a pair, or a CIDR of full length) also opens a
/// metadata address or an address of the host itself; a wider block never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allow {
    /// Exactly this address and port.
    Pair(SocketAddr),
    /// Every address of a block.
    Block(Block),
}

/// A block of addresses: those that share the first `bits` bits of `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its first address; bits behind the prefix do not count.
    pub first: IpAddr,
    /// Length of its prefix in bits.
    pub bits: u8,
}

/// Which entry cannot be read, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither address:port (10.1.2.3:443, [fd00::1]:80) nor a CIDR (10.1.0.0/16)")]
pub struct AllowError(pub String);

impl FromStr for Allow {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let parsed = if text.contains('/') {
            text.parse().ok().map(Self::Block)
        } else {
            text.parse().ok().filter(|pair: &SocketAddr| pair.port() != 0).map(Self::Pair)
        };
        parsed.ok_or_else(|| AllowError(text.to_owned()))
    }
}

impl FromStr for Block {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let parse = || {
            let (first, bits) = text.split_once('/')?;
            let (first, bits) = (first.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
            let most = if first.is_ipv4() { 32 } else { 128 };
            (bits <= most).then_some(Self { first, bits })
        };
        parse().ok_or_else(|| AllowError(text.to_owned()))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl Allow {
    /// Whether it names a single address.
    pub(crate) fn is_exact(&self) -> bool {
        match self {
            Self::Pair(_) => true,
            Self::Block(block) => block.bits == if block.first.is_ipv4() { 32 } else { 128 },
        }
    }

    /// An address it speaks of.
    pub(crate) fn address(&self) -> IpAddr {
        match self {
            Self::Pair(pair) => pair.ip(),
            Self::Block(block) => block.edges().0,
        }
    }

    fn covers(&self, address: IpAddr) -> bool {
        match self {
            Self::Pair(pair) => pair.ip() == address,
            Self::Block(block) => block.contains(address),
        }
    }
}

impl Policy {
    /// Whether a name may stand for this address: the rule of the packet filter,
    /// without a port, because a name has none.
    pub(crate) fn may_name(&self, address: IpAddr) -> bool {
        if !is_special(address) {
            return true;
        }
        let only_exact = METADATA.contains(&address);
        self.allow.iter().any(|allow| allow.covers(address) && (allow.is_exact() || !only_exact))
    }
}

impl Block {
    /// Its first and its last address.
    pub(crate) fn edges(&self) -> (IpAddr, IpAddr) {
        match self.first {
            IpAddr::V4(first) => {
                let rest = u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                let edge = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
                (edge(first.to_bits() & !rest), edge(first.to_bits() | rest))
            }
            IpAddr::V6(first) => {
                let rest = u128::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                let edge = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
                (edge(first.to_bits() & !rest), edge(first.to_bits() | rest))
            }
        }
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, last) = self.edges();
        first.is_ipv4() == address.is_ipv4() && first <= address && address <= last
    }

    /// Whether it and another share an address.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.edges().0) || other.contains(self.edges().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str]) -> Policy {
        Policy { allow: allow.iter().map(|text| text.parse().unwrap()).collect(), ..Policy::default() }
    }

    #[test]
    fn a_name_may_stand_for_the_public_internet_and_what_is_allowed() {
        let policy = policy(&["10.1.0.0/16", "192.168.0.9:443", "169.254.0.0/16", "fd12::/16"]);
        let may = |text: &str| policy.may_name(text.parse().unwrap());
        assert!(may("9.9.9.9") && may("10.1.2.3") && may("192.168.0.9") && may("fd12::1") && may("2620:fe::fe"));
        assert!(!may("10.2.0.1") && !may("192.168.0.8") && !may("::1") && !may("::ffff:10.1.2.3"));
        assert!(may("169.254.1.1") && !may("169.254.169.254"), "a block does not open the metadata service");
    }

    #[test]
    fn an_entry_that_names_the_metadata_service_opens_it() {
        let at = "169.254.169.254".parse().unwrap();
        assert!(policy(&["169.254.169.254:80"]).may_name(at));
        assert!(policy(&["169.254.169.254/32"]).may_name(at));
        assert!(!policy(&["169.254.169.252/30"]).may_name(at));
    }

    #[test]
    fn a_bad_entry_is_named() {
        for bad in
            ["10.0.0.1", "10.0.0.0/33", "example.org:80", "::1/129", "10.0.0.0/-1", "", "1.2.3.4:0", "1.2.3.4:80/8"]
        {
            assert_eq!(bad.parse::<Allow>(), Err(AllowError(bad.to_owned())));
        }
    }

    #[test]
    fn blocks_that_share_an_address_overlap() {
        let block = |text: &str| text.parse::<Block>().unwrap();
        assert!(block("10.0.0.0/8").overlaps(&block("10.201.0.0/16")));
        assert!(block("10.201.7.7/32").overlaps(&block("10.201.0.0/16")));
        assert!(!block("10.200.0.0/16").overlaps(&block("10.201.0.0/16")));
        assert!(!block("::/0").overlaps(&block("0.0.0.0/0")));
        assert!(block("0.0.0.0/0").overlaps(&block("255.0.0.0/8")));
    }
}

//! One rule, said in the words of `nf_tables`: expressions that load, compare and act.
//!
//! A rule is built left to right, as `nft` would print it. The data under test always
//! goes through one register, so expressions never disturb each other.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::netlink::Attributes;
use crate::policy::{Allow, Block};

/// The register everything is loaded into.
const REGISTER: u32 = 1;
/// The register whose value is what happens to the packet.
const VERDICT: u32 = 0;

const EQUAL: u32 = 0;
const DIFFERENT: u32 = 1;

/// `NF_ACCEPT` and its kin, as `nf_tables` counts them.
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;
const GOTO: i32 = -4;

/// Transport protocols.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// States of a connection, as bits.
pub(crate) const INVALID: u32 = 1;
pub(crate) const ESTABLISHED: u32 = 2;
pub(crate) const RELATED: u32 = 4;
pub(crate) const NEW: u32 = 8;

/// A rule under construction, and then for good.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule {
    expressions: Attributes,
    comment: Option<String>,
    tag: String,
}

/// Which end of a packet an address is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

impl Rule {
    /// One that matches everything and does nothing.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Its expressions.
    pub(crate) fn expressions(&self) -> &Attributes {
        &self.expressions
    }

    /// What it carries as its comment: a digest of itself, or what it was told to say.
    pub(crate) fn tag(&self) -> &str {
        self.comment.as_deref().unwrap_or(&self.tag)
    }

    /// Has it say this instead of its digest.
    pub(crate) fn comment(mut self, comment: &str) -> Self {
        self.comment = Some(comment.to_owned());
        self
    }

    fn expression(mut self, name: &str, data: &Attributes) -> Self {
        let element = Attributes::new().text(1, name).nest(2, data);
        self.expressions = self.expressions.nest(1, &element);
        let digest = Sha256::digest(self.expressions.bytes());
        self.tag = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self
    }

    fn meta(self, key: u32) -> Self {
        self.expression("meta", &Attributes::new().be32(1, REGISTER).be32(2, key))
    }

    fn compare(self, how: u32, value: &[u8]) -> Self {
        let data = Attributes::new().raw(1, value);
        self.expression("cmp", &Attributes::new().be32(1, REGISTER).be32(2, how).nest(3, &data))
    }

    fn mask(self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).expect("a mask is an address long");
        let data = Attributes::new().be32(1, REGISTER).be32(2, REGISTER).be32(3, length);
        let zero = vec![0; mask.len()];
        let data = data.nest(4, &Attributes::new().raw(1, mask)).nest(5, &Attributes::new().raw(1, &zero));
        self.expression("bitwise", &data)
    }

    fn payload(self, base: u32, offset: u32, length: u32) -> Self {
        let data = Attributes::new().be32(1, REGISTER).be32(2, base).be32(3, offset).be32(4, length);
        self.expression("payload", &data)
    }

    fn conntrack(self, key: u32) -> Self {
        self.expression("ct", &Attributes::new().be32(1, REGISTER).be32(2, key))
    }

    /// Came in by a link whose name is, or begins with, this.
    pub(crate) fn in_by_links(self, prefix: &str) -> Self {
        self.meta(6).compare(EQUAL, prefix.as_bytes())
    }

    /// Goes out by a link whose name begins with this.
    pub(crate) fn out_by_links(self, prefix: &str) -> Self {
        self.meta(7).compare(EQUAL, prefix.as_bytes())
    }

    /// Goes out by no link whose name begins with this.
    pub(crate) fn not_out_by_links(self, prefix: &str) -> Self {
        self.meta(7).compare(DIFFERENT, prefix.as_bytes())
    }

    /// Came in by exactly this link.
    pub(crate) fn in_by_link(self, name: &str) -> Self {
        let mut whole = [0; 16];
        whole[..name.len().min(15)].copy_from_slice(&name.as_bytes()[..name.len().min(15)]);
        self.meta(6).compare(EQUAL, &whole)
    }

    /// Follows the map to the chain of the link the packet came in by (`true`) or goes out by.
    pub(crate) fn by_link(self, incoming: bool, map: &str) -> Self {
        let found = self.meta(if incoming { 6 } else { 7 });
        found.expression("lookup", &Attributes::new().text(1, map).be32(2, REGISTER).be32(3, VERDICT))
    }

    /// Is IPv4 or IPv6, as this address is.
    pub(crate) fn family_of(self, address: IpAddr) -> Self {
        self.meta(15).compare(EQUAL, &[if address.is_ipv4() { 2 } else { 10 }])
    }

    fn address(self, side: Side, like: IpAddr) -> Self {
        let (offset, length) = match (side, like.is_ipv4()) {
            (Side::Source, true) => (12, 4),
            (Side::Destination, true) => (16, 4),
            (Side::Source, false) => (8, 16),
            (Side::Destination, false) => (24, 16),
        };
        self.family_of(like).payload(1, offset, length)
    }

    /// Has exactly this address.
    pub(crate) fn equals(self, side: Side, address: IpAddr) -> Self {
        self.address(side, address).compare(EQUAL, &octets(address))
    }

    /// Is of the address's family and has another.
    pub(crate) fn differs(self, side: Side, address: IpAddr) -> Self {
        self.address(side, address).compare(DIFFERENT, &octets(address))
    }

    /// Has an address within the block.
    pub(crate) fn within(self, side: Side, block: &Block) -> Self {
        self.masked(side, block).compare(EQUAL, &octets(block.edges().0))
    }

    fn masked(self, side: Side, block: &Block) -> Self {
        let mask: Vec<u8> = match block.first {
            IpAddr::V4(_) => (!u32::MAX.checked_shr(u32::from(block.bits)).unwrap_or(0)).to_be_bytes().into(),
            IpAddr::V6(_) => (!u128::MAX.checked_shr(u32::from(block.bits)).unwrap_or(0)).to_be_bytes().into(),
        };
        self.address(side, block.first).mask(&mask)
    }

    /// Has an address of that set, which holds addresses of `like`'s family.
    pub(crate) fn in_set(self, side: Side, set: &str, like: IpAddr) -> Self {
        self.address(side, like).expression("lookup", &Attributes::new().text(1, set).be32(2, REGISTER))
    }

    /// Goes where the entry says; `transport` where the entry names a port.
    pub(crate) fn where_allowed(self, allow: &Allow, transport: u8) -> Self {
        match allow {
            Allow::Pair(pair) => self.equals(Side::Destination, pair.ip()).at_port(transport, pair.port()),
            Allow::Block(block) => self.within(Side::Destination, block),
        }
    }

    /// Is of that protocol and goes to that port.
    pub(crate) fn at_port(self, transport: u8, port: u16) -> Self {
        self.meta(16).compare(EQUAL, &[transport]).payload(2, 2, 2).compare(EQUAL, &port.to_be_bytes())
    }

    /// Is an ICMP message of the address's family.
    pub(crate) fn icmp(self, v4: bool) -> Self {
        self.meta(16).compare(EQUAL, &[if v4 { ICMP } else { ICMP_V6 }])
    }

    /// Is TCP.
    pub(crate) fn tcp(self) -> Self {
        self.meta(16).compare(EQUAL, &[TCP])
    }

    /// Belongs to a connection in one of these states.
    pub(crate) fn state(self, states: u32) -> Self {
        self.conntrack(0).mask(&states.to_ne_bytes()).compare(DIFFERENT, &[0; 4])
    }

    /// Belongs to a connection that nobody on this host sent elsewhere (`DNAT`).
    pub(crate) fn not_redirected(self) -> Self {
        self.conntrack(2).mask(&0x20u32.to_ne_bytes()).compare(EQUAL, &[0; 4])
    }

    /// Goes (`true`) or does not go to an address of the host itself.
    pub(crate) fn hosts_own(self, yes: bool) -> Self {
        let data = Attributes::new().be32(1, REGISTER).be32(2, 3).be32(3, 2);
        self.expression("fib", &data).compare(if yes { EQUAL } else { DIFFERENT }, &2u32.to_ne_bytes())
    }

    /// Exceeds so many bytes (`true`) or packets a second.
    pub(crate) fn over(self, bytes: bool, a_second: u64, burst: u32) -> Self {
        let data = Attributes::new().be64(1, a_second).be64(2, 1).be32(3, burst);
        self.expression("limit", &data.be32(4, u32::from(bytes)).be32(5, 1))
    }

    /// Would be more than so many connections through this rule.
    pub(crate) fn connections_over(self, most: u32) -> Self {
        self.expression("connlimit", &Attributes::new().be32(1, most).be32(2, 1))
    }

    /// Counts.
    pub(crate) fn count(self, counter: &str) -> Self {
        self.expression("objref", &Attributes::new().be32(1, 1).text(2, counter))
    }

    /// Counts for itself, as `iptables` has every rule do.
    pub(crate) fn count_here(self) -> Self {
        self.expression("counter", &Attributes::new().be64(1, 0).be64(2, 0))
    }

    /// Answers TCP with a reset.
    pub(crate) fn reset(self) -> Self {
        self.expression("reject", &Attributes::new().be32(1, 1).raw(2, &[0]))
    }

    /// Answers "administratively prohibited".
    pub(crate) fn prohibit(self) -> Self {
        self.expression("reject", &Attributes::new().be32(1, 2).raw(2, &[3]))
    }

    /// Something that no kernel has.
    #[cfg(test)]
    pub(crate) fn unheard_of(self) -> Self {
        self.expression("shipway_unheard", &Attributes::new())
    }

    /// Gives the packet the host's address.
    pub(crate) fn masquerade(self) -> Self {
        self.expression("masq", &Attributes::new())
    }

    /// Lets it pass.
    pub(crate) fn accept(self) -> Self {
        self.verdict(ACCEPT, None)
    }

    /// Forgets it.
    pub(crate) fn drop(self) -> Self {
        self.verdict(DROP, None)
    }

    /// Goes on in another chain and does not come back.
    pub(crate) fn goto(self, chain: &str) -> Self {
        self.verdict(GOTO, Some(chain))
    }

    /// Goes on in another chain and may come back.
    pub(crate) fn jump(self, chain: &str) -> Self {
        self.verdict(JUMP, Some(chain))
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Self {
        let verdict = verdict(code, chain);
        self.expression("immediate", &Attributes::new().be32(1, VERDICT).nest(2, &verdict))
    }
}

/// A verdict as data: of a rule or of a map's element.
fn verdict(code: i32, chain: Option<&str>) -> Attributes {
    let inner = Attributes::new().raw(1, &code.to_be_bytes());
    let inner = match chain {
        Some(chain) => inner.text(2, chain),
        None => inner,
    };
    Attributes::new().nest(2, &inner)
}

/// What a map's element leads to.
pub(crate) fn goto_data(chain: &str) -> Attributes {
    verdict(GOTO, Some(chain))
}

/// An address as it is in a packet.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_rules_apart() {
        let rule = |port| Rule::new().at_port(TCP, port).accept();
        assert_eq!(rule(53).tag(), rule(53).tag());
        assert_ne!(rule(53).tag(), rule(54).tag());
        assert_eq!(rule(53).comment("ours").tag(), "ours");
    }
}

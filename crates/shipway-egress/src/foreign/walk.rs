//! Walking somebody's rules with one packet in mind.
//!
//! What a rule asks about links, the family and the state of the connection is
//! answered. Everything else (addresses, ports, marks) is taken for "does not match":
//! such a rule is about somebody's special case, and what remains is what happens to
//! the packets of a stranger, which is what we are to them.

use crate::netlink::Found;
use crate::table::{ChainFound, Family, RuleFound};

use super::World;

/// A packet of ours, as far as others ask.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) from: String,
    /// Empty for one to the host.
    pub(super) to: String,
    /// Whether it opens a connection, rather than being part of one.
    pub(super) new: bool,
}

/// How it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    Dropped { by: String },
}

/// How a chain ends.
enum End {
    Decided(Fate),
    Returned,
}

/// What a rule does.
enum Act {
    Nothing,
    Accept,
    Drop,
    Return,
    Go { chain: String, for_good: bool },
}

/// Chains that call chains: as deep as the kernel allows.
const DEPTH_MAX: usize = 16;

const JUMP: i32 = -3;
const GOTO: i32 = -4;
const RETURN: i32 = -5;

pub(super) fn fate(world: &World, base: &ChainFound, packet: &Packet) -> Fate {
    match chain(world, base, &base.name, packet, DEPTH_MAX) {
        End::Decided(fate) => fate,
        End::Returned if base.drops => Fate::Dropped { by: base.name.clone() },
        End::Returned => Fate::Passes,
    }
}

fn chain(world: &World, base: &ChainFound, name: &str, packet: &Packet, depth: usize) -> End {
    let rules =
        world.rules.iter().filter(|rule| rule.family == base.family && rule.table == base.table && rule.chain == name);
    for rule in rules {
        match act(rule, base.family, packet) {
            Act::Nothing => {}
            Act::Accept => return End::Decided(Fate::Passes),
            Act::Drop => return End::Decided(Fate::Dropped { by: name.to_owned() }),
            Act::Return => return End::Returned,
            Act::Go { chain: to, for_good } if depth > 0 => match chain(world, base, &to, packet, depth - 1) {
                End::Returned if !for_good => {}
                end => return end,
            },
            Act::Go { .. } => {}
        }
    }
    End::Returned
}

fn act(rule: &RuleFound, family: Family, packet: &Packet) -> Act {
    let mut register: Option<Vec<u8>> = None;
    for (name, data) in &rule.expressions {
        let found = Found(data);
        match &**name {
            "meta" => register = loaded(found, family, packet),
            "ct" => register = (found.be32(2) == Some(0)).then(|| state(packet)),
            "bitwise" => register = register.and_then(|value| masked(found, &value)),
            "cmp" if register.as_deref().and_then(|value| holds(found, value)) != Some(true) => return Act::Nothing,
            "cmp" | "counter" | "log" | "notrack" => {}
            "match" if found.text(1).as_deref() == Some("comment") => {}
            "immediate" => return verdict(found),
            "reject" => return Act::Drop,
            "target" => match found.text(1).as_deref() {
                Some("DROP" | "REJECT") => return Act::Drop,
                _ => return Act::Nothing,
            },
            _ => return Act::Nothing,
        }
    }
    Act::Nothing
}

fn loaded(meta: Found<'_>, family: Family, packet: &Packet) -> Option<Vec<u8>> {
    let padded = |name: &str| {
        let mut value = name.as_bytes().to_vec();
        value.resize(16, 0);
        Some(value)
    };
    match (meta.be32(2)?, family) {
        (6, _) => padded(&packet.from),
        (7, _) => padded(&packet.to),
        (15, Family::IPV4) => Some(vec![2]),
        (15, Family::IPV6) => Some(vec![10]),
        _ => None,
    }
}

fn state(packet: &Packet) -> Vec<u8> {
    let bits: u32 = if packet.new { 8 } else { 2 };
    bits.to_ne_bytes().into()
}

fn masked(bitwise: Found<'_>, value: &[u8]) -> Option<Vec<u8>> {
    let mask = bitwise.nested(4)?.get(1)?;
    let flips = bitwise.nested(5)?.get(1)?;
    (mask.len() == value.len() && flips.len() == value.len())
        .then(|| value.iter().zip(mask).zip(flips).map(|((value, mask), flip)| (value & mask) ^ flip).collect())
}

/// Whether a comparison holds; `None` when it is of a kind not known here.
fn holds(compare: Found<'_>, value: &[u8]) -> Option<bool> {
    let with = compare.nested(3)?.get(1)?;
    let equal = value.get(..with.len())? == with;
    match compare.be32(2)? {
        0 => Some(equal),
        1 => Some(!equal),
        _ => None,
    }
}

fn verdict(immediate: Found<'_>) -> Act {
    let Some(verdict) = immediate.nested(2).and_then(|data| data.nested(2)) else { return Act::Nothing };
    let chain = || verdict.text(2).unwrap_or_default();
    match verdict.be32(1).map(u32::cast_signed) {
        Some(0) => Act::Drop,
        Some(1) => Act::Accept,
        Some(JUMP) => Act::Go { chain: chain(), for_good: false },
        Some(GOTO) => Act::Go { chain: chain(), for_good: true },
        Some(RETURN) => Act::Return,
        _ => Act::Nothing,
    }
}

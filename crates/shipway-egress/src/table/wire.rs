//! The messages of `nf_tables`, to and from.

use std::net::IpAddr;

use rustix::io::Errno;

use crate::netlink::{APPEND, Attributes, CREATE, DUMP, Found, Message, NetlinkError, Socket};
use crate::policy::Block;

use super::rule::{goto_data, octets};
use super::{Chain, Rule};

/// `NFNL_SUBSYS_NFTABLES`, as the upper half of a message's type.
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const GET_ELEMENT: u16 = SUBSYSTEM | 13;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;
const NEW_OBJECT: u16 = SUBSYSTEM | 18;
const GET_OBJECT: u16 = SUBSYSTEM | 19;
const DELETE_OBJECT: u16 = SUBSYSTEM | 20;

/// `NFT_OBJECT_COUNTER`.
const COUNTER: u32 = 1;

/// Sets of fixed content, with intervals, and from a name to a verdict.
const CONSTANT: u32 = 2;
const INTERVAL: u32 = 4;
const MAP: u32 = 8;
/// The data type of a map that leads to chains.
const TO_VERDICT: u32 = 0xffff_ff00;
/// What `nft` calls its types, so that it can print our sets.
const IPV4_ADDRESS: u32 = 7;
const IPV6_ADDRESS: u32 = 8;
const LINK_NAME: u32 = 41;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Family(pub(crate) u8);

impl Family {
    /// Every family: for asking only.
    pub(crate) const ALL: Self = Self(0);
    /// IPv4 and IPv6.
    pub(crate) const INET: Self = Self(1);
    /// IPv4.
    pub(crate) const IPV4: Self = Self(2);
    /// IPv6.
    pub(crate) const IPV6: Self = Self(10);

    /// As `nft` calls it.
    pub(crate) fn word(self) -> &'static str {
        match self.0 {
            1 => "inet",
            2 => "ip",
            10 => "ip6",
            _ => "other",
        }
    }
}

/// A chain of somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainFound {
    pub(crate) family: Family,
    pub(crate) table: String,
    pub(crate) name: String,
    /// `filter`, `nat`, `route`, or empty for one that is only jumped to.
    pub(crate) kind: String,
    /// `NF_INET_*` of a base chain.
    pub(crate) hook: Option<u32>,
    /// Whether a packet that reaches its end is dropped.
    pub(crate) drops: bool,
}

/// A rule of somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleFound {
    pub(crate) family: Family,
    pub(crate) table: String,
    pub(crate) chain: String,
    pub(crate) handle: u64,
    pub(crate) comment: String,
    /// Names and data of its expressions.
    pub(crate) expressions: Vec<(String, Vec<u8>)>,
}

fn message(kind: u16, flags: u16, family: Family, attributes: &Attributes) -> Message {
    Message::new(kind, flags, &[family.0, 0, 0, 0], attributes)
}

fn of_table(table: &str) -> Attributes {
    Attributes::new().text(1, table)
}

/// A comment as `nft` keeps it: type, length, text with its NUL.
fn comment_data(text: &str) -> Vec<u8> {
    let mut data = vec![0, u8::try_from(text.len() + 1).expect("our comments are short")];
    data.extend_from_slice(text.as_bytes());
    data.push(0);
    data
}

fn comment_of(mut data: &[u8]) -> String {
    while let [kind, length, rest @ ..] = data {
        let Some(value) = rest.get(..usize::from(*length)) else { break };
        if *kind == 0 {
            return crate::netlink::text_of(value);
        }
        data = &rest[value.len()..];
    }
    String::new()
}

pub(crate) fn add_table(table: &str, tag: &str) -> Message {
    message(NEW_TABLE, CREATE, Family::INET, &of_table(table).raw(6, &comment_data(tag)))
}

pub(crate) fn delete_table(table: &str) -> Message {
    message(DELETE_TABLE, 0, Family::INET, &of_table(table))
}

pub(crate) fn add_chain(table: &str, chain: &Chain) -> Message {
    let mut attributes = of_table(table).text(3, &chain.name);
    if let Some(hook) = chain.hook {
        let priority = hook.priority.cast_unsigned();
        let place = Attributes::new().be32(1, hook.number).be32(2, priority);
        attributes = attributes.nest(4, &place).be32(5, 1).text(7, hook.kind);
    }
    message(NEW_CHAIN, CREATE, Family::INET, &attributes)
}

pub(crate) fn delete_chain(table: &str, chain: &str) -> Message {
    message(DELETE_CHAIN, 0, Family::INET, &of_table(table).text(3, chain))
}

pub(crate) fn flush_chain(table: &str, chain: &str) -> Message {
    message(DELETE_RULE, 0, Family::INET, &of_table(table).text(2, chain))
}

fn rule_attributes(table: &str, chain: &str, rule: &Rule) -> Attributes {
    of_table(table).text(2, chain).nest(4, rule.expressions()).raw(7, &comment_data(rule.tag()))
}

pub(crate) fn add_rule(family: Family, table: &str, chain: &str, rule: &Rule) -> Message {
    message(NEW_RULE, CREATE | APPEND, family, &rule_attributes(table, chain, rule))
}

/// Puts a rule before all others of a chain.
pub(crate) fn accept_before(family: Family, table: &str, chain: &str, rule: &Rule) -> Message {
    message(NEW_RULE, CREATE, family, &rule_attributes(table, chain, rule))
}

pub(crate) fn delete_rule(family: Family, table: &str, chain: &str, handle: u64) -> Message {
    message(DELETE_RULE, 0, family, &of_table(table).text(2, chain).be64(3, handle))
}

pub(crate) fn add_counter(table: &str, name: &str) -> Message {
    let zero = Attributes::new().be64(1, 0).be64(2, 0);
    let attributes = of_table(table).text(2, name).be32(3, COUNTER).nest(4, &zero);
    message(NEW_OBJECT, CREATE, Family::INET, &attributes)
}

pub(crate) fn delete_counter(table: &str, name: &str) -> Message {
    message(DELETE_OBJECT, 0, Family::INET, &of_table(table).text(2, name).be32(3, COUNTER))
}

/// Packets and bytes that a named counter saw.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

pub(crate) fn counter(socket: &mut Socket, table: &str, name: &str) -> Result<Counted, NetlinkError> {
    let attributes = of_table(table).text(2, name).be32(3, COUNTER);
    let bodies = match socket.get(&message(GET_OBJECT, 0, Family::INET, &attributes)) {
        Err(error) if error.errno == Errno::NOENT => return Ok(Counted::default()),
        other => other?,
    };
    let data = bodies.first().and_then(|body| Found(body.get(4..)?).nested(4));
    let number = |kind| data.and_then(|data| data.be64(kind)).unwrap_or(0);
    Ok(Counted { bytes: number(1), packets: number(2) })
}

pub(crate) fn add_map(table: &str, name: &str, id: u32) -> Message {
    let attributes = of_table(table).text(2, name).be32(3, MAP).be32(4, LINK_NAME).be32(5, 16);
    message(NEW_SET, CREATE, Family::INET, &attributes.be32(6, TO_VERDICT).be32(7, 16).be32(10, id))
}

fn link_key(link: &str) -> Attributes {
    let mut name = [0; 16];
    let length = link.len().min(15);
    name[..length].copy_from_slice(&link.as_bytes()[..length]);
    Attributes::new().nest(1, &Attributes::new().raw(1, &name))
}

fn elements(kind: u16, table: &str, set: &str, all: &[Attributes]) -> Message {
    let list = all.iter().fold(Attributes::new(), |list, element| list.nest(1, element));
    message(
        kind,
        if kind == NEW_ELEMENT { CREATE } else { 0 },
        Family::INET,
        &of_table(table).text(2, set).nest(3, &list),
    )
}

/// Leads a link's packets to a chain.
pub(crate) fn add_link(table: &str, map: &str, link: &str, chain: &str) -> Message {
    elements(NEW_ELEMENT, table, map, &[link_key(link).nest(2, &goto_data(chain))])
}

pub(crate) fn delete_link(table: &str, map: &str, link: &str) -> Message {
    elements(DELETE_ELEMENT, table, map, &[link_key(link)])
}

/// The links a map knows.
pub(crate) fn links_in(socket: &mut Socket, table: &str, map: &str) -> Result<Vec<String>, NetlinkError> {
    let bodies = socket.get(&message(GET_ELEMENT, DUMP, Family::INET, &of_table(table).text(2, map)))?;
    let lists = bodies.iter().filter_map(|body| Found(body.get(4..)?).nested(3)).flatten();
    Ok(lists.filter_map(|(_, element)| Found(element).nested(1)?.text(1)).collect())
}

fn add_set(table: &str, name: &str, v4: bool, flags: u32, id: u32) -> Message {
    let (kind, length) = if v4 { (IPV4_ADDRESS, 4) } else { (IPV6_ADDRESS, 16) };
    let attributes = of_table(table).text(2, name).be32(3, flags).be32(4, kind).be32(5, length);
    message(NEW_SET, CREATE, Family::INET, &attributes.be32(10, id))
}

fn key(value: &[u8], ends: bool) -> Attributes {
    let key = Attributes::new().nest(1, &Attributes::new().raw(1, value));
    if ends { key.be32(3, 1) } else { key }
}

/// A set of single addresses.
pub(crate) fn add_addresses(table: &str, name: &str, v4: bool, id: u32, addresses: &[IpAddr]) -> [Message; 2] {
    let all: Vec<Attributes> = addresses.iter().map(|address| key(&octets(*address), false)).collect();
    [add_set(table, name, v4, CONSTANT, id), elements(NEW_ELEMENT, table, name, &all)]
}

/// A set of blocks, given in order; those that touch become one.
pub(crate) fn add_blocks(table: &str, name: &str, id: u32, blocks: &[Block]) -> [Message; 2] {
    let mut all: Vec<Attributes> = Vec::new();
    let mut open_end: Option<Vec<u8>> = None;
    for block in blocks {
        let (first, last) = block.edges();
        let begins = octets(first);
        if let Some(end) = open_end.take_if(|end| *end != begins) {
            all.push(key(&end, true));
        }
        if open_end.is_none() {
            all.push(key(&begins, false));
        }
        // The end is the first address behind; behind the last of all there is none.
        open_end = after(last);
    }
    all.extend(open_end.map(|end| key(&end, true)));
    let v4 = blocks.first().is_some_and(|block| block.first.is_ipv4());
    [add_set(table, name, v4, CONSTANT | INTERVAL, id), elements(NEW_ELEMENT, table, name, &all)]
}

fn after(address: IpAddr) -> Option<Vec<u8>> {
    match address {
        IpAddr::V4(address) => Some(address.to_bits().checked_add(1)?.to_be_bytes().into()),
        IpAddr::V6(address) => Some(address.to_bits().checked_add(1)?.to_be_bytes().into()),
    }
}

/// What a table of ours says of itself; `None` when it is not there.
pub(crate) fn table_tag(socket: &mut Socket, table: &str) -> Result<Option<String>, NetlinkError> {
    match socket.get(&message(GET_TABLE, 0, Family::INET, &of_table(table))) {
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        other => {
            let bodies = other?;
            let data = bodies.first().and_then(|body| Found(body.get(4..)?).get(6));
            Ok(Some(data.map(comment_of).unwrap_or_default()))
        }
    }
}

/// Every chain of every table in this namespace.
pub(crate) fn chains_of_everybody(socket: &mut Socket) -> Result<Vec<ChainFound>, NetlinkError> {
    let bodies = socket.get(&message(GET_CHAIN, DUMP, Family::ALL, &Attributes::new()))?;
    Ok(bodies.iter().filter_map(|body| chain_of(body)).collect())
}

fn chain_of(body: &[u8]) -> Option<ChainFound> {
    let (family, found) = (Family(*body.first()?), Found(body.get(4..)?));
    Some(ChainFound {
        family,
        table: found.text(1)?,
        name: found.text(3)?,
        kind: found.text(7).unwrap_or_default(),
        hook: found.nested(4).and_then(|hook| hook.be32(1)),
        drops: found.be32(5) == Some(0),
    })
}

/// The names of a table's chains.
pub(crate) fn chain_names(socket: &mut Socket, table: &str) -> Result<Vec<String>, NetlinkError> {
    let all = chains_of_everybody(socket)?;
    let ours = all.into_iter().filter(|chain| chain.family == Family::INET && chain.table == table);
    Ok(ours.map(|chain| chain.name).collect())
}

/// The rules of a table in order, or of all tables.
pub(crate) fn rules_of(
    socket: &mut Socket,
    family: Family,
    table: Option<&str>,
) -> Result<Vec<RuleFound>, NetlinkError> {
    let attributes = table.map(of_table).unwrap_or_default();
    let bodies = socket.get(&message(GET_RULE, DUMP, family, &attributes))?;
    Ok(bodies.iter().filter_map(|body| rule_of(body)).collect())
}

fn rule_of(body: &[u8]) -> Option<RuleFound> {
    let (family, found) = (Family(*body.first()?), Found(body.get(4..)?));
    let list = found.nested(4).into_iter().flatten();
    let expressions = list.filter_map(|(_, element)| {
        let element = Found(element);
        Some((element.text(1)?, element.get(2).unwrap_or_default().to_vec()))
    });
    Some(RuleFound {
        family,
        table: found.text(1)?,
        chain: found.text(2)?,
        handle: found.be64(3)?,
        comment: found.get(7).map(comment_of).unwrap_or_default(),
        expressions: expressions.collect(),
    })
}

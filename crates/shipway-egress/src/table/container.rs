//! The rules of one container.

use std::net::IpAddr;
use std::num::NonZeroU64;

use crate::addresses::{Plan, Slot};
use crate::policy::{Allow, Block, Policy};
use crate::special::{ANY_V4, ANY_V6};

use super::counters::name;
use super::rule::{ESTABLISHED, INVALID, RELATED, Rule, Side, TCP, UDP};
use super::{CHAINS, Chain};

/// Questions a second to the DNS forwarder, and how many may come at once: a build asks
/// a few hundred in its whole life.
const NAMES_A_SECOND: u64 = 200;
const NAMES_AT_ONCE: u32 = 200;
/// TCP connections to the DNS forwarder at a time.
const NAME_CONNECTIONS: u32 = 8;
/// What may pass at once above the rate: a tenth of a second of it, and never less than
/// a few of the kernel's largest packets (64 KiB before they are cut up), or nothing
/// would pass at all.
const BURST_BYTES_MIN: u64 = 256 << 10;
/// 100 Gbit/s. The kernel counts rate and burst in nanoseconds' worth, in 64 bits: from
/// 18 GB/s on it refuses, and older ones would count wrong.
const RATE_MAX: u64 = 12_500_000_000;

/// The names of a container's chains.
pub(crate) fn chain_names(slot: Slot) -> [String; 5] {
    CHAINS.map(|word| name(slot, word))
}

/// Whose chain this is.
pub(crate) fn slot_of(chain: &str) -> Option<Slot> {
    let (word, slot) = chain.split_once('-')?;
    CHAINS.contains(&word).then(|| slot.parse().ok()).flatten()
}

/// All chains of a container, those that are jumped to first.
pub(crate) fn chains(plan: &Plan, slot: Slot, policy: &Policy) -> Vec<Chain> {
    let chain = |word: &str, rules| Chain { name: name(slot, word), hook: None, rules };
    vec![
        chain("pass", pass(slot, policy)),
        chain("pre", pre(plan, slot, policy)),
        chain("local", local(plan, slot, policy)),
        chain("out", out(plan, slot, policy)),
        chain("into", into(slot, policy)),
    ]
}

/// First of all: nobody speaks in another's name. Then what is meant for the host, told
/// before anybody's `DNAT` has turned it into something else.
fn pre(plan: &Plan, slot: Slot, policy: &Policy) -> Vec<Rule> {
    let own = plan.container(slot);
    let unset: Block = Block { first: IpAddr::from([0u16; 8]), bits: 128 };
    let link_local = Block { first: IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0]), bits: 10 };
    let mut rules = vec![
        // A kernel that looks for its neighbours: no offence, and no answer.
        Rule::new().within(Side::Source, &unset).icmp(false).drop(),
        Rule::new().within(Side::Source, &link_local).icmp(false).drop(),
        Rule::new().differs(Side::Source, own.v4.into()).count(&name(slot, "spoofed")).drop(),
        Rule::new().differs(Side::Source, own.v6.into()).count(&name(slot, "spoofed")).drop(),
        Rule::new().state(ESTABLISHED).accept(),
        Rule::new().hosts_own(false).accept(),
    ];
    rules.extend(routers(plan).map(|router| Rule::new().equals(Side::Destination, router).accept()));
    rules.extend(exact(policy).map(|rule| rule.accept()));
    rules.push(refuse(Rule::new(), slot, "host"));
    rules
}

/// What reaches the host itself: names, and what the allow list names exactly.
fn local(plan: &Plan, slot: Slot, policy: &Policy) -> Vec<Rule> {
    let mut rules = Vec::new();
    let names = name(slot, "names");
    for router in routers(plan) {
        let ask = || Rule::new().equals(Side::Destination, router);
        // Before the state: the second question of one port counts as established.
        rules.push(ask().at_port(UDP, 53).over(false, NAMES_A_SECOND, NAMES_AT_ONCE).count(&names).drop());
        rules.push(ask().at_port(UDP, 53).accept());
    }
    rules.extend(answers());
    for router in routers(plan) {
        let ask = || Rule::new().equals(Side::Destination, router).at_port(TCP, 53);
        rules.push(ask().connections_over(NAME_CONNECTIONS).count(&names).goto("refuse"));
        rules.push(ask().accept());
    }
    rules.extend(exact(policy).map(|rule| rule.goto(&name(slot, "pass"))));
    rules.push(refuse(Rule::new(), slot, "host"));
    rules
}

/// What leaves through the host.
fn out(plan: &Plan, slot: Slot, policy: &Policy) -> Vec<Rule> {
    let mut rules = rate(slot, policy);
    rules.push(Rule::new().count(&name(slot, "sent")));
    rules.push(Rule::new().state(INVALID).drop());
    rules.extend(answers());
    for pool in [&plan.pool, &plan.local] {
        rules.push(refuse(Rule::new().within(Side::Destination, pool), slot, "neighbour"));
    }
    rules.push(refuse(Rule::new().out_by_links(&plan.link_prefix()), slot, "neighbour"));
    rules.extend(exact(policy).map(|rule| rule.goto(&name(slot, "pass"))));
    for (set, like) in [("metadata4", ANY_V4), ("metadata6", ANY_V6)] {
        rules.push(refuse(Rule::new().in_set(Side::Destination, set, like), slot, "metadata"));
    }
    let blocks = policy.allow.iter().filter(|allow| !allow.is_exact());
    rules.extend(blocks.map(|allow| Rule::new().where_allowed(allow, TCP).goto(&name(slot, "pass"))));
    for (set, like) in [("special4", ANY_V4), ("special6", ANY_V6)] {
        rules.push(refuse(Rule::new().in_set(Side::Destination, set, like), slot, "special"));
    }
    rules.push(Rule::new().goto(&name(slot, "pass")));
    rules
}

/// A new connection that may be.
fn pass(slot: Slot, policy: &Policy) -> Vec<Rule> {
    vec![refuse(Rule::new().connections_over(policy.connections), slot, "connections"), Rule::new().accept()]
}

/// What comes in by forwarding: answers, nothing else.
fn into(slot: Slot, policy: &Policy) -> Vec<Rule> {
    let mut rules = rate(slot, policy);
    rules.push(Rule::new().count(&name(slot, "received")));
    rules.extend(answers());
    rules.push(Rule::new().drop());
    rules
}

/// Policing, not shaping: it belongs to the table and comes and goes with it in one
/// step, in both directions, with no queue of the host's filling up.
fn rate(slot: Slot, policy: &Policy) -> Vec<Rule> {
    let limit = |rate: NonZeroU64| {
        let rate = rate.get().min(RATE_MAX);
        let burst = u32::try_from((rate / 10).max(BURST_BYTES_MIN)).unwrap_or(u32::MAX);
        Rule::new().over(true, rate, burst).count(&name(slot, "rate")).drop()
    };
    policy.bytes_per_second.map(limit).into_iter().collect()
}

/// What belongs to a connection that was let through: its packets, and the ICMP
/// messages about it; never what a protocol helper would like to open.
fn answers() -> [Rule; 3] {
    [
        Rule::new().state(ESTABLISHED).accept(),
        Rule::new().icmp(true).state(RELATED).accept(),
        Rule::new().icmp(false).state(RELATED).accept(),
    ]
}

fn routers(plan: &Plan) -> impl Iterator<Item = IpAddr> {
    let router = plan.router();
    [IpAddr::from(router.v4), IpAddr::from(router.v6)].into_iter()
}

/// The entries that name one address, each as the beginning of its rules.
fn exact(policy: &Policy) -> impl Iterator<Item = Rule> {
    let entries = policy.allow.iter().filter(|allow| allow.is_exact());
    entries.flat_map(|allow| {
        let transports: &[u8] = if matches!(allow, Allow::Pair(_)) { &[TCP, UDP] } else { &[TCP] };
        transports.iter().map(|transport| Rule::new().where_allowed(allow, *transport))
    })
}

fn refuse(rule: Rule, slot: Slot, why: &str) -> Rule {
    rule.count(&name(slot, why)).goto("refuse")
}

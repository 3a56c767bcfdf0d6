//! The part of the table that is for everybody: sets, maps, hooks.

use sha2::{Digest as _, Sha256};

use crate::addresses::Plan;
use crate::netlink::Message;
use crate::special::{ANY_V4, ANY_V6, METADATA, SPECIAL_V4, SPECIAL_V6};

use super::rule::{NEW, Rule, Side};
use super::{Chain, Family, Hook, MAPS, wire};

/// Before `dstnat` (-100), after connection tracking (-200).
pub(super) const PREROUTING: Hook = Hook { kind: "filter", number: 0, priority: -150 };
/// Before everybody's `filter` (0), so that what we refuse is refused here and counted.
const INPUT: Hook = Hook { kind: "filter", number: 1, priority: -10 };
pub(super) const FORWARD: Hook = Hook { kind: "filter", number: 2, priority: -10 };
/// Where everybody's `srcnat` is.
pub(super) const POSTROUTING: Hook = Hook { kind: "nat", number: 4, priority: 100 };

/// The chains for everybody, those that are jumped to first.
pub(crate) fn chains(plan: &Plan) -> Vec<Chain> {
    let prefix = plan.link_prefix();
    let router = plan.router();
    let nobodys = Rule::new().in_by_links(&prefix).drop();
    let base = |name: &str, hook, rules| Chain { name: name.to_owned(), hook, rules };
    vec![
        base("refuse", None, vec![Rule::new().tcp().reset(), Rule::new().prohibit()]),
        base("guard", None, Vec::new()),
        base("prerouting", Some(PREROUTING), vec![Rule::new().by_link(true, "pre-of"), nobodys.clone()]),
        base(
            "input",
            Some(INPUT),
            vec![
                Rule::new().by_link(true, "local-of"),
                nobodys.clone(),
                // Names are told to containers, not to the network the host is in.
                Rule::new().equals(Side::Destination, router.v4.into()).drop(),
                Rule::new().equals(Side::Destination, router.v6.into()).drop(),
            ],
        ),
        base(
            "forward",
            Some(FORWARD),
            vec![
                Rule::new().by_link(true, "out-of"),
                nobodys,
                Rule::new().by_link(false, "into-of"),
                Rule::new().out_by_links(&prefix).drop(),
                Rule::new().jump("guard"),
            ],
        ),
        base("postrouting", Some(POSTROUTING), [&plan.pool, &plan.local].map(|pool| masquerade(pool, &prefix)).into()),
    ]
}

fn masquerade(pool: &crate::policy::Block, prefix: &str) -> Rule {
    Rule::new().within(Side::Source, pool).not_out_by_links(prefix).masquerade()
}

/// Rules for links on which forwarding is on because of us: what comes in there and is
/// for nobody of ours goes no further, as it went no further before. Answers, and what
/// a rule of the host's sent elsewhere (a published port), are somebody's wish.
pub(crate) fn guard(links_v4: &[String], links_v6: &[String]) -> Vec<Rule> {
    let like = |links: &[String], address: std::net::IpAddr| {
        let rule = |name: &String| Rule::new().in_by_link(name).family_of(address).state(NEW).not_redirected().drop();
        links.iter().map(rule).collect::<Vec<_>>()
    };
    let mut rules = like(links_v4, ANY_V4);
    rules.extend(like(links_v6, ANY_V6));
    rules
}

/// Everything for everybody, after the table itself.
pub(crate) fn messages(plan: &Plan) -> Vec<Message> {
    let table = plan.table();
    let mut messages = Vec::new();
    let mut id = 0..;
    let mut next = || id.next().expect("counting up has no end");
    for (name, v4) in [("metadata4", true), ("metadata6", false)] {
        let addresses: Vec<_> = METADATA.iter().filter(|address| address.is_ipv4() == v4).copied().collect();
        messages.extend(wire::add_addresses(&table, name, v4, next(), &addresses));
    }
    messages.extend(wire::add_blocks(&table, "special4", next(), SPECIAL_V4));
    messages.extend(wire::add_blocks(&table, "special6", next(), SPECIAL_V6));
    messages.extend(MAPS.iter().map(|(map, _)| wire::add_map(&table, map, next())));
    let chains = chains(plan);
    messages.extend(chains.iter().map(|chain| wire::add_chain(&table, chain)));
    for chain in &chains {
        messages.extend(chain.rules.iter().map(|rule| wire::add_rule(Family::INET, &table, &chain.name, rule)));
    }
    messages
}

/// What the table is told to say of itself: changes when any of the above does.
pub(crate) fn tag(plan: &Plan) -> String {
    let mut digest = Sha256::new();
    for message in messages(plan) {
        digest.update(&message.body);
    }
    digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

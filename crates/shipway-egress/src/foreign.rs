//! Other people's tables: read, and changed only when the operator says so.
//!
//! A packet passes when *every* base chain of a hook lets it pass, whoever made it, so
//! Docker, ufw or firewalld on the same host can drop what our table accepted. We walk
//! their rules with our packets in mind and name the chain that would. With
//! `network.accept_rule` a rule for each direction goes to the head of such a chain,
//! marked with our instance id, written so that `iptables` can read it too; by that
//! mark it is found and taken away again.

mod walk;

use crate::addresses::Plan;
use crate::finding::{About, Finding, Severity};
use crate::netlink::{Message, NetlinkError, Socket};
use crate::table::{ChainFound, Family, Rule, RuleFound, accept_before, chains_of_everybody, delete_rule, rules_of};

use walk::{Fate, Packet};

/// `NF_INET_LOCAL_IN` and `NF_INET_FORWARD`.
const INPUT: u32 = 1;
const FORWARD: u32 = 2;

/// A base chain that would drop packets of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocker {
    pub(crate) base: ChainFound,
    /// The chain that says so.
    pub(crate) by: String,
    /// A chain made for rules of others, which the base chain asks first.
    pub(crate) invited: Option<String>,
}

/// Everything the filter has, of all owners.
struct World {
    chains: Vec<ChainFound>,
    rules: Vec<RuleFound>,
}

impl World {
    fn read(socket: &mut Socket) -> Result<Self, NetlinkError> {
        Ok(Self { chains: chains_of_everybody(socket)?, rules: rules_of(socket, Family::ALL, None)? })
    }
}

/// Finds the chains that would drop what our containers send, get back or ask of us.
pub(crate) fn blockers(socket: &mut Socket, plan: &Plan, uplink: &str) -> Result<Vec<Blocker>, NetlinkError> {
    let world = World::read(socket)?;
    let ours = plan.link(0);
    let foreign = world.chains.iter().filter(|chain| {
        let watched = [Family::INET, Family::IPV4, Family::IPV6].contains(&chain.family);
        // The table of another engine root drops nothing that is not its own.
        watched && chain.kind == "filter" && !chain.table.starts_with("shipway-")
    });
    Ok(foreign
        .filter_map(|base| {
            let packets = packets(base.hook?, &ours, uplink);
            let by = packets.iter().find_map(|packet| match walk::fate(&world, base, packet) {
                Fate::Dropped { by } => Some(by),
                Fate::Passes => None,
            })?;
            Some(Blocker { base: base.clone(), by, invited: invited(&world, base) })
        })
        .collect())
}

/// The packets that matter at a hook.
fn packets(hook: u32, ours: &str, uplink: &str) -> Vec<Packet> {
    let packet = |from: &str, to: &str, new| Packet { from: from.to_owned(), to: to.to_owned(), new };
    match hook {
        INPUT => vec![packet(ours, "", true)],
        FORWARD => vec![packet(ours, uplink, true), packet(uplink, ours, false)],
        _ => Vec::new(),
    }
}

/// Docker asks `DOCKER-USER` first, so that others have a place for their rules.
fn invited(world: &World, base: &ChainFound) -> Option<String> {
    let there =
        |chain: &&ChainFound| chain.family == base.family && chain.table == base.table && chain.name == "DOCKER-USER";
    (base.hook == Some(FORWARD)).then(|| world.chains.iter().find(there).map(|chain| chain.name.clone())).flatten()
}

impl Blocker {
    fn place(&self) -> &str {
        self.invited.as_deref().unwrap_or(&self.base.name)
    }

    /// For people.
    pub(crate) fn finding(&self, plan: &Plan) -> Finding {
        let (family, table, chain) = (self.base.family.word(), &self.base.table, &self.base.name);
        let what = format!(
            "the chain {chain} of the table {family} {table} drops what containers send or get back (decided in {})",
            self.by
        );
        let commands = self.commands(plan).join("\n");
        Finding {
            about: About::Chain { family, table: table.clone(), chain: chain.clone(), by: self.by.clone() },
            severity: Severity::Broken,
            what,
            remedy: format!("{commands}\nor set network.accept_rule: true, and Shipway keeps such rules there itself"),
        }
    }

    fn commands(&self, plan: &Plan) -> Vec<String> {
        let (prefix, place) = (plan.link_prefix(), self.place());
        let program = match self.base.family {
            Family::IPV4 if self.is_of_iptables() => "iptables",
            Family::IPV6 if self.is_of_iptables() => "ip6tables",
            family => {
                let nft = format!("nft insert rule {} {} {place}", family.word(), self.base.table);
                return self.sides().map(|side| format!("{nft} {side}ifname \"{prefix}*\" accept")).collect();
            }
        };
        self.sides().map(|side| format!("{program} -I {place} -{side} {prefix}+ -j ACCEPT")).collect()
    }

    fn is_of_iptables(&self) -> bool {
        self.base.table == "filter" && matches!(&*self.base.name, "INPUT" | "FORWARD")
    }

    fn sides(&self) -> impl Iterator<Item = char> + use<> {
        if self.base.hook == Some(INPUT) { "i" } else { "io" }.chars()
    }
}

/// Puts our rules at the head of the chains that need them.
pub(crate) fn accept(socket: &mut Socket, plan: &Plan, blockers: &[Blocker]) -> Result<(), NetlinkError> {
    // What is there already did not help, or is for one direction: begin anew.
    let there = tagged(socket, plan)?;
    let mut batch: Vec<Message> = Vec::new();
    for blocker in blockers {
        let place = blocker.place();
        let (family, table) = (blocker.base.family, &*blocker.base.table);
        let old = there.iter().filter(|rule| (rule.family, &*rule.table, &*rule.chain) == (family, table, place));
        batch.extend(old.map(|rule| delete_rule(family, table, place, rule.handle)));
        for side in blocker.sides() {
            let rule = Rule::new();
            let prefix = plan.link_prefix();
            let rule = if side == 'i' { rule.in_by_links(&prefix) } else { rule.out_by_links(&prefix) };
            let rule = rule.count_here().accept().comment(&plan.alias());
            batch.push(accept_before(family, table, place, &rule));
        }
    }
    socket.batch(&batch)
}

/// Takes our rules out of everybody's chains.
pub(crate) fn withdraw(socket: &mut Socket, plan: &Plan) -> Result<(), NetlinkError> {
    let batch: Vec<Message> = tagged(socket, plan)?
        .iter()
        .map(|rule| delete_rule(rule.family, &rule.table, &rule.chain, rule.handle))
        .collect();
    socket.batch(&batch)
}

fn tagged(socket: &mut Socket, plan: &Plan) -> Result<Vec<RuleFound>, NetlinkError> {
    let mut rules = rules_of(socket, Family::ALL, None)?;
    rules.retain(|rule| rule.comment == plan.alias());
    Ok(rules)
}

/// Whether tables of the older kind exist, which only `iptables-legacy` can read.
pub(crate) fn legacy() -> Option<Finding> {
    let has = |name: &str| {
        let path = format!("/proc/thread-self/net/{name}");
        std::fs::read_to_string(path).is_ok_and(|names| names.lines().any(|table| table == "filter"))
    };
    (has("ip_tables_names") || has("ip6_tables_names")).then(|| Finding {
        about: About::LegacyTables,
        severity: Severity::Doubtful,
        what: "this host has iptables-legacy tables, whose rules cannot be read this way".to_owned(),
        remedy: "look with `iptables-legacy -S FORWARD` and `iptables-legacy -S INPUT`; where they drop, accept Shipway's links (-i and -o sw…+) first".to_owned(),
    })
}

//! The engine root's one `nf_tables` table: what is in it, and how it gets there.
//!
//! ```text
//! chain and hook  packets of containers                 what becomes of them
//! prerouting      from another's address                drop
//!                 to an address of the host             refuse, but for input's
//! input           names (so many a second), allowed     accept; anything else: refuse
//! forward         out: by destination                   refuse · connection limit · accept
//!                 in: answers                           accept; anything else: drop
//! postrouting     out                                   masquerade
//! ```
//!
//! Each hook looks the link's name up in a map that leads to the container's own
//! chains; a link of ours that is in no map is dropped, so that there is no moment at
//! which a container reaches more than it should. Every rule carries a tag made from
//! its content, so that looking suffices to know whether the table is as it should be.

mod base;
mod container;
mod counters;
mod rule;
mod wire;

use std::collections::BTreeMap;
use std::io;

use rustix::net::netlink;

pub(crate) use base::guard;
pub use counters::Counters;
pub(crate) use rule::{Rule, octets};
pub(crate) use wire::{ChainFound, Family, RuleFound, accept_before, chains_of_everybody, delete_rule, rules_of};

use crate::addresses::{Plan, Slot};
use crate::netlink::{Message, NetlinkError, Socket};
use crate::policy::Policy;

/// The table, as a place to write to.
#[derive(Debug)]
pub(crate) struct Table {
    plan: Plan,
    pub(crate) socket: Socket,
}

/// A chain as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// Its name.
    pub(crate) name: String,
    /// Where it hooks in, for a base chain.
    pub(crate) hook: Option<Hook>,
    /// Its rules in order.
    pub(crate) rules: Vec<Rule>,
}

/// Where a base chain hooks in; the policy is always to accept, because the table
/// speaks of our links only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// `NF_INET_*`.
    pub(crate) number: u32,
    /// Lower is earlier.
    pub(crate) priority: i32,
}

/// Which chains a container's slot has, by the words before the slot's number.
pub(crate) const CHAINS: [&str; 5] = ["pre", "local", "out", "pass", "into"];
/// Which of them a map leads to, and from what: map, chain.
pub(crate) const MAPS: [(&str, &str); 4] =
    [("pre-of", "pre"), ("local-of", "local"), ("out-of", "out"), ("into-of", "into")];

/// A part of the kernel that the rules need, for trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Tables at all.
    Table,
    Masquerade,
    Connections,
    Limit,
    Local,
    Reject,
    State,
    /// One that no kernel has.
    #[cfg(test)]
    UnheardOf,
}

/// What was in the table at one moment.
#[derive(Debug)]
pub(crate) struct Sight {
    /// The tags of all rules by chain.
    tags: BTreeMap<String, Vec<String>>,
    /// How many of the maps know a link.
    mapped: BTreeMap<String, usize>,
}

impl Table {
    /// Opens the way to it; makes nothing.
    pub(crate) fn open(plan: Plan) -> io::Result<Self> {
        Ok(Self { plan, socket: Socket::open(Some(netlink::NETFILTER))? })
    }

    /// Makes the table and its chains for everybody, where they are not as they should
    /// be; then containers have to be put in again, which `true` says.
    pub(crate) fn ensure(&mut self) -> Result<bool, NetlinkError> {
        let tag = base::tag(&self.plan);
        let there = wire::table_tag(&mut self.socket, &self.plan.table())?;
        if there.as_deref() == Some(&*tag) && self.base_is_whole()? {
            return Ok(false);
        }
        let name = self.plan.table();
        let mut batch = vec![wire::add_table(&name, &tag)];
        if there.is_some() {
            batch.insert(0, wire::delete_table(&name));
        }
        batch.extend(base::messages(&self.plan));
        self.socket.batch(&batch)?;
        Ok(true)
    }

    /// Makes a table with one rule that needs the part.
    pub(crate) fn try_part(&mut self, part: Part) -> Result<(), NetlinkError> {
        let name = self.plan.table();
        let rule = match part {
            Part::Table => Rule::new().accept(),
            Part::Masquerade => Rule::new().masquerade(),
            Part::Connections => Rule::new().connections_over(1).accept(),
            Part::Limit => Rule::new().over(true, 1 << 20, 1 << 20).accept(),
            Part::Local => Rule::new().hosts_own(true).accept(),
            Part::Reject => Rule::new().prohibit(),
            Part::State => Rule::new().state(rule::NEW).accept(),
            #[cfg(test)]
            Part::UnheardOf => Rule::new().unheard_of(),
        };
        let hook = match part {
            Part::Masquerade => base::POSTROUTING,
            Part::Local => base::PREROUTING,
            _ => base::FORWARD,
        };
        let chain = Chain { name: "try".to_owned(), hook: Some(hook), rules: Vec::new() };
        let add = wire::add_table(&name, "");
        let rule = wire::add_rule(Family::INET, &name, "try", &rule);
        self.socket.batch(&[add, wire::add_chain(&name, &chain), rule, wire::delete_table(&name)])
    }

    /// Whether the rules for everybody are all there: somebody may have flushed them.
    fn base_is_whole(&mut self) -> Result<bool, NetlinkError> {
        let found = self.tags()?;
        Ok(base::chains(&self.plan)
            .iter()
            .filter(|chain| chain.name != "guard")
            .all(|chain| is_as_wanted(chain, &found)))
    }

    /// What is in the table now.
    pub(crate) fn look(&mut self) -> Result<Sight, NetlinkError> {
        let mut sight = Sight { tags: self.tags()?, mapped: BTreeMap::new() };
        for (map, _) in MAPS {
            for link in wire::links_in(&mut self.socket, &self.plan.table(), map)? {
                *sight.mapped.entry(link).or_default() += 1;
            }
        }
        Ok(sight)
    }

    fn tags(&mut self) -> Result<BTreeMap<String, Vec<String>>, NetlinkError> {
        let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for chain in wire::chain_names(&mut self.socket, &self.plan.table())? {
            tags.insert(chain, Vec::new());
        }
        for rule in rules_of(&mut self.socket, Family::INET, Some(&self.plan.table()))? {
            tags.entry(rule.chain).or_default().push(rule.comment);
        }
        Ok(tags)
    }

    /// Writes a container's rules anew, in one step; its counters begin at zero.
    pub(crate) fn add(&mut self, slot: Slot, policy: &Policy) -> Result<(), NetlinkError> {
        let chains = container::chains(&self.plan, slot, policy);
        let table = self.plan.table();
        let mut batch = Vec::new();
        batch.extend(chains.iter().map(|chain| wire::add_chain(&table, chain)));
        batch.extend(chains.iter().map(|chain| wire::flush_chain(&table, &chain.name)));
        for counter in counters::names(slot) {
            let add = wire::add_counter(&table, &counter);
            batch.extend([add.clone(), wire::delete_counter(&table, &counter), add]);
        }
        batch.extend(self.rules_and_elements(slot, &chains));
        self.socket.batch(&batch)
    }

    /// Makes a living container's rules what they should be, and leaves them alone
    /// (with what they count and limit) where they are; says whether it changed them.
    pub(crate) fn mend(&mut self, slot: Slot, policy: &Policy, seen: &Sight) -> Result<bool, NetlinkError> {
        let chains = container::chains(&self.plan, slot, policy);
        let mapped = seen.mapped.get(&self.plan.link(slot)) == Some(&MAPS.len());
        if mapped && chains.iter().all(|chain| is_as_wanted(chain, &seen.tags)) {
            return Ok(false);
        }
        let table = self.plan.table();
        let mut batch: Vec<Message> = counters::names(slot).map(|counter| wire::add_counter(&table, &counter)).into();
        batch.extend(chains.iter().map(|chain| wire::add_chain(&table, chain)));
        batch.extend(chains.iter().map(|chain| wire::flush_chain(&table, &chain.name)));
        batch.extend(self.rules_and_elements(slot, &chains));
        self.socket.batch(&batch)?;
        Ok(true)
    }

    fn rules_and_elements(&self, slot: Slot, chains: &[Chain]) -> Vec<Message> {
        let table = self.plan.table();
        let mut batch: Vec<Message> = chains
            .iter()
            .flat_map(|chain| chain.rules.iter().map(|rule| wire::add_rule(Family::INET, &table, &chain.name, rule)))
            .collect();
        batch.extend(self.elements(slot));
        batch
    }

    fn elements(&self, slot: Slot) -> Vec<Message> {
        let (table, link) = (self.plan.table(), self.plan.link(slot));
        MAPS.iter().map(|(map, chain)| wire::add_link(&table, map, &link, &format!("{chain}-{slot}"))).collect()
    }

    /// Takes a container out, whatever of it is there.
    pub(crate) fn remove(&mut self, slot: Slot) -> Result<(), NetlinkError> {
        let (table, link) = (self.plan.table(), self.plan.link(slot));
        // Adding first makes each deletion succeed, all within one transaction.
        let chains: Vec<Chain> =
            container::chain_names(slot).map(|name| Chain { name, hook: None, rules: Vec::new() }).into();
        let mut batch: Vec<Message> = chains.iter().map(|chain| wire::add_chain(&table, chain)).collect();
        batch.extend(self.elements(slot));
        batch.extend(MAPS.iter().map(|(map, _)| wire::delete_link(&table, map, &link)));
        batch.extend(chains.iter().map(|chain| wire::flush_chain(&table, &chain.name)));
        batch.extend(chains.iter().map(|chain| wire::delete_chain(&table, &chain.name)));
        for counter in counters::names(slot) {
            batch.extend([wire::add_counter(&table, &counter), wire::delete_counter(&table, &counter)]);
        }
        self.socket.batch(&batch)
    }

    /// The slots that have a chain in the table.
    pub(crate) fn slots(&mut self) -> Result<Vec<Slot>, NetlinkError> {
        let names = wire::chain_names(&mut self.socket, &self.plan.table())?;
        let mut slots: Vec<Slot> = names.iter().filter_map(|name| container::slot_of(name)).collect();
        slots.sort_unstable();
        slots.dedup();
        Ok(slots)
    }

    /// Sets the rules that keep the host from becoming a router for others.
    pub(crate) fn set_guard(&mut self, rules: &[Rule]) -> Result<(), NetlinkError> {
        let table = self.plan.table();
        let chain = Chain { name: "guard".to_owned(), hook: None, rules: rules.to_vec() };
        let found = self.tags()?;
        if is_as_wanted(&chain, &found) {
            return Ok(());
        }
        let mut batch = vec![wire::add_chain(&table, &chain), wire::flush_chain(&table, "guard")];
        batch.extend(rules.iter().map(|rule| wire::add_rule(Family::INET, &table, "guard", rule)));
        self.socket.batch(&batch)
    }

    /// What a container's counters say; all zero for one that is not there.
    pub(crate) fn counters(&mut self, slot: Slot) -> Result<Counters, NetlinkError> {
        counters::read(&mut self.socket, &self.plan.table(), slot)
    }

    /// Deletes the table and everything in it.
    pub(crate) fn delete(&mut self) -> Result<(), NetlinkError> {
        let name = self.plan.table();
        // Added first, so that one that is not there is no error.
        self.socket.batch(&[wire::add_table(&name, ""), wire::delete_table(&name)])
    }
}

fn is_as_wanted(chain: &Chain, found: &BTreeMap<String, Vec<String>>) -> bool {
    found.get(&chain.name).is_some_and(|tags| tags.iter().eq(chain.rules.iter().map(Rule::tag)))
}

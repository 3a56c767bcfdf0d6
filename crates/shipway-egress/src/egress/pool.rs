//! Which addresses the containers of this engine root get.
//!
//! Links that are there already decide: they say on themselves whose they are and from
//! which pool. Else the first pool that no route and no address of this host touches
//! and whose resolver address nobody else has bound, which another engine root would.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::addresses::Plan;
use crate::dns::{self, Ears};
use crate::error::{Doing as _, EgressError};
use crate::links::{Link, Links};
use crate::policy::Block;

use super::Config;

/// How long a predecessor may take to let go of the resolver's address.
const PREDECESSOR_ENDS: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Config {
    /// Prefixes that are rarely used, apart from each other.
    #[must_use]
    pub fn default_pools() -> Vec<Block> {
        let texts =
            ["10.201.0.0/16", "10.211.0.0/16", "10.221.0.0/16", "10.231.0.0/16", "172.29.0.0/16", "192.168.208.0/20"];
        texts.iter().map(|text| text.parse().expect("these are prefixes")).collect()
    }

    /// The prefixes to choose from; at least one.
    pub(crate) fn pools(&self) -> Vec<Block> {
        if self.pools.is_empty() { Self::default_pools() } else { self.pools.clone() }
    }
}

/// Chooses, and takes hold of the choice.
pub(super) fn choose(links: &mut Links, config: &Config, has_v6: bool) -> Result<(Plan, Vec<Ears>), EgressError> {
    let all = links.all().doing("list links")?;
    let ours: Vec<&Link> = all.iter().filter(|link| is_ours(&config.instance, link)).collect();
    if let Some(pool) = ours.iter().find_map(|link| pool_of(&config.instance, &link.alias)) {
        let plan = Plan::new(&config.instance, pool);
        let ears = patiently(|| dns::bind(plan.router(), has_v6));
        return match ears {
            Err(error) if is_taken(&error) => Err(EgressError::Owned(plan.router().v4)),
            other => Ok((plan, other.doing("bind the resolver's address")?)),
        };
    }
    let used = used(links, &ours)?;
    let free: Vec<Plan> = config
        .pools()
        .iter()
        .filter(|pool| !used.iter().any(|other| other.overlaps(pool)))
        .map(|pool| Plan::new(&config.instance, *pool))
        .collect();
    if free.is_empty() {
        return Err(EgressError::NoPool);
    }
    match patiently(|| first_bound(&free, has_v6)) {
        Err(error) if is_taken(&error) => Err(EgressError::NoPool),
        other => other.doing("bind the resolver's address"),
    }
}

/// The first whose resolver address nobody has; "taken" when there is none.
fn first_bound(plans: &[Plan], has_v6: bool) -> io::Result<(Plan, Vec<Ears>)> {
    for plan in plans {
        match dns::bind(plan.router(), has_v6) {
            Err(error) if is_taken(&error) => {}
            other => return Ok((plan.clone(), other?)),
        }
    }
    Err(Errno::ADDRINUSE.into())
}

/// A predecessor that is just ending, or a process between its fork and its exec, may
/// hold the address for a moment longer.
fn patiently<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        match bind() {
            Err(error) if is_taken(&error) && begun.elapsed() < PREDECESSOR_ENDS => {
                std::thread::park_timeout(LOOK_AGAIN);
            }
            other => return other,
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ADDRINUSE.raw_os_error())
}

/// Everything this host sends somewhere in particular.
pub(crate) fn used(links: &mut Links, ours: &[&Link]) -> Result<Vec<Block>, EgressError> {
    let mine = |index: &u32| ours.iter().any(|link| link.index == *index);
    let routes = links.routes().doing("list routes")?;
    let addresses = links.addresses().doing("list addresses")?;
    let routed = routes.iter().filter(|route| route.to.bits > 0 && !route.links.iter().any(mine)).map(|route| route.to);
    let had = addresses.iter().filter(|address| !mine(&address.index)).map(|address| address.network);
    Ok(routed.chain(had).collect())
}

/// What is written on our links.
pub(super) fn alias(plan: &Plan) -> String {
    format!("{} {}/{}", plan.alias(), plan.pool.first, plan.pool.bits)
}

/// The pool a link of ours speaks of.
pub(crate) fn pool_of(instance: &str, alias: &str) -> Option<Block> {
    alias.strip_prefix("shipway ")?.strip_prefix(instance)?.strip_prefix(' ')?.parse().ok()
}

/// Whether a link is of this engine root: by its name, and by what is written on it
/// unless it is too young for that.
pub(crate) fn is_ours(instance: &str, link: &Link) -> bool {
    let named = link.name.starts_with(&format!("sw{instance:.8}-"));
    named && (link.alias.is_empty() || pool_of(instance, &link.alias).is_some())
}

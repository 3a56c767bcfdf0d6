//! What of a host stands in the way of its containers: read, never changed.
//!
//! Asked by an [`Egress`](crate::Egress) that is open, about its own addresses and
//! links, and by `shipway doctor`, which may run before anything of ours is there or
//! beside a Shipway that has it all in hand.

use std::path::Path;

use rustix::fs::{Access, access};

use crate::addresses::Plan;
use crate::dns::Upstreams;
use crate::egress::{Config, Ways, pool};
use crate::error::{Doing as _, EgressError};
use crate::finding::{About, Finding, Severity};
use crate::foreign::{self, Blocker};
use crate::links::{Link, Links};
use rustix::net::netlink;

use crate::netlink::Socket;
use crate::policy::{Block, Policy};

/// Settings that are changed: a container that Shipway runs in may have them read-only.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf/all/forwarding";

/// Whose packets are thought of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Survey<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) upstreams: &'a Upstreams,
}

/// Looks at this host with a configuration in mind. Reads only, and needs nothing of
/// ours to be there. The pool is the one that links of ours speak of, else the first
/// that could be taken.
///
/// # Errors
///
/// [`EgressError::Host`] where the kernel does not answer.
pub fn survey(config: &Config) -> Result<Vec<Finding>, EgressError> {
    let mut links = Links::open().doing("open a netlink socket for links")?;
    let mut socket = Socket::open(Some(netlink::NETFILTER)).doing("open a netlink socket for rules")?;
    let mut findings: Vec<Finding> = about_settings(Path::new(SETTINGS)).into_iter().collect();
    let all = links.all().doing("list links")?;
    let ours: Vec<&Link> = all.iter().filter(|link| pool::is_ours(&config.instance, link)).collect();
    let (chosen, clashes) = choose(&mut links, config, &ours)?;
    findings.extend(clashes);
    let plan = Plan::new(&config.instance, chosen);
    let survey = Survey { plan: &plan, upstreams: &config.upstreams };
    let ways = Ways::find(&mut links, [&Policy::default()])?;
    findings.extend(survey.about_routes(&ways));
    if !ours.is_empty() {
        findings.extend(survey.about_pool(&mut links)?);
    }
    // With leave, what drops is mended as soon as there is a container.
    if !config.accept_rule {
        let blockers = survey.blockers(&mut links, &mut socket, &ways)?;
        findings.extend(blockers.iter().map(|blocker| blocker.finding(&plan)));
    }
    findings.extend(foreign::legacy());
    findings.extend(survey.about_upstreams());
    Ok(findings)
}

/// The pool that is or would be used, and what is to be said about those that cannot be.
fn choose(links: &mut Links, config: &Config, ours: &[&Link]) -> Result<(Block, Vec<Finding>), EgressError> {
    if let Some(pool) = ours.iter().find_map(|link| pool::pool_of(&config.instance, &link.alias)) {
        return Ok((pool, Vec::new()));
    }
    let used = pool::used(links, ours)?;
    let wanted = config.pools();
    let clash = |pool: &Block| used.iter().find(|other| other.overlaps(pool)).copied();
    let free = wanted.iter().copied().find(|pool| clash(pool).is_none());
    let severity = if free.is_some() { Severity::Doubtful } else { Severity::Broken };
    // One that is passed over matters where somebody asked for it, or none is left.
    let matters = free.is_none() || !config.pools.is_empty();
    let told = wanted.iter().filter(|_| matters).filter_map(|pool| Some((*pool, clash(pool)?)));
    let findings = told.map(|(pool, other)| Finding {
        about: About::PoolClash,
        severity,
        what: format!("the address pool {pool} overlaps {other}, which this host uses"),
        remedy: "set network.pools to a prefix (/8 to /20) that nothing here uses".to_owned(),
    });
    Ok((free.unwrap_or(wanted[0]), findings.collect()))
}

fn about_settings(settings: &Path) -> Option<Finding> {
    let refusal = access(settings, Access::WRITE_OK).err()?;
    Some(Finding {
        about: About::Settings,
        severity: Severity::Broken,
        what: format!(
            "the host's network settings cannot be changed ({refusal}), so packets of containers are not passed on"
        ),
        remedy: "run Shipway where /proc/sys is writable: on the host itself, or in a privileged container".to_owned(),
    })
}

impl Survey<'_> {
    /// Everything but what only a doctor asks.
    pub(crate) fn findings(
        &self,
        links: &mut Links,
        socket: &mut Socket,
        ways: &Ways,
    ) -> Result<Vec<Finding>, EgressError> {
        let mut findings: Vec<Finding> = self.about_routes(ways).into_iter().collect();
        findings.extend(self.about_pool(links)?);
        let blockers = self.blockers(links, socket, ways)?;
        findings.extend(blockers.iter().map(|blocker| blocker.finding(self.plan)));
        findings.extend(foreign::legacy());
        findings.extend(self.about_upstreams());
        Ok(findings)
    }

    fn about_routes(&self, ways: &Ways) -> Option<Finding> {
        // A host without IPv6 is common and no fault; one without IPv4 may have IPv6.
        ways.are_none().then(|| Finding {
            about: About::NoRoute { family: "IPv4" },
            severity: Severity::Broken,
            what: "this host has no default route, so containers have no way out".to_owned(),
            remedy: "connect the host to a network; Shipway looks again by itself".to_owned(),
        })
    }

    fn about_pool(&self, links: &mut Links) -> Result<Option<Finding>, EgressError> {
        let all = links.all().doing("list links")?;
        let ours: Vec<_> = all.iter().filter(|link| pool::is_ours(&self.plan.instance, link)).collect();
        let clash = pool::used(links, &ours)?.into_iter().find(|other| other.overlaps(&self.plan.pool));
        let pool = self.plan.pool;
        Ok(clash.map(|other| Finding {
            about: About::PoolClash,
            severity: Severity::Doubtful,
            what: format!("{other} of this host overlaps the containers' addresses {pool}"),
            remedy: "stop the containers with internet access and restart Shipway, which then chooses another pool; or set network.pools".to_owned(),
        }))
    }

    /// Chains of others that would drop our packets.
    pub(crate) fn blockers(
        &self,
        links: &mut Links,
        socket: &mut Socket,
        ways: &Ways,
    ) -> Result<Vec<Blocker>, EgressError> {
        let all = links.all().doing("list links")?;
        let uplink = all.iter().find(|link| ways.v4.contains(&link.index) || ways.v6.contains(&link.index));
        let uplink = uplink.map_or("", |link| &link.name);
        foreign::blockers(socket, self.plan, uplink).doing("read others' chains")
    }

    fn about_upstreams(&self) -> Option<Finding> {
        let some = self.upstreams.now().is_ok_and(|all| !all.is_empty());
        (!some).then(|| Finding {
            about: About::NoUpstream,
            severity: Severity::Broken,
            what: "this host asks no resolver for names, so containers get no names either".to_owned(),
            remedy: "name a resolver in /etc/resolv.conf, or set network.resolvers".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_written_are_told() {
        assert_eq!(about_settings(Path::new("/proc/sys/kernel/hostname")), None);
        let finding = about_settings(Path::new("/sys/kernel/not/there")).unwrap();
        assert_eq!((finding.about, finding.severity), (About::Settings, Severity::Broken));
    }
}

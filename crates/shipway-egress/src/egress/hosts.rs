//! The host around us: the ways out, and what stands in them.

use std::collections::BTreeSet;

use crate::error::{Doing as _, EgressError};
use crate::finding::{About, Finding, Severity};
use crate::foreign;
use crate::policy::Policy;
use crate::table::guard;

use super::{Egress, Kernel, pool};

/// Without a route there is nothing to take a size from.
const MTU_DEFAULT: u32 = 1500;
/// IPv6 works from here on.
const MTU_MIN: u32 = 1280;

/// The links by which packets leave, by family.
#[derive(Debug, Default)]
struct Ways {
    v4: BTreeSet<u32>,
    v6: BTreeSet<u32>,
}

impl Egress {
    /// Switches forwarding on where packets leave and answers come in; the largest
    /// packet all those ways take.
    pub(super) fn open_ways(&self, kernel: &mut Kernel, policy: &Policy) -> Result<u32, EgressError> {
        // Asked again with every look around: a start need not list the whole host.
        if let Some(mtu) = kernel.mtu.filter(|_| policy.allow.is_empty()) {
            return Ok(mtu);
        }
        let ways = self.ways(kernel, [policy])?;
        self.switch_on(kernel, &ways)
    }

    fn switch_on(&self, kernel: &mut Kernel, ways: &Ways) -> Result<u32, EgressError> {
        let links = kernel.links.all().doing("list links")?;
        let named = |indices: &BTreeSet<u32>| -> BTreeSet<String> {
            let found = links.iter().filter(|link| indices.contains(&link.index) && link.name != "lo");
            found.map(|link| link.name.clone()).collect()
        };
        let v6 = if self.has_v6 { named(&ways.v6) } else { BTreeSet::new() };
        self.forwarding.open(&named(&ways.v4), &v6).doing("switch forwarding on")?;
        let opened = self.forwarding.opened().doing("read what was switched on")?;
        kernel.table.set_guard(&guard(&opened.v4, &opened.v6)).doing("set the rules about forwarding for others")?;
        let used = links.iter().filter(|link| ways.v4.contains(&link.index) || ways.v6.contains(&link.index));
        let mtu = used.map(|link| link.mtu).min().map(|mtu| mtu.clamp(MTU_MIN, 65_535));
        kernel.mtu = mtu;
        Ok(mtu.unwrap_or(MTU_DEFAULT))
    }

    /// Default routes of every table, and the ways to what is allowed.
    fn ways<'a>(
        &self,
        kernel: &mut Kernel,
        policies: impl IntoIterator<Item = &'a Policy>,
    ) -> Result<Ways, EgressError> {
        let mut ways = Ways::default();
        for route in kernel.links.routes().doing("list routes")? {
            if route.to.bits == 0 && route.leads_on {
                ways.of(route.to.first.is_ipv4()).extend(&route.links);
            }
        }
        for allow in policies.into_iter().flat_map(|policy| &policy.allow) {
            let address = allow.address();
            let way = kernel.links.way_to(address).doing("ask for a route")?;
            ways.of(address.is_ipv4()).extend(way);
        }
        Ok(ways)
    }

    /// Looks at everything of the host that matters, and does what may be done.
    pub(super) fn look_around<'a>(
        &self,
        kernel: &mut Kernel,
        policies: impl IntoIterator<Item = &'a Policy>,
    ) -> Result<Vec<Finding>, EgressError> {
        let ways = self.ways(kernel, policies)?;
        self.switch_on(kernel, &ways)?;
        let mut findings: Vec<Finding> = self.about_routes(&ways).into_iter().collect();
        findings.extend(self.about_pool(kernel)?);
        findings.extend(self.about_chains(kernel, &ways)?);
        findings.extend(foreign::legacy());
        findings.extend(self.about_upstreams());
        Ok(findings)
    }

    /// What stands in the way of this engine root's containers, now. Reads only.
    ///
    /// # Errors
    ///
    /// [`EgressError::Host`].
    pub fn findings(&self) -> Result<Vec<Finding>, EgressError> {
        let mut kernel = self.kernel();
        let ways = self.ways(&mut kernel, [])?;
        let mut findings: Vec<Finding> = self.about_routes(&ways).into_iter().collect();
        findings.extend(self.about_pool(&mut kernel)?);
        let blockers = self.blockers(&mut kernel, &ways)?;
        findings.extend(blockers.iter().map(|blocker| blocker.finding(&self.plan)));
        findings.extend(foreign::legacy());
        findings.extend(self.about_upstreams());
        Ok(findings)
    }

    fn about_routes(&self, ways: &Ways) -> Option<Finding> {
        // A host without IPv6 is common and no fault; one without IPv4 may have IPv6.
        (ways.v4.is_empty() && ways.v6.is_empty()).then(|| Finding {
            about: About::NoRoute { family: "IPv4" },
            severity: Severity::Broken,
            what: "this host has no default route, so containers have no way out".to_owned(),
            remedy: "connect the host to a network; Shipway looks again by itself".to_owned(),
        })
    }

    fn about_pool(&self, kernel: &mut Kernel) -> Result<Option<Finding>, EgressError> {
        let links = kernel.links.all().doing("list links")?;
        let ours: Vec<_> = links.iter().filter(|link| pool::is_ours(&self.plan.instance, link)).collect();
        let clash = pool::used(&mut kernel.links, &ours)?.into_iter().find(|other| other.overlaps(&self.plan.pool));
        let (first, bits) = (self.plan.pool.first, self.plan.pool.bits);
        Ok(clash.map(|other| Finding {
            about: About::PoolClash,
            severity: Severity::Doubtful,
            what: format!("{}/{} of this host overlaps the containers' addresses {first}/{bits}", other.first, other.bits),
            remedy: "stop the containers with internet access and restart Shipway, which then chooses another pool; or set network.pool".to_owned(),
        }))
    }

    fn about_chains(&self, kernel: &mut Kernel, ways: &Ways) -> Result<Vec<Finding>, EgressError> {
        let mut blockers = self.blockers(kernel, ways)?;
        if self.accept_rule && !blockers.is_empty() {
            foreign::accept(&mut kernel.table.socket, &self.plan, &blockers).doing("add rules to others' chains")?;
            blockers = self.blockers(kernel, ways)?;
        } else if !self.accept_rule {
            foreign::withdraw(&mut kernel.table.socket, &self.plan).doing("take our rules out of others' chains")?;
            blockers = self.blockers(kernel, ways)?;
        }
        Ok(blockers.iter().map(|blocker| blocker.finding(&self.plan)).collect())
    }

    fn blockers(&self, kernel: &mut Kernel, ways: &Ways) -> Result<Vec<foreign::Blocker>, EgressError> {
        let links = kernel.links.all().doing("list links")?;
        let uplink = links.iter().find(|link| ways.v4.contains(&link.index) || ways.v6.contains(&link.index));
        let uplink = uplink.map_or("", |link| &link.name);
        foreign::blockers(&mut kernel.table.socket, &self.plan, uplink).doing("read others' chains")
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

impl Ways {
    fn of(&mut self, v4: bool) -> &mut BTreeSet<u32> {
        if v4 { &mut self.v4 } else { &mut self.v6 }
    }
}

//! The host around us: the ways out, and what stands in them.

use std::collections::BTreeSet;

use crate::error::{Doing as _, EgressError};
use crate::finding::Finding;
use crate::foreign;
use crate::links::Links;
use crate::policy::Policy;
use crate::survey::Survey;
use crate::table::guard;

use super::{Egress, Kernel};

/// Without a route there is nothing to take a size from.
const MTU_DEFAULT: u32 = 1500;
/// IPv6 works from here on.
const MTU_MIN: u32 = 1280;

/// The links by which packets leave, by family.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    pub(crate) v4: BTreeSet<u32>,
    pub(crate) v6: BTreeSet<u32>,
}

impl Egress {
    /// Switches forwarding on where packets leave and answers come in; the largest
    /// packet all those ways take.
    pub(super) fn open_ways(&self, kernel: &mut Kernel, policy: &Policy) -> Result<u32, EgressError> {
        // Asked again with every look around: a start need not list the whole host.
        if let Some(mtu) = kernel.mtu.filter(|_| policy.allow.is_empty()) {
            return Ok(mtu);
        }
        let ways = Ways::find(&mut kernel.links, [policy])?;
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

    /// Looks at everything of the host that matters, and does what may be done.
    pub(super) fn look_around<'a>(
        &self,
        kernel: &mut Kernel,
        policies: impl IntoIterator<Item = &'a Policy>,
    ) -> Result<Vec<Finding>, EgressError> {
        let ways = Ways::find(&mut kernel.links, policies)?;
        self.switch_on(kernel, &ways)?;
        self.tend_chains(kernel, &ways)?;
        self.survey().findings(&mut kernel.links, &mut kernel.table.socket, &ways)
    }

    /// What stands in the way of this engine root's containers, now. Reads only.
    ///
    /// # Errors
    ///
    /// [`EgressError::Host`].
    pub fn findings(&self) -> Result<Vec<Finding>, EgressError> {
        let mut kernel = self.kernel();
        let kernel = &mut *kernel;
        let ways = Ways::find(&mut kernel.links, [])?;
        self.survey().findings(&mut kernel.links, &mut kernel.table.socket, &ways)
    }

    /// By leave, makes room in chains of others before the first container runs; later
    /// that is part of every look around.
    pub(super) fn tend_once(&self, kernel: &mut Kernel) -> Result<(), EgressError> {
        if !self.accept_rule || std::mem::replace(&mut kernel.tended, true) {
            return Ok(());
        }
        let ways = Ways::find(&mut kernel.links, [])?;
        self.tend_chains(kernel, &ways)
    }

    /// Rules in chains of others: put there by leave, else taken away.
    fn tend_chains(&self, kernel: &mut Kernel, ways: &Ways) -> Result<(), EgressError> {
        let Kernel { links, table, .. } = kernel;
        if !self.accept_rule {
            return foreign::withdraw(&mut table.socket, &self.plan).doing("take our rules out of others' chains");
        }
        let blockers = self.survey().blockers(links, &mut table.socket, ways)?;
        if blockers.is_empty() {
            return Ok(());
        }
        foreign::accept(&mut table.socket, &self.plan, &blockers).doing("add rules to others' chains")
    }

    fn survey(&self) -> Survey<'_> {
        Survey { plan: &self.plan, upstreams: &self.upstreams }
    }
}

impl Ways {
    /// Default routes of every table, and the ways to what is allowed.
    pub(crate) fn find<'a>(
        links: &mut Links,
        policies: impl IntoIterator<Item = &'a Policy>,
    ) -> Result<Self, EgressError> {
        let mut ways = Self::default();
        for route in links.routes().doing("list routes")? {
            if route.to.bits == 0 && route.leads_on {
                ways.of(route.to.first.is_ipv4()).extend(&route.links);
            }
        }
        for allow in policies.into_iter().flat_map(|policy| &policy.allow) {
            let address = allow.address();
            let way = links.way_to(address).doing("ask for a route")?;
            ways.of(address.is_ipv4()).extend(way);
        }
        Ok(ways)
    }

    /// Whether nothing leads out.
    pub(crate) fn are_none(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn of(&mut self, v4: bool) -> &mut BTreeSet<u32> {
        if v4 { &mut self.v4 } else { &mut self.v6 }
    }
}

//! One service in the table, and where its requests go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::{ArcSwap, Guard};

use crate::upstream::Upstream;
use crate::wire::{Route, RouteLimits, RouteState};

/// One service, found under each of its labels.
///
/// There are 100,000 of these, so what nearly all have in common costs nothing:
/// their labels are their id and their name, and their limits are the proxy's.
#[derive(Debug)]
pub(crate) struct Service {
    /// The id, then the name.
    text: Box<str>,
    id_length: u32,
    /// The last snapshot that had it.
    pub(super) snapshot: AtomicU32,
    unusual: Option<Box<Unusual>>,
    pub(super) target: ArcSwap<Target>,
}

/// What only some services have.
#[derive(Debug)]
struct Unusual {
    labels: Box<[Box<str>]>,
    limits: RouteLimits,
}

/// Where a service's requests go.
#[derive(Debug)]
pub(crate) enum Target {
    /// To an endpoint.
    Live(Upstream),
    /// Nowhere yet.
    Starting,
    /// Nowhere, by wish.
    Stopped,
    /// Nowhere, for a reason.
    Unavailable(Box<str>),
    /// This [`Service`] is no longer the one in the table: look again.
    Moved,
}

/// A request on its way to a live endpoint; counted there until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    target: Arc<Target>,
}

impl Lease {
    /// The endpoint it goes to.
    pub(crate) fn upstream(&self) -> &Upstream {
        match &*self.target {
            Target::Live(upstream) => upstream,
            _ => unreachable!("a lease is made of live targets only"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream().in_flight().fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a service has for a request.
#[derive(Debug)]
pub(crate) enum Found {
    /// Go there.
    Lease(Lease),
    /// Too many are on their way already.
    Full,
    /// Not now.
    Not(Guard<Arc<Target>>),
}

impl Service {
    /// `route` leads to `target`.
    pub(super) fn new(route: &Route, target: Arc<Target>) -> Self {
        let usual = [&route.service_id, &route.name];
        let is_usual = route.labels.iter().eq(usual) && route.limits == RouteLimits::default();
        let unusual = || {
            let labels = route.labels.iter().map(|label| label.as_str().into()).collect();
            Box::new(Unusual { labels, limits: route.limits })
        };
        Self {
            text: format!("{}{}", route.service_id, route.name).into(),
            id_length: u32::try_from(route.service_id.len()).unwrap_or(u32::MAX),
            snapshot: AtomicU32::new(0),
            unusual: (!is_usual).then(unusual),
            target: ArcSwap::new(target),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.text[..self.id_length as usize]
    }

    pub(crate) fn name(&self) -> &str {
        &self.text[self.id_length as usize..]
    }

    /// Its own bounds.
    pub(crate) fn limits(&self) -> RouteLimits {
        self.unusual.as_ref().map_or_else(RouteLimits::default, |unusual| unusual.limits)
    }

    /// One of its labels, by number.
    pub(super) fn label(&self, at: u32) -> &str {
        match (&self.unusual, at) {
            (Some(unusual), at) => &unusual.labels[at as usize],
            (None, 0) => self.id(),
            (None, _) => self.name(),
        }
    }

    /// All of its labels, numbered.
    pub(super) fn labels(&self) -> impl Iterator<Item = (u32, &str)> {
        let count = self.unusual.as_ref().map_or(2, |unusual| unusual.labels.len());
        (0..).take(count).map(|at| (at, self.label(at)))
    }

    /// Counts a request in, unless `concurrency` are in flight already.
    pub(crate) fn lease(&self, concurrency: u32) -> Found {
        loop {
            let target = self.target.load();
            let Target::Live(upstream) = &**target else {
                return Found::Not(target);
            };
            let before = upstream.in_flight().fetch_add(1, Ordering::SeqCst);
            let lease = Lease { target: Arc::clone(&target) };
            // See the invariant above: counted first, looked again second.
            if !Arc::ptr_eq(&self.target.load(), &lease.target) {
                continue;
            }
            if before >= concurrency {
                return Found::Full;
            }
            return Found::Lease(lease);
        }
    }

    /// What it is, as the control plane said it.
    pub(crate) fn route(&self) -> Route {
        Route {
            service_id: self.id().to_owned(),
            name: self.name().to_owned(),
            labels: self.labels().map(|(_, label)| label.to_owned()).collect(),
            state: state_of(&self.target.load()),
            limits: self.limits(),
        }
    }

    /// Whether `route` differs in its target at most.
    pub(super) fn same_but_target(&self, route: &Route) -> bool {
        self.name() == route.name
            && self.limits() == route.limits
            && self.labels().map(|(_, label)| label).eq(route.labels.iter().map(String::as_str))
    }
}

/// What the control plane calls a target.
pub(super) fn state_of(target: &Target) -> RouteState {
    match target {
        Target::Live(upstream) => RouteState::Live { endpoint: upstream.endpoint() },
        Target::Starting => RouteState::Starting,
        // A moved service is in no shard, so nobody asks for its route.
        Target::Stopped | Target::Moved => RouteState::Stopped,
        Target::Unavailable(reason) => RouteState::Unavailable { reason: reason.to_string() },
    }
}

/// Makes the target that the control plane means.
pub(super) fn target_of(state: &RouteState) -> Target {
    match state {
        RouteState::Live { endpoint } => Target::Live(Upstream::new(endpoint)),
        RouteState::Starting => Target::Starting,
        RouteState::Stopped => Target::Stopped,
        RouteState::Unavailable { reason } => Target::Unavailable(reason.as_str().into()),
    }
}

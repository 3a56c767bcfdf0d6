//! Which label leads where, for 100,000 services.
//!
//! Labels are spread over shards by hash; a shard is a small sorted list behind
//! an `ArcSwap`. A new or lost label copies one shard of some fifty entries, and
//! a new endpoint, by far the commonest change, copies nothing at all: every
//! label of a service leads to the same [`Service`], which holds its [`Target`]
//! in one more `ArcSwap`. Readers never wait.
//!
//! # Invariant
//!
//! A request counts itself in *before* it looks whether its target is still the
//! service's, and a change is made *before* anybody reads the old target's count.
//! So once a change is acknowledged, a count of zero means that nobody will ever
//! go to the old endpoint again, and its container may stop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::upstream::Upstream;
use crate::wire::{Endpoint, Route, RouteLimits, RouteState};

/// A power of two. More shards make a change cheaper and an empty table larger:
/// 4096 cost 64 KiB and hold some fifty labels each at 100,000 services.
const SHARDS: usize = 4096;

/// One service, found under each of its labels.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) id: Box<str>,
    pub(crate) name: Box<str>,
    labels: Box<[Box<str>]>,
    pub(crate) limits: RouteLimits,
    target: ArcSwap<Target>,
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
    /// Counts a request in, unless `concurrency` are in flight already.
    pub(crate) fn lease(&self, concurrency: u32) -> Found {
        loop {
            let target = self.target.load();
            let Target::Live(upstream) = &**target else {
                return Found::Not(target);
            };
            let before = upstream.in_flight().fetch_add(1, Ordering::SeqCst);
            let lease = Lease {
                target: Arc::clone(&target),
            };
            // See the invariant above: counted first, looked again second.
            if !Arc::ptr_eq(&self.target.load(), &lease.target) {
                continue;
            }
            if before >= u64::from(concurrency) {
                return Found::Full;
            }
            return Found::Lease(lease);
        }
    }

    fn route(&self) -> Route {
        Route {
            service_id: self.id.to_string(),
            name: self.name.to_string(),
            labels: self.labels.iter().map(ToString::to_string).collect(),
            state: state_of(&self.target.load()),
            limits: self.limits,
        }
    }

    fn same_but_target(&self, route: &Route) -> bool {
        *self.name == *route.name
            && self.limits == route.limits
            && self.labels.iter().map(|l| &**l).eq(route.labels.iter().map(String::as_str))
    }
}

fn state_of(target: &Target) -> RouteState {
    match target {
        Target::Live(upstream) => RouteState::Live {
            endpoint: upstream.endpoint(),
        },
        Target::Starting => RouteState::Starting,
        // A moved service is in no shard, so nobody asks for its route.
        Target::Stopped | Target::Moved => RouteState::Stopped,
        Target::Unavailable(reason) => RouteState::Unavailable {
            reason: reason.to_string(),
        },
    }
}

fn target_of(state: &RouteState) -> Target {
    match state {
        RouteState::Live { endpoint } => Target::Live(Upstream::new(endpoint)),
        RouteState::Starting => Target::Starting,
        RouteState::Stopped => Target::Stopped,
        RouteState::Unavailable { reason } => Target::Unavailable(reason.as_str().into()),
    }
}

/// One label and the service it leads to.
#[derive(Debug, Clone)]
struct Slot {
    service: Arc<Service>,
    /// Which of the service's labels this is.
    label: usize,
}

impl Slot {
    fn label(&self) -> &str {
        &self.service.labels[self.label]
    }
}

type Shard = Vec<Slot>;

/// Every route.
#[derive(Debug)]
pub(crate) struct Table {
    shards: Box<[ArcSwap<Shard>]>,
    services: AtomicUsize,
    /// One writer at a time. The endpoints that are no service's any more, but
    /// still have requests in flight, live here.
    retired: Mutex<Vec<Arc<Target>>>,
}

impl Default for Table {
    fn default() -> Self {
        let empty = Arc::new(Shard::new());
        Self {
            shards: (0..SHARDS).map(|_| ArcSwap::new(Arc::clone(&empty))).collect(),
            services: AtomicUsize::new(0),
            retired: Mutex::default(),
        }
    }
}

impl Table {
    /// Finds the service behind a label, until its [`Target`] has moved.
    pub(crate) fn find(&self, label: &str) -> Option<Arc<Service>> {
        let shard = self.shard(label).load();
        let at = shard.binary_search_by(|slot| slot.label().cmp(label)).ok()?;
        Some(Arc::clone(&shard[at].service))
    }

    /// How many services it has.
    pub(crate) fn len(&self) -> usize {
        self.services.load(Ordering::Relaxed)
    }

    /// Adds or changes one route. Its id is always one of its labels.
    pub(crate) fn upsert(&self, route: &Route) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.by_id(&route.service_id);
        let route = with_id_label(route);
        if let Some(service) = &before
            && service.same_but_target(&route)
        {
            return Self::retarget(service, &route.state, &mut retired);
        }
        self.replace(before.as_deref(), &route, &mut retired);
    }

    fn retarget(service: &Service, state: &RouteState, retired: &mut Vec<Arc<Target>>) {
        if state_of(&service.target.load()) == *state {
            return;
        }
        retire(retired, service.target.swap(Arc::new(target_of(state))));
    }

    fn replace(&self, before: Option<&Service>, route: &Route, retired: &mut Vec<Arc<Target>>) {
        let target = match before {
            Some(service) if state_of(&service.target.load()) == route.state => {
                service.target.load_full()
            }
            _ => Arc::new(target_of(&route.state)),
        };
        let service = Arc::new(Service {
            id: route.service_id.as_str().into(),
            name: route.name.as_str().into(),
            labels: route.labels.iter().map(|label| label.as_str().into()).collect(),
            limits: route.limits,
            target: ArcSwap::new(Arc::clone(&target)),
        });
        for label in 0..service.labels.len() {
            self.put(Slot {
                service: Arc::clone(&service),
                label,
            });
        }
        match before {
            None => {
                self.services.fetch_add(1, Ordering::Relaxed);
            }
            Some(old) => {
                self.forget_labels(old, |label| service.labels.iter().any(|l| **l == *label));
                // Whoever found the old one before must look again.
                let last = old.target.swap(Arc::new(Target::Moved));
                if !Arc::ptr_eq(&last, &target) {
                    retire(retired, last);
                }
            }
        }
    }

    /// Forgets one service.
    pub(crate) fn remove(&self, service_id: &str) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(service) = self.by_id(service_id) else {
            return;
        };
        self.forget_labels(&service, |_| false);
        self.services.fetch_sub(1, Ordering::Relaxed);
        retire(&mut retired, service.target.swap(Arc::new(Target::Moved)));
    }

    /// Makes `routes` the whole table. Routes that stay as they are keep their connections.
    pub(crate) fn replace_all(&self, routes: &[Route]) {
        let kept: std::collections::HashSet<&str> =
            routes.iter().map(|route| route.service_id.as_str()).collect();
        let mut gone = Vec::new();
        self.each(|service| {
            if !kept.contains(&*service.id) {
                gone.push(service.id.clone());
            }
        });
        for id in gone {
            self.remove(&id);
        }
        for route in routes {
            self.upsert(route);
        }
    }

    /// Calls `visit` with every route.
    pub(crate) fn for_each_route(&self, mut visit: impl FnMut(Route)) {
        self.each(|service| visit(service.route()));
    }

    fn each(&self, mut visit: impl FnMut(&Service)) {
        for shard in &self.shards {
            for slot in shard.load().iter() {
                // A service has many labels, and just one id.
                if *slot.label() == *slot.service.id {
                    visit(&slot.service);
                }
            }
        }
    }

    /// Requests in flight to an endpoint, whether it is still some service's or not.
    pub(crate) fn in_flight(&self, endpoint: &Endpoint) -> u64 {
        let mut count = 0;
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|target| is_busy(target));
        for target in retired.iter() {
            count += requests_to(target, endpoint);
        }
        self.each(|service| count += requests_to(&service.target.load(), endpoint));
        count
    }

    /// Closes connections that nobody has used for a while.
    pub(crate) fn close_idle(&self, age: std::time::Duration) {
        self.each(|service| {
            if let Target::Live(upstream) = &**service.target.load() {
                upstream.close_idle(age);
            }
        });
    }

    fn by_id(&self, id: &str) -> Option<Arc<Service>> {
        self.find(id).filter(|service| *service.id == *id)
    }

    fn put(&self, slot: Slot) {
        let place = self.shard(slot.label());
        let mut shard = Shard::clone(&place.load());
        match shard.binary_search_by(|other| other.label().cmp(slot.label())) {
            Ok(at) => shard[at] = slot,
            Err(at) => shard.insert(at, slot),
        }
        shard.shrink_to_fit();
        place.store(Arc::new(shard));
    }

    fn forget_labels(&self, service: &Service, keep: impl Fn(&str) -> bool) {
        for label in service.labels.iter().filter(|label| !keep(label)) {
            let place = self.shard(label);
            let mut shard = Shard::clone(&place.load());
            // A label that another service has taken since is not ours to forget.
            shard.retain(|slot| *slot.label() != **label || *slot.service.id != *service.id);
            place.store(Arc::new(shard));
        }
    }

    fn shard(&self, label: &str) -> &ArcSwap<Shard> {
        // FNV-1a. Labels are chosen by our own users, and a full shard is merely slow.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let at = usize::try_from((hash ^ (hash >> 32)) % SHARDS as u64).unwrap_or_default();
        &self.shards[at]
    }
}

/// A service is always reachable by its id, whatever the route says.
fn with_id_label(route: &Route) -> std::borrow::Cow<'_, Route> {
    let mut labels = route.labels.clone();
    labels.sort_unstable();
    labels.dedup();
    if labels.len() == route.labels.len() && route.labels.contains(&route.service_id) {
        return std::borrow::Cow::Borrowed(route);
    }
    if !labels.contains(&route.service_id) {
        labels.push(route.service_id.clone());
    }
    let mut route = route.clone();
    route.labels = labels;
    std::borrow::Cow::Owned(route)
}

fn retire(retired: &mut Vec<Arc<Target>>, target: Arc<Target>) {
    retired.retain(|target| is_busy(target));
    if let Target::Live(upstream) = &*target {
        upstream.retire();
        retired.push(target);
    }
}

fn is_busy(target: &Target) -> bool {
    match target {
        Target::Live(upstream) => upstream.in_flight().load(Ordering::SeqCst) > 0,
        _ => false,
    }
}

fn requests_to(target: &Target, endpoint: &Endpoint) -> u64 {
    match target {
        Target::Live(upstream) if upstream.answers_at(endpoint) => {
            upstream.in_flight().load(Ordering::SeqCst)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests;

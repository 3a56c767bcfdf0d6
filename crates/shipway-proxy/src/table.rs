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

mod service;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::wire::{Endpoint, Route, RouteState};
pub(crate) use service::{Found, Lease, Service, Target};
use service::{state_of, target_of};

/// A power of two. More shards make a change cheaper and an empty table larger:
/// 4096 cost 64 KiB and hold some fifty labels each at 100,000 services.
const SHARDS: usize = 4096;

/// One label and the service it leads to.
#[derive(Debug, Clone)]
struct Slot {
    /// The rest of the label's hash: what a shard is sorted by.
    hash: u32,
    /// Which of the service's labels this is.
    label: u32,
    service: Arc<Service>,
}

impl Slot {
    fn is(&self, label: &str) -> bool {
        self.service.label(self.label) == label
    }
}

type Shard = Vec<Slot>;

/// Returns the shard of a label, and what its slot is found by there.
fn place_of(label: &str) -> (usize, u32) {
    // FNV-1a. Labels are chosen by our own users, and a full shard is merely slow.
    let hash = label
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let (high, low) = (hash >> 32, hash & 0xffff_ffff);
    let shard = usize::try_from(high % SHARDS as u64).unwrap_or_default();
    (shard, u32::try_from(low).unwrap_or_default())
}

/// Returns where in a shard `label` is, or where it would have to be.
fn search(shard: &[Slot], hash: u32, label: &str) -> Result<usize, usize> {
    let first = shard.partition_point(|slot| slot.hash < hash);
    let same = shard[first..].iter().take_while(|slot| slot.hash == hash);
    let found = same.enumerate().find(|(_, slot)| slot.is(label));
    found.map(|(at, _)| first + at).ok_or(first)
}

/// Every route.
#[derive(Debug)]
pub(crate) struct Table {
    shards: Box<[ArcSwap<Shard>]>,
    services: AtomicUsize,
    snapshots: AtomicU32,
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
            snapshots: AtomicU32::new(0),
            retired: Mutex::default(),
        }
    }
}

impl Table {
    /// Finds the service behind a label, until its [`Target`] has moved.
    pub(crate) fn find(&self, label: &str) -> Option<Arc<Service>> {
        let (place, hash) = place_of(label);
        let shard = self.shards[place].load();
        let at = search(&shard, hash, label).ok()?;
        Some(Arc::clone(&shard[at].service))
    }

    /// How many services it has.
    pub(crate) fn len(&self) -> usize {
        self.services.load(Ordering::Relaxed)
    }

    /// Adds or changes one route. Its id is always one of its labels.
    pub(crate) fn upsert(&self, route: &Route) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let route = with_id_label(route);
        match self.by_id(&route.service_id) {
            Some(service) if service.same_but_target(&route) => {
                Self::retarget(&service, &route.state, &mut retired);
            }
            before => self.replace(before.as_deref(), &route, &mut retired),
        }
    }

    /// Begins a snapshot, and returns its number for [`Self::upsert_in`] and
    /// [`Self::end_snapshot`]. Routes that stay as they are keep their connections,
    /// and those that it does not have stay until its end.
    pub(crate) fn begin_snapshot(&self) -> u32 {
        self.snapshots.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds or changes one route of a snapshot.
    pub(crate) fn upsert_in(&self, snapshot: u32, route: &Route) {
        self.upsert(route);
        if let Some(service) = self.by_id(&route.service_id) {
            service.snapshot.store(snapshot, Ordering::Relaxed);
        }
    }

    /// Forgets every service that the snapshot did not have.
    pub(crate) fn end_snapshot(&self, snapshot: u32) {
        let mut gone = Vec::new();
        self.each(|service| {
            if service.snapshot.load(Ordering::Relaxed) != snapshot {
                gone.push(service.id().to_owned());
            }
        });
        for id in gone {
            self.remove(&id);
        }
    }

    fn retarget(service: &Service, state: &RouteState, retired: &mut Vec<Arc<Target>>) {
        if state_of(&service.target.load()) == *state {
            return;
        }
        retire(retired, service.target.swap(Arc::new(target_of(state))));
    }

    fn replace(&self, before: Option<&Service>, route: &Route, retired: &mut Vec<Arc<Target>>) {
        let target = match before {
            Some(service) if state_of(&service.target.load()) == route.state => service.target.load_full(),
            _ => Arc::new(target_of(&route.state)),
        };
        let service = Arc::new(Service::new(route, Arc::clone(&target)));
        for (label, text) in service.labels() {
            self.put(text, &service, label);
        }
        match before {
            None => {
                self.services.fetch_add(1, Ordering::Relaxed);
            }
            Some(old) => {
                self.forget_labels(old, |label| service.labels().any(|(_, kept)| kept == label));
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

    /// Calls `visit` with every route.
    pub(crate) fn for_each_route(&self, mut visit: impl FnMut(Route)) {
        self.each(|service| visit(service.route()));
    }

    fn each(&self, mut visit: impl FnMut(&Service)) {
        for shard in &self.shards {
            for slot in shard.load().iter() {
                // A service has many labels, and just one id.
                if slot.is(slot.service.id()) {
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
        self.find(id).filter(|service| service.id() == id)
    }

    fn put(&self, text: &str, service: &Arc<Service>, label: u32) {
        let (place, hash) = place_of(text);
        let slot = Slot { hash, label, service: Arc::clone(service) };
        let before = self.shards[place].load();
        let mut shard = Shard::with_capacity(before.len() + 1);
        match search(&before, hash, text) {
            Ok(at) => {
                shard.extend_from_slice(&before);
                shard[at] = slot;
            }
            Err(at) => {
                shard.extend_from_slice(&before[..at]);
                shard.push(slot);
                shard.extend_from_slice(&before[at..]);
            }
        }
        self.shards[place].store(Arc::new(shard));
    }

    fn forget_labels(&self, service: &Service, keep: impl Fn(&str) -> bool) {
        for (_, label) in service.labels().filter(|(_, label)| !keep(label)) {
            let (place, _) = place_of(label);
            let before = self.shards[place].load();
            // A label that another service has taken since is not ours to forget.
            let is_ours = |slot: &Slot| slot.is(label) && slot.service.id() == service.id();
            let shard: Shard = before.iter().filter(|slot| !is_ours(slot)).cloned().collect();
            self.shards[place].store(Arc::new(shard));
        }
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
        Target::Live(upstream) if upstream.answers_at(endpoint) => upstream.in_flight().load(Ordering::SeqCst).into(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;

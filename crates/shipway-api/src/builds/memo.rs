//! What requests meant a moment ago.
//!
//! A cached build must not wait for module proxies, and a thousand who ask for one thing at
//! once must not ask the proxies a thousand times. So what a request was settled to is kept for
//! a while, and those who ask for it while it is being settled wait for that. What could not be
//! settled is not kept: the next one asks anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use sha2::{Digest, Sha256};
use shipway_gobuild::resolve::{ResolveError, Resolver};
use shipway_gobuild::{Query, Recipe, Request, Resolved};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::trouble::unresolved;
use crate::reply::Reject;

/// How long `latest`, a prefix and a branch mean what they did: after this, a release that was
/// published is seen.
const MOVING_KEPT: Duration = Duration::from_secs(60);
/// How long exact versions do. They do not move, but an author may take one back.
const EXACT_KEPT: Duration = Duration::from_secs(3600);
/// Most answers kept; one with all plugins it may have is some 30 KB.
const KEPT_MAX: usize = 1024;
/// Requests settled at a time; each asks proxies several questions at once.
const AT_ONCE: usize = 32;

type Settling = BoxFuture<'static, Result<Arc<Resolved>, ResolveError>>;
type Key = [u8; 32];

/// What requests meant.
#[derive(Debug)]
pub(super) struct Memo {
    entries: Mutex<HashMap<Key, Entry>>,
    places: Arc<Semaphore>,
}

enum Entry {
    /// Somebody is at it, and is gone when nobody waits for it any more.
    Settling(WeakShared<Settling>),
    Settled {
        resolved: Arc<Resolved>,
        until: Instant,
    },
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Settling(_) => "Settling",
            Self::Settled { .. } => "Settled",
        })
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self { entries: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        match self {
            Self::Settling(settling) => settling.upgrade().is_some(),
            Self::Settled { until, .. } => now < *until,
        }
    }
}

impl Memo {
    /// Settles a request, or remembers what it means.
    pub(super) async fn settle(
        &self,
        resolver: &Resolver,
        recipe: &Recipe,
        request: &Request,
    ) -> Result<Arc<Resolved>, Reject> {
        let key = key_of(recipe, request);
        let settling = match self.find(key) {
            Found::Settled(resolved) => return Ok(resolved),
            Found::Settling(settling) => settling,
            Found::Nothing => self.begin(key, resolver, recipe, request),
        };
        let resolved = settling.await.map_err(|error| unresolved(&error))?;
        self.keep(key, Arc::clone(&resolved), kept_for(request));
        Ok(resolved)
    }

    fn find(&self, key: Key) -> Found {
        match self.lock().get(&key) {
            Some(Entry::Settled { resolved, until }) if Instant::now() < *until => Found::Settled(Arc::clone(resolved)),
            Some(Entry::Settling(settling)) => settling.upgrade().map_or(Found::Nothing, Found::Settling),
            _ => Found::Nothing,
        }
    }

    fn begin(&self, key: Key, resolver: &Resolver, recipe: &Recipe, request: &Request) -> Shared<Settling> {
        let (resolver, recipe, request) = (resolver.clone(), recipe.clone(), request.clone());
        let places = Arc::clone(&self.places);
        let work = async move {
            // Closed by nobody; and without a place it would only be less orderly.
            let _place = places.acquire_owned().await.ok();
            resolver.resolve(&recipe, &request).await.map(Arc::new)
        };
        let settling = work.boxed().shared();
        let mut entries = self.lock();
        make_room(&mut entries);
        // Another may have begun since we looked: all wait for the same then.
        if let Some(Entry::Settling(other)) = entries.get(&key)
            && let Some(other) = other.upgrade()
        {
            return other;
        }
        if let Some(settling) = settling.downgrade() {
            entries.insert(key, Entry::Settling(settling));
        }
        settling
    }

    /// Of those who waited the last one says how long it is kept.
    fn keep(&self, key: Key, resolved: Arc<Resolved>, kept: Duration) {
        let until = Instant::now() + kept;
        let mut entries = self.lock();
        if !matches!(entries.get(&key), Some(Entry::Settled { .. })) {
            make_room(&mut entries);
        }
        entries.insert(key, Entry::Settled { resolved, until });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found {
    Settled(Arc<Resolved>),
    Settling(Shared<Settling>),
    Nothing,
}

/// Forgets what is over, and if that is not enough what would be over next.
fn make_room(entries: &mut HashMap<Key, Entry>) {
    if entries.len() < KEPT_MAX {
        return;
    }
    let now = Instant::now();
    entries.retain(|_, entry| entry.is_alive(now));
    let end = |entry: &Entry| match entry {
        Entry::Settling(_) => None,
        Entry::Settled { until, .. } => Some(*until),
    };
    let next = entries.iter().filter_map(|(key, entry)| Some((end(entry)?, *key))).min();
    if let Some((_, key)) = next.filter(|_| entries.len() >= KEPT_MAX) {
        entries.remove(&key);
    }
}

fn key_of(recipe: &Recipe, request: &Request) -> Key {
    let json = serde_json::to_vec(request).expect("texts and numbers only");
    Sha256::new().chain_update(recipe.digest()).chain_update(json).finalize().into()
}

fn kept_for(request: &Request) -> Duration {
    let versions = request.plugins.iter().map(|plugin| &plugin.version);
    let replacing = request.replacements.iter().map(|replacement| &replacement.version);
    let mut all = versions.chain(replacing).chain([&request.version]);
    if all.all(|version| matches!(version, Query::Exact(_))) { EXACT_KEPT } else { MOVING_KEPT }
}

#[cfg(test)]
mod tests;

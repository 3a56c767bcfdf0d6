//! Housekeeping between those who upload, deploy and roll back: whatever the order, what
//! is used is there, and who comes too late hears so.
//!
//! The place is a folder that keeps the contract of [`Place`]; the one of the product is
//! tested beside it (`shipway-fetch`, `crates/shipway/src/serve/housekeeping.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shipway_janitor::{Cleared, Housekeeping, HousekeepingConfig, HousekeepingParts, Kept, Place, PlaceError, Unused};
use shipway_model::task::Content;
use shipway_model::{Digest, Micros};
use shipway_stdx::clock::{Clock as _, ManualClock};

use super::world::*;

const HOUR: Micros = 3600 * 1_000_000;

type Then = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A shelf of things, and what happens between two of the collector's steps.
#[derive(Default)]
struct Shelf {
    things: Mutex<BTreeMap<String, Micros>>,
    here: Mutex<BTreeSet<String>>,
    after_list: Mutex<Option<Then>>,
    before_remove: Mutex<Option<Then>>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shelf")
    }
}

impl Shelf {
    fn put(&self, digest: &Digest, touched_at: Micros) {
        self.things.lock().unwrap().insert(digest.to_string(), touched_at);
    }

    /// What whoever is about to need it does.
    fn touch(&self, digest: &Digest, now: Micros) -> bool {
        match self.things.lock().unwrap().get_mut(&digest.to_string()) {
            Some(touched) => {
                *touched = now;
                true
            }
            None => false,
        }
    }

    fn has(&self, digest: &Digest) -> bool {
        self.things.lock().unwrap().contains_key(&digest.to_string())
    }
}

async fn happen(then: &Mutex<Option<Then>>) {
    let then = then.lock().unwrap().take();
    if let Some(then) = then {
        then().await;
    }
}

#[async_trait]
impl Place for Shelf {
    fn word(&self) -> &'static str {
        "shelf"
    }

    async fn list(&self) -> Result<Vec<Kept>, PlaceError> {
        let listed = self.things.lock().unwrap().clone();
        happen(&self.after_list).await;
        Ok(listed.into_iter().map(|(name, touched_at)| Kept { name, size_bytes: 1, touched_at }).collect())
    }

    async fn needed_here(&self) -> Result<BTreeSet<String>, PlaceError> {
        Ok(self.here.lock().unwrap().clone())
    }

    async fn remove(&self, name: &str, untouched_since: Micros) -> Result<bool, PlaceError> {
        happen(&self.before_remove).await;
        let mut things = self.things.lock().unwrap();
        if things.get(name).is_none_or(|touched| *touched > untouched_since) {
            return Ok(false);
        }
        things.remove(name);
        Ok(true)
    }
}

struct Host {
    world: Arc<World>,
    clock: Arc<ManualClock>,
    shelf: Arc<Shelf>,
    keeper: Housekeeping,
}

/// A host with one service on content 1 and root 2, so that the database is not empty.
async fn host() -> Host {
    let (world, clock, shelf) = (Arc::new(world().await), Arc::new(ManualClock::default()), Arc::new(Shelf::default()));
    clock.advance(1000 * HOUR);
    world.deploy("first", &digest(1), &digest(2)).await;
    let config = HousekeepingConfig {
        unused: Unused { age: Duration::from_secs(3600), count: 100, bytes: 100 },
        ..HousekeepingConfig::default()
    };
    let parts = HousekeepingParts { store: world.store.clone(), clock: clock.clone(), places: vec![shelf.clone()] };
    let keeper = Housekeeping::new(config, parts);
    Host { world, clock, shelf, keeper }
}

impl Host {
    fn put(&self, byte: u8, hours_ago: i64) {
        self.shelf.put(&digest(byte), self.clock.now() - hours_ago * HOUR);
    }

    async fn tick(&self) -> u64 {
        let Cleared { things, .. } = self.keeper.tick().await;
        things
    }
}

#[tokio::test]
async fn what_a_release_or_the_host_needs_stays_and_the_rest_goes() {
    let host = host().await;
    for byte in 1..=4 {
        host.put(byte, 100);
    }
    host.shelf.here.lock().unwrap().insert(digest(3).to_string());
    assert_eq!(host.tick().await, 1);
    assert!([1, 2, 3].iter().all(|byte| host.shelf.has(&digest(*byte))));
    assert!(!host.shelf.has(&digest(4)));
    assert_eq!(host.tick().await, 0);
}

#[tokio::test]
async fn an_upload_waits_an_hour_for_its_deploy() {
    let host = host().await;
    host.put(7, 0);
    host.clock.advance(HOUR);
    assert_eq!(host.tick().await, 0);
    host.clock.advance(1);
    assert_eq!(host.tick().await, 1);
}

#[tokio::test]
async fn a_deploy_asked_for_after_the_list_was_made_finds_its_upload() {
    let host = host().await;
    host.put(7, 100);
    let world = Arc::clone(&host.world);
    // No touch at all: the row alone speaks for it, because it is read after the list.
    *host.shelf.after_list.lock().unwrap() = Some(Box::new(move || {
        Box::pin(async move {
            world.ask("second", deploy(Content::Blob(source(&digest(7))))).await;
        })
    }));
    assert_eq!(host.tick().await, 0);
    let lease = host.world.take().await;
    assert!(host.shelf.has(&digest(7)), "while it is worked on, and when it is live");
    host.world.go_live(&lease, &digest(7), &digest(2)).await;
    assert_eq!(host.tick().await, 0);
}

#[tokio::test]
async fn a_deploy_that_comes_between_the_question_and_the_removal_keeps_its_upload() {
    let host = host().await;
    host.put(7, 100);
    let (world, shelf, now) = (Arc::clone(&host.world), Arc::clone(&host.shelf), host.clock.now());
    *host.shelf.before_remove.lock().unwrap() = Some(Box::new(move || {
        Box::pin(async move {
            assert!(shelf.touch(&digest(7), now), "it is there, and from here on it stays");
            world.ask("second", deploy(Content::Blob(source(&digest(7))))).await;
        })
    }));
    assert_eq!(host.tick().await, 0);
    assert!(host.shelf.has(&digest(7)));
    assert_eq!(host.tick().await, 0);
}

#[tokio::test]
async fn a_deploy_that_comes_after_the_removal_hears_that_it_is_gone() {
    let host = host().await;
    host.put(7, 100);
    assert_eq!(host.tick().await, 1);
    assert!(!host.shelf.touch(&digest(7), host.clock.now()), "upload it again");
    host.put(7, 0);
    assert_eq!(host.tick().await, 0);
}

#[tokio::test]
async fn a_rollback_has_its_content_as_long_as_its_release_is_kept() {
    let host = host().await;
    host.world.deploy("first", &digest(3), &digest(2)).await;
    for byte in 1..=3 {
        host.put(byte, 100);
    }
    assert_eq!(host.tick().await, 0, "both releases can run");
    let service = host.world.list_all_services(None, 1).await.unwrap()[0].id;
    host.world.spoil("DELETE FROM instance WHERE role <> 'live'").await;
    assert_eq!(host.world.forget_releases(service, &[1]).await.unwrap(), 1);
    assert_eq!(host.tick().await, 1);
    assert!(!host.shelf.has(&digest(1)) && host.shelf.has(&digest(3)));
}

#[tokio::test]
async fn an_empty_database_is_no_reason_to_throw_everything_away() {
    let host = host().await;
    host.put(1, 100);
    host.put(7, 100);
    host.world.spoil("DELETE FROM service; DELETE FROM task; DELETE FROM event").await;
    assert_eq!(host.tick().await, 0);
    assert!(host.shelf.has(&digest(1)) && host.shelf.has(&digest(7)));
}

#[tokio::test]
async fn a_store_that_is_away_leaves_everything_where_it_is() {
    let host = host().await;
    host.put(7, 100);
    host.world.store.close().await;
    assert_eq!(host.tick().await, 0);
    assert!(host.shelf.has(&digest(7)));
}

//! The worker's loop, without the work: claim until there is nothing, then sleep until a
//! notice, or until something is due. (`shipway-worker`, `worker.rs`, has the real one.)

use std::io;
use std::time::Duration;

use serde_json::json;
use shipway_model::Outcome;
use shipway_store::{Lease, LeaseTerms, Store, StoreError};
use tokio::time::sleep;

use crate::{claimant, open, say};

const SLEEP_MAX: Duration = Duration::from_secs(1);
const SLEEP_MIN: Duration = Duration::from_millis(2);

pub(crate) fn terms(heartbeat: Duration) -> LeaseTerms {
    LeaseTerms { heartbeat, deadline: Duration::from_secs(900) }
}

/// Takes the next task, however long it takes, and says when it goes to sleep.
pub(crate) async fn take(
    store: &Store,
    worker: &str,
    heartbeat: Duration,
    mut sleeps: impl FnMut(),
) -> Result<Lease, StoreError> {
    let mut notices = store.notices();
    loop {
        let seen = *notices.borrow_and_update();
        if let Some(lease) = store.claim(&claimant(worker), terms(heartbeat)).await? {
            return Ok(lease);
        }
        let pause = until_due(store, worker).await?;
        sleeps();
        let news = notices.wait_for(|now| (now.tasks, now.ended) != (seen.tasks, seen.ended));
        drop(tokio::time::timeout(pause, news).await);
    }
}

async fn until_due(store: &Store, worker: &str) -> Result<Duration, StoreError> {
    let Some(due) = store.next_due(&claimant(worker)).await? else { return Ok(SLEEP_MAX) };
    let pause = u64::try_from(due - store.now().await?).map_or(SLEEP_MIN, Duration::from_micros);
    Ok(pause.clamp(SLEEP_MIN, SLEEP_MAX))
}

/// Tasks of those who died become claimable again: as often as a worker looks.
pub(crate) async fn rescue_for_ever(store: Store, heartbeat: Duration) {
    loop {
        sleep(heartbeat / 4).await;
        // One that fails is made good by the next.
        drop(store.rescue(false).await);
    }
}

/// A process that says `asleep` and `taken`, until it is killed.
pub(crate) async fn sleep_and_take(place: &str) -> io::Result<()> {
    let store = open(place).await?;
    loop {
        let lease = take(&store, "sleeper", Duration::from_secs(20), || drop(say(&json!("asleep")))).await;
        let lease = lease.map_err(io::Error::other)?;
        say(&json!("taken"))?;
        let done = Outcome::Done { release: None, changed: true };
        store.finish(&lease, &done).await.map_err(io::Error::other)?;
    }
}

/// A process that takes one task, says so, and renews its lease until it is killed.
pub(crate) async fn hold(place: &str, lease_ms: u64) -> io::Result<()> {
    let (store, heartbeat) = (open(place).await?, Duration::from_millis(lease_ms));
    let lease = take(&store, "holder", heartbeat, || ()).await.map_err(io::Error::other)?;
    say(&json!("taken"))?;
    loop {
        sleep(heartbeat / 3).await;
        store.heartbeat(&lease, terms(heartbeat)).await.map_err(io::Error::other)?;
    }
}

//! How long the queue is, how old, who works on it: read from the store now and then, and
//! put where `/metrics` finds it.
//!
//! Every process tells the same, as it is of the whole queue: take the largest of them, not
//! their sum. Names that nothing is in are told as zero, so that a line in a graph ends.

use std::time::Duration;

use metrics::{counter, gauge};
use shipway_model::Micros;
use shipway_stdx::shutdown::Shutdown;
use shipway_store::{Store, StoreError, WorkerState};

use crate::janitor::pause;
use crate::plan::micros;

/// Between two looks; each is five small reads.
const EVERY: Duration = Duration::from_secs(5);

/// What tasks do. A kind that is not here is told as soon as there is one.
const KINDS: [&str; 7] = ["deploy", "rollback", "start", "stop", "restart", "delete", "repair"];

/// What services can be.
const SERVICE_STATES: [&str; 5] = ["starting", "live", "unhealthy", "stopped", "failed"];

/// What workers can be, beside silent.
const WORKER_STATES: [WorkerState; 4] =
    [WorkerState::Active, WorkerState::Cordoned, WorkerState::Draining, WorkerState::Leaving];

/// Tells figures of the queue.
#[derive(Debug, Clone)]
pub struct Gauges {
    store: Store,
    silent_after: Duration,
}

impl Gauges {
    /// A worker that was not heard of for `silent_after` counts as silent.
    #[must_use]
    pub const fn new(store: Store, silent_after: Duration) -> Self {
        Self { store, silent_after }
    }

    /// Looks now and then, until told to stop.
    pub async fn run(self, mut shutdown: Shutdown) {
        loop {
            self.tick().await;
            if !pause(&mut shutdown, EVERY).await {
                return;
            }
        }
    }

    /// Looks once. Without the store, what was told last stays, and `shipway_store_up` is 0.
    pub async fn tick(&self) {
        let looked = self.look().await;
        gauge!("shipway_store_up").set(if looked.is_ok() { 1.0 } else { 0.0 });
        counter!("shipway_store_stale_writes_total").absolute(self.store.stale_writes());
        if let Err(error) = looked {
            tracing::debug!(%error, "the queue cannot be counted");
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let tasks = self.store.task_counts().await?;
        gauge!("shipway_queue_due_tasks").set(whole(tasks.due));
        gauge!("shipway_queue_oldest_due_seconds").set(seconds(tasks.oldest_due_age));
        gauge!("shipway_queue_given_up_tasks").set(whole(self.store.count_given_up().await?));
        self.tell_kinds().await?;
        self.tell_services().await?;
        self.tell_workers().await
    }

    async fn tell_kinds(&self) -> Result<(), StoreError> {
        let counts = self.store.open_tasks_by_kind().await?;
        for state in ["queued", "running"] {
            let told = counts.iter().filter(|count| count.state == state).map(|count| count.kind.as_str());
            for kind in KINDS.into_iter().chain(told) {
                let found = counts.iter().find(|count| count.state == state && count.kind == kind);
                gauge!("shipway_queue_tasks", "state" => state, "kind" => kind.to_owned())
                    .set(whole(found.map_or(0, |count| count.tasks)));
            }
        }
        Ok(())
    }

    async fn tell_services(&self) -> Result<(), StoreError> {
        let counts = self.store.service_counts().await?;
        for state in SERVICE_STATES {
            let found = counts.iter().find(|count| count.state == state);
            gauge!("shipway_services", "state" => state).set(whole(found.map_or(0, |count| count.services)));
        }
        Ok(())
    }

    async fn tell_workers(&self) -> Result<(), StoreError> {
        let workers = self.store.list_workers().await?;
        let limit = micros(self.silent_after);
        let heard = || workers.iter().filter(|worker| worker.silent_for <= limit);
        for state in WORKER_STATES {
            let count = heard().filter(|worker| worker.state == state).count();
            gauge!("shipway_workers", "state" => state.word()).set(whole(count as u64));
        }
        let silent = workers.len() - heard().count();
        gauge!("shipway_workers", "state" => "silent").set(whole(silent as u64));
        let capacity: u64 = heard().map(|worker| u64::from(worker.facts.capacity)).sum();
        gauge!("shipway_workers_capacity_tasks").set(whole(capacity));
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 of them")]
const fn whole(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "to the microsecond for 285 years")]
fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1_000_000.0
}

//! A worker among others: it says that it lives, and hears whether it may take tasks.
//!
//! The store refuses claims of a worker that is not active, whatever that worker believes.
//! What is kept here only spares it the asking, and tells it when to give back what it has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shipway_preempt::{Preempted, Preemption};
use shipway_store::{StoreError, WorkerFacts, WorkerState};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::core::Core;

/// The longest between two signs of life.
const BEAT_LONGEST: Duration = Duration::from_secs(5);

/// Between two tries to reach a store that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// What a worker is, as far as it knows.
#[derive(Debug)]
pub(crate) struct Presence {
    state: watch::Sender<WorkerState>,
    /// What it has become by itself and not written yet.
    unwritten: Mutex<Option<WorkerState>>,
    news: Notify,
}

impl Default for Presence {
    fn default() -> Self {
        Self { state: watch::Sender::new(WorkerState::Active), unwritten: Mutex::default(), news: Notify::new() }
    }
}

impl Presence {
    pub(crate) fn state(&self) -> watch::Receiver<WorkerState> {
        self.state.subscribe()
    }

    /// Turns into something else by itself; the store hears of it as soon as it can.
    pub(crate) fn turn(&self, state: WorkerState) {
        *self.unwritten() = Some(state);
        self.state.send_replace(state);
        self.news.notify_one();
    }

    fn heard(&self, state: WorkerState) {
        if self.unwritten().is_none() {
            self.state.send_if_modified(|now| std::mem::replace(now, state) != state);
        }
    }

    fn unwritten(&self) -> std::sync::MutexGuard<'_, Option<WorkerState>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers, then gives signs of life until told to stop.
pub(crate) async fn keep(core: Arc<Core>, stop: CancellationToken) {
    let pause = (core.config.lease.heartbeat / 4).min(BEAT_LONGEST);
    let mut is_registered = false;
    let mut failed = false;
    loop {
        let result = beat(&core, &mut is_registered).await;
        if let Err(error) = &result
            && !failed
        {
            tracing::warn!(%error, "no sign of life could be given");
        }
        failed = result.is_err();
        let pause = if failed { AGAIN.min(pause) } else { pause };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
            () = core.presence.news.notified() => {}
        }
    }
}

async fn beat(core: &Core, is_registered: &mut bool) -> Result<(), StoreError> {
    let Core { store, presence, config, .. } = core;
    let id = &config.claimant.worker;
    if !*is_registered {
        store.register_worker(&facts(core)).await?;
        *is_registered = true;
    }
    write_own(core).await?;
    match store.beat_worker(id).await {
        Ok(state) => presence.heard(state),
        // Forgotten, because it was silent for long.
        Err(StoreError::NotFound(_)) => *is_registered = false,
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Writes what it has become by itself, if that is not written yet.
pub(crate) async fn write_own(core: &Core) -> Result<(), StoreError> {
    let unwritten = *core.presence.unwritten();
    let Some(state) = unwritten else { return Ok(()) };
    match core.store.set_worker_state(&core.config.claimant.worker, state).await {
        Ok(()) => {
            core.presence.unwritten().take_if(|now| *now == state);
            Ok(())
        }
        // It is not registered yet, or no longer; once it is, this is still to be written.
        Err(StoreError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn facts(core: &Core) -> WorkerFacts {
    let config = &core.config;
    WorkerFacts {
        id: config.claimant.worker.clone(),
        host: config.host.clone(),
        engine: config.claimant.engine.clone(),
        capacity: u32::try_from(config.concurrency).unwrap_or(u32::MAX),
        labels: config.claimant.labels.clone(),
        version: config.version.clone(),
        streams: config.streams.clone(),
    }
}

/// Waits until the machine is about to be taken away: for ever where nobody would say so.
pub(crate) async fn foreseen(preemption: &mut Option<Box<dyn Preemption>>) -> Preempted {
    match preemption {
        Some(preemption) => preemption.foreseen().await,
        None => std::future::pending().await,
    }
}

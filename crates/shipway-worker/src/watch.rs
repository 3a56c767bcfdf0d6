//! Who notices: deaths of live containers, and draining ones that have become idle.
//!
//! A watcher carries no news, it only asks for a repair, which looks for itself.
//! Watchers live in memory; a new worker sets them up again from the rows.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shipway_driver::DriverError;
use shipway_model::{ContainerId, Instance, InstanceRole, ServiceId};
use shipway_store::StoreError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::Core;

/// Between two tries to reach a driver or a store that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The watchers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    known: Mutex<Known>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Known {
    watched: BTreeSet<(ContainerId, Watch)>,
    idle: BTreeSet<ContainerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    Death,
    Idle,
}

impl Watchers {
    /// Whether a draining container is known to have answered its last request.
    pub(crate) fn is_idle(&self, container: ContainerId) -> bool {
        self.known().idle.contains(&container)
    }

    pub(crate) fn forget(&self, container: ContainerId) {
        self.known().idle.remove(&container);
    }

    /// Tells every watcher to end.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Waits until every watcher has ended.
    pub(crate) async fn join(&self) {
        self.cancel();
        self.tasks.wait().await;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Watches every instance of a service that somebody should.
    pub(crate) async fn watch(self: &Arc<Self>, service: ServiceId) {
        match self.instances(service).await {
            Ok(rows) => rows.iter().for_each(|row| self.watch_instance(row)),
            // The next comparison of everything makes up for it.
            Err(error) => tracing::warn!(service.id = %service, %error, "nothing watched"),
        }
    }

    pub(crate) fn watch_instance(self: &Arc<Self>, row: &Instance) {
        let watch = match row.role {
            InstanceRole::Candidate => return,
            InstanceRole::Live => Watch::Death,
            // A grave: what it waits for is in the queue already.
            InstanceRole::Draining if row.endpoint.is_none() && row.failures > 0 => return,
            InstanceRole::Draining => Watch::Idle,
        };
        let (watchers, key) = (&self.watchers, (row.container, watch));
        let known_idle = watch == Watch::Idle && watchers.is_idle(row.container);
        if known_idle || watchers.stop.is_cancelled() || !watchers.known().watched.insert(key) {
            return;
        }
        let (core, row) = (Arc::clone(self), row.clone());
        let stop = watchers.stop.clone();
        watchers.tasks.spawn(async move {
            let watching = async {
                match watch {
                    Watch::Death => core.until_dead(&row).await,
                    Watch::Idle => core.until_idle(&row).await,
                }
            };
            stop.run_until_cancelled(watching).await;
            core.watchers.known().watched.remove(&key);
        });
    }

    async fn until_dead(&self, row: &Instance) {
        loop {
            match self.driver.wait(row.container).await {
                Ok(_) | Err(DriverError::Unknown(_) | DriverError::NotRunning(_)) => break,
                Err(error) => {
                    tracing::warn!(container.id = %row.container, %error, "cannot wait for it");
                    sleep(AGAIN).await;
                }
            }
        }
        self.ask_repair(row.service, Some(row.container)).await;
    }

    async fn until_idle(&self, row: &Instance) {
        if let Some(endpoint) = &row.endpoint {
            self.drain.published(row.service).await;
            self.drain.idle(endpoint).await;
        }
        self.watchers.known().idle.insert(row.container);
        self.ask_repair(row.service, None).await;
    }

    /// Asks for a repair until the store has taken it; with `live`, only while that
    /// container is the live one (what a task has stopped needs no repair).
    async fn ask_repair(&self, service: ServiceId, live: Option<ContainerId>) {
        while let Err(error) = self.try_repair(service, live).await {
            match error {
                StoreError::Unavailable { .. } => sleep(AGAIN).await,
                // The service was deleted meanwhile.
                _ => return,
            }
        }
    }

    async fn try_repair(&self, service: ServiceId, live: Option<ContainerId>) -> Result<(), StoreError> {
        if let Some(container) = live {
            let rows = self.instances(service).await?;
            let is_live = |row: &Instance| row.container == container && row.role == InstanceRole::Live;
            if !rows.iter().any(is_live) {
                return Ok(());
            }
        }
        self.store.request_repair(service, Duration::ZERO).await
    }
}

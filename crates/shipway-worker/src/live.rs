//! Logs, stats and exec of what runs: what flows while a service lives and cannot
//! pass through the store. The api relays it; in one process that is a call.

mod logs;

use std::sync::Arc;

use shipway_driver::{Driver, DriverError, ExecSession, ExecSpec, Stats};
use shipway_model::{ContainerId, InstanceRole, ServiceId, Wanted};
use shipway_store::{Store, StoreError};

pub use logs::{LiveLine, LiveLines, LivePlace, LiveQuery};

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// There is no such service.
    #[error("there is no such service")]
    NotFound,
    /// It has no container now.
    #[error("the service is not running")]
    NotRunning,
    /// The driver could not.
    #[error("the container engine could not do it")]
    Driver(#[from] DriverError),
    /// The store could not be asked.
    #[error("the store could not be asked")]
    Store(#[from] StoreError),
}

/// What flows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveStreams {
    store: Store,
    driver: Arc<dyn Driver>,
}

impl LiveStreams {
    /// Of what runs on this driver.
    #[must_use]
    pub fn new(store: Store, driver: Arc<dyn Driver>) -> Self {
        Self { store, driver }
    }

    /// Says what the live container uses.
    ///
    /// # Errors
    ///
    /// [`LiveError::NotRunning`] when there is none.
    pub async fn stats(&self, service: ServiceId) -> Result<Stats, LiveError> {
        let container = self.live_one(service).await?;
        self.driver.stats(container).await.map_err(gone)
    }

    /// What of the host stands in the way of services with egress, each with its remedy.
    pub async fn obstacles(&self) -> Vec<String> {
        self.driver.obstacles().await
    }

    /// Runs another process in the live container.
    ///
    /// # Errors
    ///
    /// [`LiveError::NotRunning`] when there is none.
    pub async fn exec(&self, service: ServiceId, spec: ExecSpec) -> Result<ExecSession, LiveError> {
        let container = self.live_one(service).await?;
        self.driver.exec(container, spec).await.map_err(gone)
    }

    async fn live_one(&self, service: ServiceId) -> Result<ContainerId, LiveError> {
        if self.store.find_service_by_id(service).await?.is_none() {
            return Err(LiveError::NotFound);
        }
        let rows = self.store.list_instances(Some(service)).await?;
        let live = rows.iter().find(|row| row.role == InstanceRole::Live);
        live.map(|row| row.container).ok_or(LiveError::NotRunning)
    }

    /// Waits for the next live container; `None` when there will be none.
    async fn successor(&self, service: ServiceId, last: ContainerId) -> Option<ContainerId> {
        let mut notices = self.store.notices();
        loop {
            notices.borrow_and_update();
            let found = self.store.find_service_by_id(service).await.ok()??;
            if found.wanted == Wanted::Stopped {
                return None;
            }
            match self.live_one(service).await {
                Ok(live) if live != last => return Some(live),
                Ok(_) | Err(LiveError::NotRunning) => notices.changed().await.ok()?,
                Err(_) => return None,
            }
        }
    }
}

/// A container that ended between the look and the call is not running.
fn gone(error: DriverError) -> LiveError {
    match error {
        DriverError::Unknown(_) | DriverError::NotRunning(_) => LiveError::NotRunning,
        error => LiveError::Driver(error),
    }
}

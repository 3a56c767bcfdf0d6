//! Ending containers: at once, or after their last request.

use std::time::Duration;

use shipway_driver::DriverError;
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, InstanceRole, ServiceId};
use shipway_store::StoreError;
use tokio::time::timeout;

use crate::core::Core;
use crate::job::Job;
use crate::trouble::Trouble;

impl Core {
    /// Kills a container and removes it. One that is gone already is fine.
    pub(crate) async fn destroy(&self, container: ContainerId) -> Result<(), DriverError> {
        self.stop_and_remove(container, Duration::ZERO).await
    }

    /// Kills a container and keeps it, log and all.
    pub(crate) async fn halt(&self, container: ContainerId) -> Result<(), DriverError> {
        self.stop(container, Duration::ZERO).await
    }

    async fn stop(&self, container: ContainerId, grace: Duration) -> Result<(), DriverError> {
        match self.driver.stop(container, grace).await {
            Ok(_) | Err(DriverError::NotRunning(_) | DriverError::Unknown(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn stop_and_remove(&self, container: ContainerId, grace: Duration) -> Result<(), DriverError> {
        self.stop(container, grace).await?;
        match self.driver.remove(container).await {
            Err(DriverError::Unknown(_)) => Ok(()),
            removed => removed,
        }
    }

    /// Waits, at most `limit`, until an instance that gets no new visitor has
    /// answered its last one.
    async fn let_finish(&self, service: ServiceId, endpoint: &Endpoint, limit: Duration) {
        let idle = async {
            self.drain.published(service).await;
            self.drain.idle(endpoint).await;
        };
        if timeout(limit, idle).await.is_err() {
            tracing::info!(service.id = %service, "stopped before its last request was answered");
        }
    }
}

impl Job {
    /// Kills a container that serves nobody, removes it and forgets its row.
    pub(crate) async fn discard(&self, container: ContainerId) -> Result<(), Trouble> {
        self.core.destroy(container).await?;
        self.forget(container).await
    }

    /// Lets a draining container finish, asks it to stop, removes it, forgets its row.
    pub(crate) async fn drain(&self, container: ContainerId, endpoint: Option<&Endpoint>) -> Result<(), Trouble> {
        let core = &self.core;
        if let Some(endpoint) = endpoint
            && !core.watchers.is_idle(container)
        {
            core.let_finish(self.service_id(), endpoint, core.config.stop_drain).await;
        }
        core.stop_and_remove(container, core.config.stop_grace).await?;
        self.forget(container).await
    }

    /// Removes what an attempt before this one has left: every change of a service
    /// starts with it.
    pub(crate) async fn discard_candidates(&self) -> Result<(), Trouble> {
        for row in self.core.instances(self.service_id()).await? {
            if row.role == InstanceRole::Candidate {
                self.discard(row.container).await?;
            }
        }
        Ok(())
    }

    async fn forget(&self, container: ContainerId) -> Result<(), Trouble> {
        let removed = self.core.store.remove_instance(&self.lease, container).await;
        self.core.watchers.forget(container);
        match removed {
            Ok(()) | Err(StoreError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

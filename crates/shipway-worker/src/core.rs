//! The parts that every task works with.

use std::sync::Arc;

use shipway_driver::Driver;
use shipway_fetch::{Blobs, Fetcher};
use shipway_model::{ContainerId, Instance, Micros, Service, ServiceId};
use shipway_plan::{Seen, Sight, World};
use shipway_stdx::clock::Clock;
use shipway_store::{Store, StoreError};
use uuid::Uuid;

use crate::build::Farming;
use crate::presence::Presence;
use crate::supply::Trees;
use crate::trouble::Trouble;
use crate::watch::Watchers;
use crate::{Drain, WorkerConfig};

/// Shared by all tasks of one worker.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: WorkerConfig,
    pub(crate) store: Store,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) fetcher: Fetcher,
    pub(crate) blobs: Blobs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) drain: Arc<dyn Drain>,
    pub(crate) trees: Arc<dyn Trees>,
    pub(crate) farming: Option<Farming>,
    pub(crate) presence: Presence,
    pub(crate) watchers: Watchers,
}

impl Core {
    /// A container id that nobody had before.
    pub(crate) fn fresh_container() -> ContainerId {
        ContainerId(Uuid::new_v4())
    }

    /// Puts together what the planner looks at.
    pub(crate) async fn world(&self, service: &Service, rows: Vec<Instance>) -> Result<World, Trouble> {
        let mut instances = Vec::with_capacity(rows.len());
        for instance in rows {
            let mut seen = self.see(instance.container).await?;
            if let (Seen::Running { endpoint: Some(place) }, Some(known)) = (&mut seen, &instance.endpoint) {
                // The engine knows the place, and the row what is spoken there.
                *place = place.clone().speaking(known.protocol());
            }
            let idle = self.watchers.is_idle(instance.container);
            instances.push(Sight { instance, seen, idle });
        }
        Ok(World { now: self.now(), wanted: service.wanted, state: service.state.clone(), instances })
    }

    pub(crate) async fn see(&self, container: ContainerId) -> Result<Seen, Trouble> {
        use shipway_driver::{DriverError, Phase};
        let seen = match self.driver.inspect(container).await {
            Ok(seen) => seen,
            Err(DriverError::Unknown(_)) => return Ok(Seen::Absent),
            Err(error) => return Err(error.into()),
        };
        Ok(match seen.phase {
            Phase::Created => Seen::Created,
            Phase::Running => Seen::Running { endpoint: self.driver.endpoint(container).await.ok() },
            Phase::Exited(exit) => Seen::Ended { how: exit.words(), at: exit.ended_at },
        })
    }

    pub(crate) async fn instances(&self, service: ServiceId) -> Result<Vec<Instance>, StoreError> {
        self.store.list_instances(Some(service)).await
    }

    pub(crate) fn now(&self) -> Micros {
        self.clock.now()
    }
}

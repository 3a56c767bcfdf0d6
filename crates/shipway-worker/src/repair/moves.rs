//! The planner's moves, one function each. Each can be made twice.

use shipway_driver::Phase;
use shipway_model::{ContainerId, EventKind, Instance, InstanceRole, ServiceState};
use shipway_plan::{Move, World};

use crate::job::Job;
use crate::launch::{Launch, log_tail};
use crate::measure;
use crate::trouble::Trouble;

impl Job {
    pub(super) async fn make(&self, world: &World, one: &Move) -> Result<(), Trouble> {
        match one {
            Move::MarkStopped { release } => {
                let release = Some(*release);
                self.mark(ServiceState::Stopped { release }).await
            }
            Move::MarkLive { release } => self.mark(ServiceState::Live { release: *release }).await,
            Move::MarkUnhealthy { container, release, failures } => {
                self.mark_unhealthy(*container, *release, *failures).await
            }
            Move::Discard { container } => self.discard(*container).await,
            Move::Drain { container } => {
                let row = row(world, *container);
                self.drain(*container, row.endpoint.as_ref()).await
            }
            Move::Retire { container } => {
                let role = InstanceRole::Draining;
                self.put(Instance { role, ..row(world, *container).clone() }).await
            }
            Move::Bury { container, how, failures, .. } => self.bury(row(world, *container), how, *failures).await,
            Move::Revive { release, failures } => self.revive(*release, *failures).await,
            Move::Adopt { container, endpoint } => {
                let endpoint = Some(endpoint.clone());
                self.put(Instance { endpoint, ..row(world, *container).clone() }).await
            }
            Move::Forgive { container } => self.put(Instance { failures: 0, ..row(world, *container).clone() }).await,
            Move::Wait { .. } => Ok(()),
        }
    }

    async fn mark(&self, state: ServiceState) -> Result<(), Trouble> {
        let store = &self.core.store;
        store.set_service_state(&self.lease, state, None).await?;
        Ok(())
    }

    async fn put(&self, instance: Instance) -> Result<(), Trouble> {
        Ok(self.core.store.put_instance(&self.lease, &instance).await?)
    }

    /// Tells the death, then makes the row a grave. Killed in between, it is told
    /// twice rather than never.
    async fn bury(&self, dead: &Instance, how: &str, failures: u32) -> Result<(), Trouble> {
        let event = EventKind::ContainerDied { release: dead.release, exit: how.to_owned(), failures };
        self.core.store.append_event(&self.lease, &event).await?;
        self.note_death(dead.container, how);
        self.put(Instance { role: InstanceRole::Draining, endpoint: None, failures, ..dead.clone() }).await
    }

    /// The state's reason is what a user reads first: how often, how, and the log.
    async fn mark_unhealthy(&self, container: ContainerId, release: u32, failures: u32) -> Result<(), Trouble> {
        let mut reason = format!("its container died {failures} times in a row");
        if let Some(how) = self.how_it_died(container).await {
            reason = format!("{reason}: {how}");
        }
        let tail = log_tail(self.core.driver.as_ref(), container).await;
        if !tail.is_empty() {
            reason = format!("{reason}; its last log lines:\n{}", tail.join("\n"));
        }
        self.mark(ServiceState::Unhealthy { release, reason }).await
    }

    async fn how_it_died(&self, container: ContainerId) -> Option<String> {
        if let told @ Some(_) = self.words_of(container) {
            return told;
        }
        match self.core.driver.inspect(container).await.ok()?.phase {
            Phase::Exited(exit) => Some(exit.words()),
            Phase::Created | Phase::Running => None,
        }
    }

    /// A release that does not come back has died once more.
    async fn revive(&self, number: u32, failures: u32) -> Result<(), Trouble> {
        let release = match self.release_to_run(number).await {
            Err(Trouble::Failed(failure)) => {
                // Its content is gone; no restart will help.
                let reason = failure.detail.clone();
                let release = number;
                self.mark(ServiceState::Unhealthy { release, reason }).await?;
                return Err(Trouble::Failed(failure));
            }
            found => found?,
        };
        match self.launch(&release, failures).await? {
            Launch::Ready(instance) => {
                let role = InstanceRole::Live;
                self.put(Instance { role, ..instance }).await?;
                measure::restart();
                let event = EventKind::ContainerRestarted { release: number };
                Ok(self.core.store.append_event(&self.lease, &event).await?)
            }
            Launch::NotReady { instance, saw, .. } => {
                self.core.halt(instance.container).await?;
                self.bury(&instance, &saw, failures.saturating_add(1)).await
            }
        }
    }
}

fn row(world: &World, container: ContainerId) -> &Instance {
    world
        .instances
        .iter()
        .map(|sight| &sight.instance)
        .find(|instance| instance.container == container)
        .expect("the planner names instances of the world it was shown")
}

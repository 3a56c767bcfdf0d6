//! Stop and delete: the route goes first, then the containers.

use shipway_model::{Outcome, ServiceState, Wanted};

use super::unchanged;
use crate::job::{Ended, Job};
use crate::repair;
use crate::trouble::Trouble;

pub(super) async fn stop(job: &Job) -> Result<Ended, Trouble> {
    let service = job.service().await?;
    let was_stopped = matches!(service.state, ServiceState::Stopped { .. });
    let changed = job.stop_everything(None).await?;
    if was_stopped && !changed {
        return Ok(unchanged(None));
    }
    Ok(Ended::With(Outcome::Done { release: None, changed: true }))
}

pub(super) async fn delete(job: &Job) -> Result<Ended, Trouble> {
    job.stop_everything(Some(Wanted::Stopped)).await?;
    job.core.store.delete_service(&job.lease).await?;
    Ok(Ended::Already)
}

impl Job {
    /// Visitors are turned away, then every container ends. Returns whether one had to.
    ///
    /// That the service is stopped is enough for the planner, whatever was asked for
    /// meanwhile: the task that starts it again comes after this one.
    async fn stop_everything(&self, wanted: Option<Wanted>) -> Result<bool, Trouble> {
        let store = &self.core.store;
        let live = store.find_live_release(self.service_id()).await?;
        let release = live.map(|release| release.number);
        store.set_service_state(&self.lease, ServiceState::Stopped { release }, wanted).await?;
        repair::settle(self).await
    }
}

//! How a task ends: done, failed, or given back for another attempt.

use std::time::Duration;

use shipway_model::task::Failure;
use shipway_model::{Outcome, ReleaseState, ServiceState};
use shipway_store::{Lease, StoreError};

use crate::core::Core;
use crate::job::{Ended, Job};
use crate::measure::Left;
use crate::trouble::Trouble;

impl Core {
    /// Gives a task back, to be claimed again after `delay`.
    pub(crate) async fn give_back(&self, lease: &Lease, delay: Duration, charge: bool) -> Left {
        written(lease, self.store.give_back(lease, delay, charge).await, Left::GivenBack)
    }

    /// The wait before the next attempt, up to a quarter longer so that tasks that
    /// failed together do not come back together.
    pub(crate) fn pause(&self, lease: &Lease) -> Duration {
        let wait = self.config.retry.wait_after(lease.task.attempt);
        let dice = u32::from(lease.task.id.0.as_bytes()[0]);
        wait + wait * dice / 1024
    }
}

/// How a task was left whose end was to be written.
pub(crate) fn written(lease: &Lease, result: Result<(), StoreError>, left: Left) -> Left {
    match result {
        Ok(()) => left,
        Err(error) => {
            // The lease will run out, and the task be claimed again: every task
            // can be run twice.
            tracing::warn!(task.id = %lease.task.id, %error, "a task's end was not written");
            Left::Lost
        }
    }
}

impl Job {
    /// Ends the task as `result` says.
    pub(crate) async fn conclude(&self, result: Result<Ended, Trouble>) -> Left {
        let task = &self.lease.task;
        match result {
            Ok(Ended::Already) => Left::Done,
            Ok(Ended::With(outcome)) => {
                written(&self.lease, self.core.store.finish(&self.lease, &outcome).await, Left::Done)
            }
            Err(Trouble::Later(failure)) if task.attempt < self.core.config.attempts_max => {
                tracing::warn!(task.id = %task.id, attempt = task.attempt, reason = %failure.detail, "trying again");
                self.core.give_back(&self.lease, self.core.pause(&self.lease), true).await
            }
            Err(Trouble::Failed(failure) | Trouble::Later(failure)) => {
                tracing::info!(task.id = %task.id, code = failure.code.word(), reason = %failure.detail, "task failed");
                written(&self.lease, self.fail(&failure).await, Left::Failed)
            }
            Err(Trouble::Stale) => Left::Lost,
        }
    }

    async fn fail(&self, failure: &Failure) -> Result<(), StoreError> {
        if let Err(error) = self.discard_candidates().await {
            tracing::warn!(task.id = %self.lease.task.id, %error, "a candidate stays for now");
        }
        let store = &self.core.store;
        self.leave_starting(failure).await?;
        if let Some(release) = self.unfinished_release().await? {
            return store.fail_release(&self.lease, release, failure).await;
        }
        let outcome = Outcome::Failed(failure.clone());
        store.finish(&self.lease, &outcome).await
    }

    /// The release that this deploy, or an attempt before it, has made in vain.
    async fn unfinished_release(&self) -> Result<Option<u32>, StoreError> {
        let store = &self.core.store;
        let newest = store.list_releases(self.service_id(), None, 1).await?;
        let unfinished = newest.first().filter(|release| release.state == ReleaseState::Starting);
        Ok(unfinished.map(|release| release.number))
    }

    /// A service that did not come back is stopped, as before; one that has nothing
    /// to come back to has failed, and says why.
    async fn leave_starting(&self, failure: &Failure) -> Result<(), StoreError> {
        let store = &self.core.store;
        let Some(service) = store.find_service_by_id(self.service_id()).await? else {
            return Ok(());
        };
        let live = store.find_live_release(service.id).await?;
        let state = match (&service.state, live) {
            (ServiceState::Starting, Some(release)) => ServiceState::Stopped { release: Some(release.number) },
            (ServiceState::Starting | ServiceState::Failed { .. }, None) => {
                ServiceState::Failed { reason: failure.detail.clone() }
            }
            _ => return Ok(()),
        };
        store.set_service_state(&self.lease, state, None).await?;
        Ok(())
    }
}

//! Making a release live behind the health gate: rollback, start, restart, and the
//! second half of a deploy.

use shipway_model::task::Failure;
use shipway_model::{Egress, FailureCode, Outcome, Release, ReleaseState, ServiceState};

use super::unchanged;
use crate::job::{Ended, Job};
use crate::launch::Launch;
use crate::trouble::{Trouble, failure};

/// Launches `release` and publishes it; what was live drains. If it does not become
/// ready, nothing has changed.
pub(super) async fn go_live(job: &Job, release: &Release) -> Result<Ended, Trouble> {
    job.leave_stopped().await?;
    match job.launch(release, 0).await? {
        Launch::Ready(instance) => {
            let outcome = Outcome::Done { release: Some(release.number), changed: true };
            let store = &job.core.store;
            store.publish(&job.lease, release.number, instance.container, &outcome).await?;
            Ok(Ended::Already)
        }
        // Its container is discarded where every failed change ends.
        Launch::NotReady { saw, log_tail, .. } => {
            let detail = format!("release {} did not become ready: {saw}", release.number);
            let hint = obstacles(job, release).await;
            Err(Trouble::Failed(Box::new(Failure { log_tail, hint, ..failure(FailureCode::ReleaseNotReady, detail) })))
        }
    }
}

/// What of the host may have kept a release from the internet that it was to reach.
async fn obstacles(job: &Job, release: &Release) -> Option<String> {
    if release.spec.egress == Egress::None {
        return None;
    }
    let all = job.core.driver.obstacles().await;
    (!all.is_empty()).then(|| format!("it may not reach the internet: {}", all.join("; ")))
}

pub(super) async fn roll_back(job: &Job, number: u32) -> Result<Ended, Trouble> {
    let service = job.service().await?;
    job.discard_candidates().await?;
    let release = job.release_to_run(number).await?;
    if service.state.live_release() == Some(number) && job.runs(number).await? {
        return Ok(unchanged(Some(number)));
    }
    go_live(job, &release).await
}

pub(super) async fn start(job: &Job) -> Result<Ended, Trouble> {
    job.discard_candidates().await?;
    let number = job.release_to_start().await?;
    let service = job.service().await?;
    if service.state.live_release() == Some(number) && job.runs(number).await? {
        return Ok(unchanged(Some(number)));
    }
    go_live(job, &job.release_to_run(number).await?).await
}

/// A stopped service is started.
pub(super) async fn restart(job: &Job) -> Result<Ended, Trouble> {
    job.discard_candidates().await?;
    let number = job.release_to_start().await?;
    go_live(job, &job.release_to_run(number).await?).await
}

impl Job {
    async fn release_to_start(&self) -> Result<u32, Trouble> {
        let live = self.core.store.find_live_release(self.service_id()).await?;
        live.map(|release| release.number).ok_or_else(|| {
            Trouble::failed(FailureCode::NothingToStart, "no release of this service has ever been live")
        })
    }

    /// A service that was stopped is coming back.
    async fn leave_stopped(&self) -> Result<(), Trouble> {
        let service = self.service().await?;
        if let ServiceState::Stopped { .. } = service.state {
            let store = &self.core.store;
            store.set_service_state(&self.lease, ServiceState::Starting, None).await?;
        }
        Ok(())
    }

    /// A release that can be run again without a download.
    pub(crate) async fn release_to_run(&self, number: u32) -> Result<Release, Trouble> {
        let missing = |detail: String| Err(Trouble::failed(FailureCode::NoSuchRelease, detail));
        let found = self.core.store.find_release(self.service_id(), number).await?;
        match found {
            None => missing(format!("there is no release {number}")),
            Some(Release { state: ReleaseState::Failed { .. }, .. }) => {
                missing(format!("release {number} has never been live"))
            }
            Some(release) => match release.spec.source() {
                Some(source) if !self.core.has_content(source).await? => {
                    missing(format!("the content of release {number} is gone"))
                }
                _ => Ok(release),
            },
        }
    }
}

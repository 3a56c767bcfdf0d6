//! What each kind of task does.
//!
//! Every change starts by discarding the candidates of an attempt before it, looks
//! at what is, and does what is missing. The last step of a change that makes a
//! release live is one transaction of the store, which also ends the task.

mod deploy;
mod power;
mod swap;

use shipway_model::{FailureCode, InstanceRole, Outcome, TaskPayload};

use crate::job::{Ended, Job};
use crate::repair;
use crate::trouble::Trouble;

/// Does what the task says.
pub(crate) async fn carry_out(job: &Job) -> Result<Ended, Trouble> {
    match &job.lease.task.payload {
        TaskPayload::Deploy(wish) => deploy::deploy(job, wish).await,
        TaskPayload::Rollback { release } => swap::roll_back(job, *release).await,
        TaskPayload::Start => swap::start(job).await,
        TaskPayload::Restart => swap::restart(job).await,
        TaskPayload::Stop => power::stop(job).await,
        TaskPayload::Delete => power::delete(job).await,
        TaskPayload::Repair => repair::repair(job).await,
        TaskPayload::Build => Err(Trouble::failed(FailureCode::Internal, "a build is no change of a service")),
    }
}

/// Nothing had to be done.
const fn unchanged(release: Option<u32>) -> Ended {
    Ended::With(Outcome::Done { release, changed: false })
}

impl Job {
    /// Whether the live instance is of this release, and runs.
    async fn runs(&self, release: u32) -> Result<bool, Trouble> {
        let rows = self.core.instances(self.service_id()).await?;
        let live = rows.iter().find(|row| row.role == InstanceRole::Live && row.release == release);
        let Some(live) = live else {
            return Ok(false);
        };
        let seen = self.core.see(live.container).await?;
        Ok(matches!(seen, shipway_plan::Seen::Running { .. }))
    }
}

//! Repair: what is, made to match what is wanted.
//!
//! The planner looks and names moves; here they are carried out, and then it looks
//! again, until it is content or wants to wait.

mod moves;

use std::time::Duration;

use shipway_model::{FailureCode, Micros, Outcome};
use shipway_plan::{Move, World, next_moves};
use shipway_store::StoreError;

use crate::job::{Ended, Job};
use crate::trouble::Trouble;

/// No world needs more looks; one that does is met again later, not for ever now.
const LOOKS_MAX: usize = 16;

pub(crate) async fn repair(job: &Job) -> Result<Ended, Trouble> {
    let found = job.core.store.find_service_by_id(job.service_id()).await?;
    if found.is_none() {
        return Ok(Ended::With(Outcome::Done { release: None, changed: false }));
    }
    let changed = settle(job).await?;
    Ok(Ended::With(Outcome::Done { release: job.service().await?.state.live_release(), changed }))
}

/// Makes moves until none is due. Returns whether one was.
pub(crate) async fn settle(job: &Job) -> Result<bool, Trouble> {
    let mut changed = false;
    for _ in 0..LOOKS_MAX {
        let world = job.look().await?;
        let mut acted = false;
        for one in next_moves(&world, &job.core.config.policy) {
            if let Move::Wait { until } = one {
                job.come_back(until).await?;
            } else {
                tracing::debug!(service.id = %job.service_id(), ?one, "move");
                job.make(&world, &one).await?;
                acted = true;
            }
        }
        if !acted {
            return Ok(changed);
        }
        changed = true;
    }
    Err(Trouble::later(FailureCode::Internal, format!("the service did not settle in {LOOKS_MAX} looks")))
}

impl Job {
    async fn look(&self) -> Result<World, Trouble> {
        let service = self.service().await?;
        let rows = self.core.instances(service.id).await?;
        self.core.world(&service, rows).await
    }

    async fn come_back(&self, until: Micros) -> Result<(), StoreError> {
        let delay = Duration::from_micros(until.abs_diff(self.core.now()));
        self.core.store.request_repair(self.service_id(), delay).await
    }
}

//! A claimed task, of either sort, on its way to its end.

use std::sync::Arc;

use shipway_model::Subject;
use shipway_store::Lease;
use tokio_util::sync::CancellationToken;

use crate::build::BuildJob;
use crate::core::Core;
use crate::job::Job;

/// What a claimed task is about.
#[derive(Debug)]
pub(crate) enum Work {
    /// A change of a service.
    Change(Job),
    /// A build.
    Build(BuildJob),
}

impl Work {
    pub(crate) fn new(core: Arc<Core>, lease: Lease) -> Self {
        match lease.task.subject {
            Subject::Service(service) => Self::Change(Job::new(core, lease, service)),
            Subject::Build(build) => Self::Build(BuildJob::new(core, lease, build)),
        }
    }

    /// Works on the task until it has ended, was given back or lost.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        match self {
            Self::Change(job) => job.run(stop).await,
            Self::Build(job) => job.run(stop).await,
        }
    }
}

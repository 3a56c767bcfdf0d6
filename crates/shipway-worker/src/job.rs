//! One change of a service under its lease, from claim to end.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use shipway_model::{ContainerId, FailureCode, InstanceRole, Outcome, Service, ServiceId, TaskPayload};
use shipway_store::Lease;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::measure::{self, Left};
use crate::trouble::Trouble;
use crate::{change, lease};

/// A claimed task whose subject is a service.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) core: Arc<Core>,
    pub(crate) lease: Lease,
    service: ServiceId,
    /// Containers started under this lease; ended if the lease is lost.
    started: Mutex<Vec<ContainerId>>,
    /// The last death met under this lease, in words. Only words: a rerun asks the
    /// driver, which knows less (a container that never became ready was killed).
    last_words: Mutex<Option<(ContainerId, String)>>,
}

/// How a task's work came out well.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The store has ended the task in the same transaction as its effect.
    Already,
    /// The task is to be ended with this.
    With(Outcome),
}

impl Job {
    pub(crate) const fn new(core: Arc<Core>, lease: Lease, service: ServiceId) -> Self {
        Self { core, lease, service, started: Mutex::new(Vec::new()), last_words: Mutex::new(None) }
    }

    /// Works on the task until it has ended, was given back or lost.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let begun = Instant::now();
        let payload = &self.lease.task.payload;
        let kind = payload.kind();
        let left = tokio::select! {
            biased;
            left = self.work() => left,
            () = stop.cancelled() => self.hand_over().await,
        };
        measure::task(kind, left);
        if let TaskPayload::Deploy(_) = payload {
            measure::deploy(begun.elapsed(), left);
        }
        let (task, token) = (self.lease.task.id, self.lease.token);
        tracing::debug!(task.id = %task, lease.token = token, service.id = %self.service_id(), kind, ?left, "task left");
        self.core.watch(self.service_id()).await;
    }

    async fn work(&self) -> Left {
        let terms = self.core.config.lease;
        let work = AssertUnwindSafe(self.carry_out()).catch_unwind();
        let left = match lease::hold(&self.core.store, &self.lease, terms, work).await {
            Some(Ok(left)) => left,
            Some(Err(_panic)) => {
                let bug = Trouble::failed(FailureCode::Internal, "the worker met a bug of its own");
                self.conclude(Err(bug)).await
            }
            None => Left::Lost,
        };
        if matches!(left, Left::Lost) {
            tracing::warn!(task.id = %self.lease.task.id, "the lease was lost");
            self.end_unpublished().await;
        }
        left
    }

    async fn carry_out(&self) -> Left {
        let result = change::carry_out(self).await;
        self.conclude(result).await
    }

    /// The worker is stopping: the next one goes on at once, and nobody is charged.
    async fn hand_over(&self) -> Left {
        // In this order: a publish that was cut off here is committed or rolled back
        // before the store takes the next write, so what is read after it is true.
        let left = self.core.give_back(&self.lease, Duration::ZERO, false).await;
        self.end_unpublished().await;
        left
    }

    /// Ends what was started under this lease, unless it was published meanwhile.
    async fn end_unpublished(&self) {
        let started: Vec<ContainerId> = lock(&self.started).drain(..).collect();
        if started.is_empty() {
            return;
        }
        let Ok(rows) = self.core.instances(self.service_id()).await else {
            // Whoever claims the task next discards its candidates first.
            return;
        };
        for container in started {
            let published = rows.iter().any(|row| row.container == container && row.role != InstanceRole::Candidate);
            if !published && let Err(error) = self.core.destroy(container).await {
                tracing::warn!(container.id = %container, %error, "a candidate stays for now");
            }
        }
    }

    pub(crate) fn note_started(&self, container: ContainerId) {
        lock(&self.started).push(container);
    }

    pub(crate) fn note_death(&self, container: ContainerId, how: &str) {
        *lock(&self.last_words) = Some((container, how.to_owned()));
    }

    pub(crate) fn words_of(&self, container: ContainerId) -> Option<String> {
        let last = lock(&self.last_words);
        last.as_ref().filter(|(dead, _)| *dead == container).map(|(_, how)| how.clone())
    }

    pub(crate) const fn service_id(&self) -> ServiceId {
        self.service
    }

    /// The task's service, as it is now.
    pub(crate) async fn service(&self) -> Result<Service, Trouble> {
        let found = self.core.store.find_service_by_id(self.service_id()).await?;
        found.ok_or_else(|| Trouble::failed(FailureCode::Internal, "the service is gone"))
    }
}

/// What is kept here is whole after every write, so a panic elsewhere spoils nothing.
fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

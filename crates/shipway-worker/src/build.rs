//! One build under its lease: planned, made in the sandbox, signed, kept, published.
//!
//! ```text
//! begin ──► plan ──► farm ──► file ──► signatures and papers ──► place of artifacts ──► publish
//! ```
//!
//! Only the last step is seen by anybody, and it is one transaction under the lease: a worker
//! that was killed, or has lost its lease, leaves at most bytes under a digest that nobody
//! asks for. Whoever goes on begins from the beginning.

mod farming;
mod papers;
mod patience;
mod plugins;
mod scraps;
mod telling;
mod trouble;
mod warmer;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use shipway_artifacts::Stored;
use shipway_gobuild::buildinfo::BuildInfo;
use shipway_gobuild::{Plan, Spec};
use shipway_model::{Build, BuildId, FailureCode, Made, Micros, Outcome};
use shipway_stdx::shutdown;
use shipway_store::Lease;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::ending::written;
use crate::lease;
use crate::measure::{self, Left};
use crate::trouble::Trouble;
use farming::Seat;
pub use farming::{Farming, Seats};
pub(crate) use warmer::keep_warm;
pub use warmer::{Warm, Warmer};

/// Events that wait to be written; then the build waits.
const EVENTS_WAITING: usize = 1024;

/// A claimed task whose subject is a build.
#[derive(Debug)]
pub(crate) struct BuildJob {
    core: Arc<Core>,
    lease: Lease,
    build: BuildId,
    _seat: Option<Seat>,
}

/// A binary that was made, where it is now.
struct Binary<'a> {
    file: &'a Path,
    stored: Stored,
    /// What it was made of, if it says so.
    info: Option<&'a BuildInfo>,
    began_at: Micros,
}

impl BuildJob {
    pub(crate) fn new(core: Arc<Core>, lease: Lease, build: BuildId) -> Self {
        let seat = core.farming.as_ref().map(Farming::seat);
        Self { core, lease, build, _seat: seat }
    }

    /// Works on the build until it has ended, was given back or lost.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let left = tokio::select! {
            biased;
            left = self.work() => left,
            () = stop.cancelled() => self.core.give_back(&self.lease, Duration::ZERO, false).await,
        };
        measure::task(self.lease.task.payload.kind(), left);
        let (task, token) = (self.lease.task.id, self.lease.token);
        tracing::info!(build.id = %self.build, task.id = %task, lease.token = token, ?left, "build left");
    }

    async fn work(&self) -> Left {
        let work = AssertUnwindSafe(self.carry_out()).catch_unwind();
        match lease::hold(&self.core.store, &self.lease, self.core.config.lease, work).await {
            Some(Ok(left)) => left,
            Some(Err(_panic)) => {
                let bug = Trouble::failed(FailureCode::Internal, "the worker met a bug of its own");
                self.conclude(bug).await
            }
            None => {
                tracing::warn!(build.id = %self.build, "the lease was lost; the build is stopped");
                Left::Lost
            }
        }
    }

    async fn carry_out(&self) -> Left {
        match self.make().await {
            Ok(()) => Left::Done,
            Err(trouble) => self.conclude(trouble).await,
        }
    }

    async fn conclude(&self, trouble: Trouble) -> Left {
        let (core, task) = (&self.core, &self.lease.task);
        match trouble {
            Trouble::Later(failure) if task.attempt < core.config.attempts_max => {
                tracing::warn!(build.id = %self.build, attempt = task.attempt, reason = %failure.detail, "trying again");
                core.give_back(&self.lease, core.pause(&self.lease), true).await
            }
            Trouble::Failed(failure) | Trouble::Later(failure) => {
                tracing::info!(build.id = %self.build, code = failure.code.word(), reason = %failure.detail, "build failed");
                let failed = Outcome::Failed(*failure);
                written(&self.lease, core.store.finish(&self.lease, &failed).await, Left::Failed)
            }
            Trouble::Stale => Left::Lost,
        }
    }

    async fn make(&self) -> Result<(), Trouble> {
        let none = || Trouble::later(FailureCode::EngineUnavailable, "this worker makes no builds");
        let farming = self.core.farming.as_ref().ok_or_else(none)?;
        let worker = &self.core.config.claimant.worker;
        let build = self.core.store.begin_build(&self.lease, worker, farming.limit).await?;
        let spec = farming.spec(&build)?;
        let plan = Plan::make(&spec.recipe, &spec.resolved, &farming.settings);
        let file = farming.file(&build)?;
        let _goes = scraps::Binary(&file);
        self.make_file(farming, &build, &spec, &plan, &file).await
    }

    async fn make_file(
        &self,
        farming: &Farming,
        build: &Build,
        spec: &Spec,
        plan: &Plan,
        file: &Path,
    ) -> Result<(), Trouble> {
        let began_at = self.core.now();
        let cache = farming.caches.present(&spec.go).await;
        let was_cold = cache.is_none();
        let (events, heard) = mpsc::channel(EVENTS_WAITING);
        // Whoever stops waiting for the build drops it, and that ends it.
        let (_keep, never) = shutdown::channel();
        let building = farming.farm.build(plan, cache, file, events, never);
        let (built, ()) = tokio::join!(building, telling::tell(&self.core.store, &self.lease, heard));
        let built = built?;
        let info = built.build_info.as_deref().and_then(|text| BuildInfo::parse(text).ok());
        if let Some(difference) = info.as_ref().and_then(|info| info.difference(&spec.resolved)) {
            // It would be another program under this key.
            return Err(Trouble::failed(FailureCode::BuildUnusable, difference));
        }
        plugins::check(farming, spec).await?;
        let stored = self.keep(farming, file).await?;
        let binary = Binary { file, stored, info: info.as_ref(), began_at };
        let made = self.made(farming, build, spec, plan, &binary).await?;
        self.publish(&made).await?;
        if was_cold {
            farming.warm_soon(spec);
        }
        Ok(())
    }

    async fn made(
        &self,
        farming: &Farming,
        build: &Build,
        spec: &Spec,
        plan: &Plan,
        binary: &Binary<'_>,
    ) -> Result<Made, Trouble> {
        let Stored { digest, size_bytes, chunks } = binary.stored.clone();
        let signatures = farming.signers.sign(binary.file, &plan.file_name, &binary.stored).await?;
        let documents = papers::all(farming, build, spec, binary, signatures, self.core.now());
        Ok(Made { digest, size_bytes, file_name: plan.file_name.clone(), chunks: Some(chunks), documents })
    }
}

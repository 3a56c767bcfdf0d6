//! A build from begin to end.
//!
//! One bench, the plan's steps in their order, the binary copied out before anybody runs it,
//! everything cleared away: on success, on failure, when somebody stops it, and when whoever asked goes away
//! in the middle (the bench is dropped then, which does the same in the background).

mod step;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shipway_gobuild::plan::{Layout, Plan};
use shipway_gobuild::proxy::Proxies;
use shipway_gobuild::{Phase, Step, StepName};
use shipway_model::Digest;
use shipway_stdx::clock::Clock;
use shipway_stdx::shutdown::Shutdown;
use tokio::sync::mpsc;

use crate::door::{Budget, DoorLimits, Upstream};
use crate::event::BuildEvent;
use crate::failure::{Failure, FailureKind};
use crate::sandbox::{Bench, BenchOrder, Sandbox};
use step::Work;

/// What a farm builds with.
#[derive(Debug, Clone)]
pub struct FarmConfig {
    /// The Go toolchain on this host; `bin/go` is in it.
    pub toolchain: PathBuf,
    /// Where things are inside; the plans' own.
    pub layout: Layout,
    /// Whom the download phase asks, through the door.
    pub proxies: Proxies,
    /// The checksum database itself (a list of its own URL alone), asked through the door where
    /// none of the proxies passes it on; `None`, and it is reached through proxies only.
    pub checksums: Option<Proxies>,
    /// Bounds of a build.
    pub limits: FarmLimits,
}

/// Bounds of a build beyond those of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FarmLimits {
    /// What it may fetch.
    pub door: DoorLimits,
    /// Largest binary.
    pub artifact_bytes: u64,
}

impl Default for FarmLimits {
    fn default() -> Self {
        Self { door: DoorLimits::default(), artifact_bytes: 1 << 30 }
    }
}

/// Carries out plans.
#[derive(Debug, Clone)]
pub struct Farm {
    sandbox: Arc<dyn Sandbox>,
    clock: Arc<dyn Clock>,
    config: FarmConfig,
}

/// A build that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Bytes of the binary.
    pub bytes: u64,
    /// The binary's module list, as the toolchain reads it; `None` if no step was asked
    /// for it, or if it was too long.
    pub build_info: Option<String>,
    /// What the program said of itself, one text for each time it was run.
    pub program: Vec<String>,
    /// What each step took.
    pub steps: Vec<StepReport>,
    /// Questions asked of the proxies, and bytes of their answers.
    pub fetched: (u64, u64),
}

/// What a step took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepReport {
    /// Which.
    pub name: StepName,
    /// How long.
    pub took: Duration,
    /// Most memory seen in use, page cache included.
    pub memory_peak_bytes: u64,
    /// Taken on the bench's disk at its end.
    pub disk_bytes: u64,
}

/// Outputs that were asked for.
#[derive(Debug, Default)]
struct Asked {
    build_info: Option<String>,
    program: Vec<String>,
}

impl Farm {
    /// Puts a farm together; starts nothing.
    #[must_use]
    pub fn new(sandbox: Arc<dyn Sandbox>, clock: Arc<dyn Clock>, config: FarmConfig) -> Self {
        Self { sandbox, clock, config }
    }

    /// The sandbox it builds in.
    #[must_use]
    pub fn sandbox(&self) -> &Arc<dyn Sandbox> {
        &self.sandbox
    }

    /// Carries a plan out, on `cache` if there is one, and copies the binary into the new
    /// file `to`. `events` is told what happens; a receiver that is slow slows the build, one
    /// that is gone does not. Ends soon after `stop` is requested.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says whose it is. There is no file at `to` then.
    pub async fn build(
        &self,
        plan: &Plan,
        cache: Option<Digest>,
        to: &Path,
        events: mpsc::Sender<BuildEvent>,
        stop: Shutdown,
    ) -> Result<Built, Failure> {
        let bench = self.bench(plan.key.as_str(), cache, stop.clone()).await?;
        let built = self.on(&*bench, plan, to, events, stop).await;
        bench.close().await;
        if built.is_err() {
            // Half a copy, if that is where it ended. Nobody knows of it yet.
            drop(tokio::fs::remove_file(to).await);
        }
        built
    }

    /// Fills a cache: carries out each plan but for running what it made, on one bench without a
    /// cache, checks every module, and keeps what came of it. The plans are the platform's
    /// choice, with nobody's plugin in them.
    ///
    /// # Errors
    ///
    /// A [`Failure`]; no cache was made then.
    pub async fn warm(
        &self,
        plans: &[Plan],
        events: mpsc::Sender<BuildEvent>,
        stop: Shutdown,
    ) -> Result<Digest, Failure> {
        let bench = self.bench("warmer", None, stop.clone()).await?;
        let kept = self.warm_on(&*bench, plans, events, stop).await;
        bench.close().await;
        kept
    }

    async fn bench(&self, build: &str, cache: Option<Digest>, mut stop: Shutdown) -> Result<Box<dyn Bench>, Failure> {
        let layout = &self.config.layout;
        let order = BenchOrder {
            build: build.to_owned(),
            toolchain: (self.config.toolchain.clone(), layout.toolchain.clone()),
            cache,
            folders: [&layout.modules, &layout.cache, &layout.source, &layout.home, &layout.output]
                .map(Clone::clone)
                .into(),
        };
        tokio::select! {
            bench = self.sandbox.bench(order) => bench.map_err(|error| Failure::of_sandbox(None, &error)),
            () = stop.requested() => Err(stopped(None)),
        }
    }

    async fn on(
        &self,
        bench: &dyn Bench,
        plan: &Plan,
        to: &Path,
        events: mpsc::Sender<BuildEvent>,
        stop: Shutdown,
    ) -> Result<Built, Failure> {
        let mut work = self.work(bench, events, stop);
        let mut steps = Vec::with_capacity(plan.steps.len());
        let is_made = |step: &Step| step.name != StepName::Verify;
        let (making, verifying): (Vec<&Step>, Vec<&Step>) = plan.steps.iter().partition(|step| is_made(step));
        for step in making {
            steps.push(work.carry_out(step).await?);
        }
        // Before it is run: what its plugins do then, they do to a file that nobody wants.
        let taken = bench.take(&plan.output, to, self.config.limits.artifact_bytes).await;
        let bytes = taken.map_err(|error| Failure::of_sandbox(None, &error))?;
        for step in verifying {
            steps.push(work.carry_out(step).await?);
        }
        let fetched = work.budget.used();
        let Asked { build_info, program } = work.asked;
        Ok(Built { bytes, build_info, program, steps, fetched })
    }

    async fn warm_on(
        &self,
        bench: &dyn Bench,
        plans: &[Plan],
        events: mpsc::Sender<BuildEvent>,
        stop: Shutdown,
    ) -> Result<Digest, Failure> {
        let trouble = |error| Failure::of_sandbox(None, &error);
        let layout = &self.config.layout;
        for plan in plans {
            for folder in [&layout.source, &layout.home, &layout.output] {
                bench.renew(folder).await.map_err(trouble)?;
            }
            let mut work = self.work(bench, events.clone(), stop.clone());
            for step in plan.steps.iter().filter(|step| step.name != StepName::Verify) {
                work.carry_out(step).await?;
            }
            if let Some(step) = verifying(plan) {
                work.carry_out(&step).await?;
            }
        }
        bench.keep(&[&layout.modules, &layout.cache]).await.map_err(trouble)
    }

    fn work<'a>(&'a self, bench: &'a dyn Bench, events: mpsc::Sender<BuildEvent>, stop: Shutdown) -> Work<'a> {
        Work {
            bench,
            upstream: Upstream { proxies: self.config.proxies.clone(), checksums: self.config.checksums.clone() },
            budget: Budget::new(self.config.limits.door),
            clock: &*self.clock,
            events,
            stop,
            asked: Asked::default(),
        }
    }
}

/// Compares every module that was unpacked with its checksum, where the plan compiles.
fn verifying(plan: &Plan) -> Option<Step> {
    let compile = plan.steps.iter().find(|step| step.name == StepName::Compile)?;
    let mut command = compile.commands.first()?.clone();
    command.argv.truncate(1);
    command.argv.extend(["mod", "verify"].map(str::to_owned));
    let (files, commands) = (Vec::new(), vec![command]);
    Some(Step { name: StepName::Verify, phase: Phase::Build, files, commands, ..compile.clone() })
}

fn stopped(step: Option<StepName>) -> Failure {
    Failure { kind: FailureKind::Stopped, step, message: "the build was stopped".to_owned(), lines: Vec::new() }
}

//! The loop: claim, work, sleep until there is more.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shipway_driver::Driver;
use shipway_fetch::{Blobs, Fetcher};
use shipway_model::task::BUILDS;
use shipway_model::{Instance, Service, ServiceId};
use shipway_plan::{Move, next_moves, strays};
use shipway_preempt::{Preempted, Preemption};
use shipway_stdx::clock::Clock;
use shipway_store::{Claimant, Notice, Store, StoreError, WorkerState};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::build::keep_warm;
use crate::core::Core;
use crate::jobs::Jobs;
use crate::presence::{self, Presence};
use crate::supply::Trees;
use crate::watch::Watchers;
use crate::work::Work;
use crate::{Drain, Farming, LiveStreams, Orders, WorkerConfig};

/// The longest sleep: what a lost notice costs at most.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The shortest: a task that is due and cannot be claimed must not spin the loop.
const SLEEP_MIN: Duration = Duration::from_millis(2);

/// Services read at once when everything is compared.
const SERVICES_PAGE: u32 = 500;

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where tasks come from.
    pub store: Store,
    /// What runs containers.
    pub driver: Arc<dyn Driver>,
    /// What downloads content.
    pub fetcher: Fetcher,
    /// Where content is kept.
    pub blobs: Blobs,
    /// The time, for back-off; leases go by the database's.
    pub clock: Arc<dyn Clock>,
    /// What serves the visitors.
    pub drain: Arc<dyn Drain>,
    /// Where trees of images are kept.
    pub trees: Arc<dyn Trees>,
    /// What builds are made with, if they are made here.
    pub farming: Option<Farming>,
    /// Who says that the machine will be taken away, if anybody does.
    pub preemption: Option<Box<dyn Preemption>>,
}

/// A worker. Dropping it ends its watchers; what it runs goes on.
#[derive(Debug)]
pub struct Worker {
    core: Arc<Core>,
    preemption: Option<Box<dyn Preemption>>,
}

impl Worker {
    /// Makes a worker; nothing happens before [`run`](Self::run) or [`tick`](Self::tick).
    #[must_use]
    pub fn new(config: WorkerConfig, parts: Parts) -> Self {
        let Parts { store, driver, fetcher, blobs, clock, drain, trees, farming, preemption } = parts;
        let (watchers, presence) = (Watchers::default(), Presence::default());
        let core = Core { config, store, driver, fetcher, blobs, clock, drain, trees, farming, watchers, presence };
        Self { core: Arc::new(core), preemption }
    }

    /// Logs, stats and exec of what runs, for the api to relay.
    #[must_use]
    pub fn live(&self) -> LiveStreams {
        LiveStreams::new(self.core.store.clone(), Arc::clone(&self.core.driver))
    }

    /// Claims one task that is due and works on it to its end. Returns whether
    /// there was one.
    ///
    /// # Errors
    ///
    /// Why nothing could be claimed. A task's own failure is written into the task.
    pub async fn tick(&self) -> Result<bool, StoreError> {
        let Some(job) = self.claim().await? else {
            return Ok(false);
        };
        job.run(CancellationToken::new()).await;
        Ok(true)
    }

    /// Works until told to end, then finishes or gives back what is unfinished.
    ///
    /// It first compares everything once. Tasks that a worker before it held are
    /// claimed when their leases run out; the main function of a sole process calls
    /// [`Store::rescue`] with `all` before this, and they are claimed at once.
    pub async fn run(mut self, orders: impl Into<Orders>) {
        let mut orders = orders.into();
        let stop = CancellationToken::new();
        if let Some(farming) = &self.core.farming {
            farming.clear(&self.core.store).await;
        }
        let mut chores = JoinSet::new();
        chores.spawn(compare_for_ever(Arc::clone(&self.core), stop.clone()));
        chores.spawn(rescue_for_ever(Arc::clone(&self.core), stop.clone()));
        chores.spawn(presence::keep(Arc::clone(&self.core), stop.clone()));
        chores.spawn(keep_warm(Arc::clone(&self.core), stop.clone()));
        let mut jobs = Jobs::default();
        self.work(&mut jobs, &mut orders).await;
        self.core.presence.turn(WorkerState::Draining);
        jobs.finish(self.core.config.drain, orders.leave.requested()).await;
        stop.cancel();
        if let Some(farming) = &self.core.farming {
            farming.warmer.end().await;
        }
        while let Some(ended) = chores.join_next().await {
            log_panic(ended);
        }
        self.core.watchers.join().await;
        if let Err(error) = presence::write_own(&self.core).await {
            tracing::warn!(%error, "that this worker ends could not be written");
        }
    }

    /// Claims and works until an order comes. Told by an operator to drain, or that the
    /// machine will be taken away, it gives back what it has and stays, with nothing to do.
    async fn work(&mut self, jobs: &mut Jobs, orders: &mut Orders) {
        let mut notices = self.core.store.notices();
        let mut state = self.core.presence.state();
        let mut dismissed: Option<Instant> = None;
        while !orders.is_given() {
            let seen = *notices.borrow_and_update();
            dismissed = dismissal(*state.borrow_and_update(), dismissed, self.core.config.drain);
            let pause = self.fill(jobs).await;
            tokio::select! {
                () = orders.given() => return,
                () = news(&mut notices, seen) => {}
                () = jobs.one_ended() => {}
                () = sleep(pause) => {}
                _ = state.changed() => {}
                () = sleep_until(dismissed.unwrap_or_else(Instant::now)), if dismissed.is_some() && !jobs.is_empty() => {
                    jobs.give_back().await;
                }
                preempted = presence::foreseen(&mut self.preemption) => self.be_preempted(jobs, &preempted).await,
            }
        }
    }

    async fn be_preempted(&mut self, jobs: &mut Jobs, preempted: &Preempted) {
        let Preempted { what, .. } = preempted;
        tracing::warn!(what, tasks = jobs.len(), "this machine will be taken away; giving back what is unfinished");
        self.core.presence.turn(WorkerState::Leaving);
        jobs.give_back().await;
        if let Err(error) = presence::write_own(&self.core).await {
            tracing::warn!(%error, "that this worker leaves could not be written yet");
        }
        if let Some(preemption) = &mut self.preemption {
            preemption.ready(preempted).await;
        }
        // Asked again, most of them would say the same at once.
        self.preemption = None;
    }

    /// Compares every service once with what the driver sees: repairs are asked for
    /// where they differ, watchers set up where they do not, strays removed.
    ///
    /// # Errors
    ///
    /// The store or the driver cannot be asked now.
    pub async fn reconcile(&self) -> anyhow::Result<()> {
        compare(&self.core).await
    }

    /// Claims tasks until there are none or enough. Returns when to look again.
    async fn fill(&self, jobs: &mut Jobs) -> Duration {
        if *self.core.presence.state().borrow() != WorkerState::Active {
            return SLEEP_MAX;
        }
        while jobs.len() < self.core.config.concurrency {
            match self.claim().await {
                Ok(Some(work)) => jobs.start(work),
                Ok(None) => return self.until_due().await,
                Err(error) => {
                    tracing::warn!(%error, "nothing can be claimed now");
                    return SLEEP_MAX;
                }
            }
        }
        SLEEP_MAX
    }

    async fn claim(&self) -> Result<Option<Work>, StoreError> {
        let Core { store, config, .. } = self.core.as_ref();
        let lease = store.claim(&self.claimant(), config.lease).await?;
        Ok(lease.map(|lease| Work::new(Arc::clone(&self.core), lease)))
    }

    /// Who claims now: one that makes as many builds as it can has no label for another.
    fn claimant(&self) -> Cow<'_, Claimant> {
        let Core { config, farming, .. } = self.core.as_ref();
        if !farming.as_ref().is_some_and(Farming::is_full) {
            return Cow::Borrowed(&config.claimant);
        }
        let mut claimant = config.claimant.clone();
        claimant.labels.remove(BUILDS);
        Cow::Owned(claimant)
    }

    /// How long until a queued task becomes due. Tasks that wait for another of their
    /// subject are not counted: that one's end is a notice.
    async fn until_due(&self) -> Duration {
        let store = &self.core.store;
        let (Ok(Some(due)), Ok(now)) = (store.next_due(&self.claimant()).await, store.now().await) else {
            return SLEEP_MAX;
        };
        match u64::try_from(due - now) {
            Ok(micros) => Duration::from_micros(micros).clamp(SLEEP_MIN, SLEEP_MAX),
            // It has become due since nothing was found to claim.
            Err(_) => SLEEP_MIN,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.core.watchers.cancel();
    }
}

/// When a worker in this state gives back what it has: never, unless somebody sent it away.
fn dismissal(state: WorkerState, before: Option<Instant>, drain: Duration) -> Option<Instant> {
    match state {
        WorkerState::Active | WorkerState::Cordoned => None,
        WorkerState::Draining => before.or_else(|| Some(Instant::now() + drain)),
        WorkerState::Leaving => Some(Instant::now()),
    }
}

/// Waits for a notice that there may be a task to claim.
async fn news(notices: &mut watch::Receiver<Notice>, seen: Notice) {
    let matters = |now: &Notice| (now.tasks, now.ended) != (seen.tasks, seen.ended);
    if notices.wait_for(matters).await.is_err() {
        // The store is closing; the loop's own pace is enough for what is left.
        std::future::pending::<()>().await;
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the worker ended badly");
    }
}

async fn compare_for_ever(core: Arc<Core>, stop: CancellationToken) {
    loop {
        let pause = match stop.run_until_cancelled(compare(&core)).await {
            None => return,
            Some(Ok(())) => core.config.reconcile_every,
            Some(Err(error)) => {
                tracing::warn!(error = format!("{error:#}"), "services could not be compared");
                SLEEP_MAX
            }
        };
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Tasks of a worker that died, or hung past its deadline, become claimable again.
async fn rescue_for_ever(core: Arc<Core>, stop: CancellationToken) {
    let pause = core.config.lease.heartbeat / 4;
    while stop.run_until_cancelled(sleep(pause)).await.is_some() {
        if let Err(error) = core.store.rescue(false).await {
            tracing::warn!(%error, "lost tasks could not be looked for");
        }
    }
}

async fn compare(core: &Arc<Core>) -> anyhow::Result<()> {
    // In this order: see `strays`.
    let seen = core.driver.recover().await?;
    let mut rows: BTreeMap<ServiceId, Vec<Instance>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for row in core.store.list_instances(None).await? {
        known.insert(row.container);
        rows.entry(row.service).or_default().push(row);
    }
    for stray in strays(seen.iter().map(|one| one.container), &known) {
        tracing::info!(container.id = %stray, "removing a container without a row");
        if let Err(error) = core.destroy(stray).await {
            tracing::warn!(container.id = %stray, %error, "it stays for now");
        }
    }
    let mut after = None;
    let mut result = Ok(());
    loop {
        let services = own_services(core, after).await?;
        let Some(last) = services.last() else {
            return result;
        };
        after = Some(last.id);
        for service in &services {
            let rows = rows.remove(&service.id).unwrap_or_default();
            // One that cannot be looked at must not hide the others.
            let compared = compare_one(core, service, rows).await;
            result = result.and(compared);
        }
    }
}

/// Those whose containers live in this worker's engine; all of them where it is the only one.
async fn own_services(core: &Core, after: Option<ServiceId>) -> Result<Vec<Service>, StoreError> {
    match &core.config.claimant.engine {
        Some(engine) => core.store.list_services_of(engine, after, SERVICES_PAGE).await,
        None => core.store.list_all_services(after, SERVICES_PAGE).await,
    }
}

async fn compare_one(core: &Arc<Core>, service: &Service, rows: Vec<Instance>) -> anyhow::Result<()> {
    rows.iter().for_each(|row| core.watch_instance(row));
    let world = core.world(service, rows).await?;
    let moves = next_moves(&world, &core.config.policy);
    let delay = match moves.first() {
        None => return Ok(()),
        Some(Move::Wait { until }) => Duration::from_micros(until.abs_diff(world.now)),
        Some(_) => Duration::ZERO,
    };
    Ok(core.store.request_repair(service.id, delay).await?)
}

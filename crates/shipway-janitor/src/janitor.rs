//! What belongs to the store alone: lost tasks are given back, old rows forgotten.

use std::time::Duration;

use shipway_model::ServiceId;
use shipway_stdx::shutdown::Shutdown;
use shipway_store::{OldTasks, Store, StoreError};
use tokio::time::{Instant, sleep};

use crate::keep::Keep;
use crate::{measure, plan};

/// Rows removed in one transaction. More, and a claim waits for it on SQLite; fewer, and
/// a flood is cleared slower than it comes.
const STEP_ROWS: u32 = 100;

/// The longest pause after a step.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Steps of one sort of thing in one round; the next round goes on.
const STEPS_MAX: u32 = 2000;

/// An upload may rest so long before anything speaks of it.
const DEPOSITS_AGE: Duration = Duration::from_secs(3600);

/// Services and timelines looked at in one read.
const PAGE_ROWS: u32 = 200;

/// Configures a janitor for life.
#[derive(Debug, Clone)]
pub struct JanitorConfig {
    /// How long a lease lasts without a sign of its worker. A lost task is found within a
    /// quarter of it.
    pub heartbeat: Duration,
    /// Between two rounds of forgetting; each janitor adds up to a fifth of its own.
    pub every: Duration,
    /// What is kept.
    pub keep: Keep,
}

impl Default for JanitorConfig {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(20), every: Duration::from_secs(600), keep: Keep::default() }
    }
}

/// What a janitor is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What it looks after. Its clock is the only one that counts.
    pub store: Store,
}

/// What one round has forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Releases that nobody went back to.
    pub releases: u64,
    /// Ended tasks.
    pub tasks: u64,
    /// Tasks that had been given up.
    pub given_up: u64,
    /// Events.
    pub events: u64,
    /// Expired tokens.
    pub tokens: u64,
    /// Builds that ended long ago.
    pub builds: u64,
    /// Silent workers.
    pub workers: u64,
    /// Uploads that rested for a worker that needs them no more.
    pub deposits: u64,
}

/// What is forgotten step by step.
enum Old<'a> {
    Tasks(OldTasks),
    /// Builds that ended so long ago, or have so many newer ones.
    Builds {
        age: Duration,
        newer: u64,
    },
    /// Tokens that expired so long ago.
    Tokens(Duration),
    Events {
        subject: &'a str,
        up_to: u64,
    },
}

/// A janitor. Any number may be at work at once.
#[derive(Debug, Clone)]
pub struct Janitor {
    config: JanitorConfig,
    store: Store,
}

impl Janitor {
    /// Makes a janitor; nothing happens before [`run`](Self::run) or a tick.
    #[must_use]
    pub fn new(config: JanitorConfig, parts: Parts) -> Self {
        Self { config, store: parts.store }
    }

    /// Works until told to stop. A round that is under way ends with its present step.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::join!(self.rescue_for_ever(shutdown.clone()), self.forget_for_ever(shutdown));
    }

    /// Gives back the tasks whose leases have run out. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn tick_rescue(&self) -> Result<u64, StoreError> {
        let rescued = self.store.rescue(false).await?;
        measure::rescued(rescued);
        Ok(rescued)
    }

    /// Forgets what is old, once. What fails of one sort does not keep it from the others.
    ///
    /// # Errors
    ///
    /// The first [`StoreError`]; everything else was done.
    pub async fn tick_forget(&self) -> Result<Forgotten, StoreError> {
        let keep = &self.config.keep;
        let mut first_error = None;
        let mut note = |what, result: Result<u64, StoreError>| match result {
            Ok(rows) => {
                measure::forgotten(what, rows);
                rows
            }
            Err(error) => {
                measure::failed(what);
                first_error.get_or_insert(error);
                0
            }
        };
        let forgotten = Forgotten {
            tasks: note("tasks", self.forget_tasks(keep.tasks_age, keep.tasks, false).await),
            given_up: note("given_up_tasks", self.forget_tasks(keep.given_up_age, keep.given_up, true).await),
            releases: note("releases", self.forget_releases().await),
            events: note("events", self.forget_events().await),
            builds: note("builds", self.in_steps(&Old::Builds { age: keep.builds_age, newer: keep.builds }).await),
            tokens: note("tokens", self.in_steps(&Old::Tokens(keep.tokens_age)).await),
            deposits: note("deposits", self.store.collect_deposits(DEPOSITS_AGE).await),
            workers: note("workers", self.store.forget_workers(keep.workers_age).await),
        };
        first_error.map_or(Ok(forgotten), Err)
    }

    async fn forget_tasks(&self, age: Duration, count: u64, given_up: bool) -> Result<u64, StoreError> {
        let up_to = self.store.find_ended_beyond(count, given_up).await?;
        let old = OldTasks { given_up, age, up_to };
        self.in_steps(&Old::Tasks(old)).await
    }

    /// Repeats a step until it finds less than its fill. After each it rests for as long as
    /// the step took: the others have the database to themselves half of the time.
    async fn in_steps(&self, old: &Old<'_>) -> Result<u64, StoreError> {
        let mut sum = 0;
        for _ in 0..STEPS_MAX {
            let began = Instant::now();
            let rows = match *old {
                Old::Tasks(tasks) => self.store.forget_tasks(tasks, STEP_ROWS).await?,
                Old::Builds { age, newer } => self.store.forget_builds(age, newer, STEP_ROWS).await?,
                Old::Tokens(age) => self.store.forget_tokens(age, STEP_ROWS).await?,
                Old::Events { subject, up_to } => self.store.forget_events(subject, up_to, STEP_ROWS).await?,
            };
            sum += rows;
            if rows < u64::from(STEP_ROWS) {
                break;
            }
            sleep(began.elapsed().min(PAUSE_MAX)).await;
        }
        Ok(sum)
    }

    async fn forget_releases(&self) -> Result<u64, StoreError> {
        let now = self.store.now().await?;
        let (mut after, mut forgotten) = (None, 0);
        loop {
            let services = self.store.list_services_with_releases(self.config.keep.releases, after, PAGE_ROWS).await?;
            let Some(last) = services.last() else { return Ok(forgotten) };
            after = Some(*last);
            for service in &services {
                forgotten += self.forget_releases_of(*service, now).await?;
            }
        }
    }

    async fn forget_releases_of(&self, service: ServiceId, now: i64) -> Result<u64, StoreError> {
        let mut all = Vec::new();
        loop {
            let before = all.last().map(|release: &shipway_model::Release| release.number);
            let page = self.store.list_releases(service, before, PAGE_ROWS).await?;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        let surplus = plan::surplus_releases(&all, &self.config.keep, now);
        let mut forgotten = 0;
        for step in surplus.chunks(STEP_ROWS as usize) {
            forgotten += self.store.forget_releases(service, step).await?;
        }
        Ok(forgotten)
    }

    async fn forget_events(&self) -> Result<u64, StoreError> {
        let (mut after, mut forgotten) = (String::new(), 0);
        loop {
            let timelines = self.store.list_timelines(&after, PAGE_ROWS).await?;
            let Some(last) = timelines.last() else { return Ok(forgotten) };
            after.clone_from(&last.subject);
            for timeline in &timelines {
                if let Some(up_to) = plan::old_events(timeline, &self.config.keep) {
                    forgotten += self.in_steps(&Old::Events { subject: &timeline.subject, up_to }).await?;
                }
            }
        }
    }

    async fn rescue_for_ever(&self, mut shutdown: Shutdown) {
        while pause(&mut shutdown, self.config.heartbeat / 4).await {
            if let Err(error) = self.tick_rescue().await {
                measure::failed("rescue");
                tracing::warn!(%error, "lost tasks could not be looked for");
            }
        }
    }

    async fn forget_for_ever(&self, mut shutdown: Shutdown) {
        // Janitors that were started together shall not come together for ever.
        let own = self.config.every.mul_f64(0.2 * f64::from(std::process::id() % 100) / 100.0);
        while pause(&mut shutdown, self.config.every + own).await {
            tokio::select! {
                round = self.tick_forget() => if let Err(error) = round {
                    tracing::warn!(%error, "not everything that is old could be forgotten");
                },
                () = shutdown.requested() => return,
            }
        }
    }
}

/// Waits; false when it is time to stop.
pub(crate) async fn pause(shutdown: &mut Shutdown, pause: Duration) -> bool {
    tokio::select! {
        () = sleep(pause) => true,
        () = shutdown.requested() => false,
    }
}

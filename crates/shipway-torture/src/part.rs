//! What is tortured: a process with the real store and, unless told otherwise, the real
//! worker, on a world of paper; with a farm ([`farm`]) where it is to make builds.
//!
//! It takes what it is from one argument, in JSON, and answers a few questions on a unix
//! socket ([`api`]): that is its API part. SIGTERM asks it to finish, a second one to leave
//! at once, and SIGUSR1 says that its machine will be taken away. What its worker did with
//! each lease it writes into a journal.

pub mod api;
pub mod farm;
pub mod journal;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shipway_fetch::{Blobs, FetchConfig, Fetcher};
use shipway_gobuild::spec::go_label;
use shipway_model::instance::Endpoint;
use shipway_model::task::BUILDS;
use shipway_model::{InstanceRole, ServiceId};
use shipway_plan::Policy;
use shipway_preempt::Provider;
use shipway_stdx::backoff::Backoff;
use shipway_stdx::clock::HostClock;
use shipway_stdx::shutdown::{self, ShutdownSender};
use shipway_store::mutants::{self, Mutant};
use shipway_store::next_version::{self, Version};
use shipway_store::{Claimant, LeaseTerms, Migrate, OpenError, Store};
use shipway_worker::{Drain, Farming, Orders, OwnTrees, Parts, Worker, WorkerConfig};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::sleep;

use crate::paper::PaperWorld;

/// Between two tries to reach a database that is away, as at the start of Shipway.
const AGAIN: Duration = Duration::from_millis(100);

/// How often a part compares everything.
pub(crate) const RECONCILE_EVERY: Duration = Duration::from_secs(1);

/// Between two looks whether everything is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Its exit status when it was told three times.
const FORCED: u8 = 3;

/// Its exit status when a newer version has taken away what it needs.
pub const OUTGROWN: u8 = 4;

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// SQLite, in this file. There is one process.
    Sqlite(PathBuf),
    /// PostgreSQL, at this URL.
    Postgres(String),
}

impl Place {
    /// Opens the store.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub async fn open(&self, migrate: Migrate) -> anyhow::Result<Store> {
        Ok(match self {
            Self::Sqlite(path) => Store::open(path).await?,
            Self::Postgres(url) => Store::connect(url, migrate).await?,
        })
    }

    /// The same as another version of this program would, which only adds. Nobody may open
    /// another meanwhile.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub async fn open_as(&self, version: Version) -> anyhow::Result<Store> {
        next_version::be(version);
        let opened = self.open(Migrate::Yes).await;
        next_version::be(Version::This);
        opened
    }
}

/// What a part is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Its worker's name.
    pub name: String,
    /// Where its state is.
    pub database: Place,
    /// The engine root it says it has.
    pub engine: Option<String>,
    /// The folder of its world.
    pub world: PathBuf,
    /// The folder of content.
    pub blobs: PathBuf,
    /// Where it writes what became of each lease.
    pub journal: PathBuf,
    /// Where it makes builds, if it does.
    pub farm: Option<farm::FarmPlace>,
    /// Where it answers.
    pub socket: PathBuf,
    /// Whether it works on tasks, or only answers.
    pub works: bool,
    /// Tasks at once.
    pub concurrency: usize,
    /// Length of a lease.
    pub lease_ms: u64,
    /// Length of a task at most.
    pub deadline_ms: u64,
    /// How long tasks may take to their end once it was asked to stop.
    pub drain_ms: u64,
    /// Whether it ends by itself once everything is done.
    pub until_done: bool,
    /// Whether it has one thread (and those of its database and of its files), so that its
    /// system calls come in the same order every time.
    pub one_thread: bool,
    /// The rule left out, by its word in [`Mutant::ALL`].
    pub mutant: Option<String>,
    /// Which version it is.
    pub version: Version,
    /// When it migrates, it stops before the commit, makes this file and waits to be killed.
    pub halt: Option<PathBuf>,
}

/// Plays the part that `json` describes, until it is told to stop.
///
/// # Errors
///
/// Whatever kept it from beginning.
pub fn play(json: &str) -> anyhow::Result<ExitCode> {
    let config: Config = serde_json::from_str(json).context("a part is described in JSON")?;
    match config.mutant.as_deref() {
        Some(shipway_worker::mutants::PUBLISH_BEFORE_KEPT) => shipway_worker::mutants::leave_out(),
        Some(word) => mutants::leave_out(mutant(word)?),
        None => {}
    }
    next_version::be(config.version);
    if let Some(told) = &config.halt {
        next_version::halt_in_migration(told.clone());
    }
    journal::begin(&config.journal)?;
    let mut runtime = match config.one_thread {
        true => tokio::runtime::Builder::new_current_thread(),
        false => tokio::runtime::Builder::new_multi_thread(),
    };
    // On a multi-threaded runtime as many as the machines of CI have.
    let runtime = runtime.worker_threads(2).max_blocking_threads(if config.one_thread { 1 } else { 16 });
    runtime.enable_all().build()?.block_on(act(config))
}

/// The mutant of this word.
///
/// # Errors
///
/// There is none.
pub fn mutant(word: &str) -> anyhow::Result<Mutant> {
    let found = Mutant::ALL.iter().find(|(known, _)| *known == word);
    found.map(|(_, mutant)| *mutant).with_context(|| format!("there is no mutant {word:?}"))
}

async fn act(config: Config) -> anyhow::Result<ExitCode> {
    let world = PaperWorld::open(&config.world)?;
    let blobs = Blobs::open(&config.blobs)?;
    let store = match open(&config).await {
        Ok(store) => store,
        Err(outgrown) => return Ok(end_outgrown(&outgrown)),
    };
    give_back_the_past(&config, &store).await;
    let (finish, may_finish) = shutdown::channel();
    let (leave, may_leave) = shutdown::channel();
    // Who gets an answer may send a signal.
    let terminate = signal(SignalKind::terminate())?;
    let preemption = shipway_preempt::watch(Provider::Signal, Duration::from_secs(1), None)?;
    let signals = tokio::spawn(heed(terminate, finish, leave, store.clone(), config.clone()));
    let answering = api::serve(&config.socket, config.name.clone(), store.clone(), blobs.clone())?;
    let mut until = may_finish.clone();
    if config.works {
        let (driver, farming) = match &config.farm {
            Some(place) => farm::open(place).await.map(|(driver, farming)| (Some(driver), Some(farming)))?,
            None => (None, None),
        };
        let labels = farming.iter().flat_map(labels).collect();
        let parts = Parts {
            store: store.clone(),
            driver: Arc::new(world),
            fetcher: Fetcher::new(FetchConfig::default())?,
            blobs,
            clock: Arc::new(HostClock),
            drain: Arc::new(NoVisitors),
            trees: Arc::new(OwnTrees),
            farming,
            preemption: Some(preemption),
        };
        let orders = Orders { finish: may_finish, leave: may_leave };
        let work = Worker::new(worker_config(&config, labels), parts).run(orders);
        tokio::select! {
            () = work => {}
            outgrown = store.outgrown() => return Ok(end_outgrown(&outgrown)),
        }
        if let Some(driver) = driver {
            driver.close().await;
        }
    } else {
        tokio::select! {
            () = until.requested() => {}
            outgrown = store.outgrown() => return Ok(end_outgrown(&outgrown)),
        }
    }
    answering.abort();
    signals.abort();
    journal::say_stale(&config.journal, store.stale_writes())?;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Its leases run out, and what it has begun is found by whoever comes next.
fn end_outgrown(why: &OpenError) -> ExitCode {
    tracing::error!(%why, "this version can do nothing more here");
    OUTGROWN.into()
}

/// Like the main function of Shipway: a database that is away is waited for, one that is
/// for newer versions is not.
async fn open(config: &Config) -> Result<Store, OpenError> {
    loop {
        match config.database.open(Migrate::Yes).await.map_err(anyhow::Error::downcast) {
            Ok(store) => return Ok(store),
            Err(Ok(outgrown @ OpenError::Newer { .. })) => return Err(outgrown),
            Err(Ok(error)) => tracing::warn!(error = %error, "waiting for the database"),
            Err(Err(error)) => tracing::warn!(error = format!("{error:#}"), "waiting for the database"),
        }
        sleep(AGAIN).await;
    }
}

/// What a life before this one held is claimed again at once.
async fn give_back_the_past(config: &Config, store: &Store) {
    loop {
        let given = match config.database {
            Place::Sqlite(_) => store.rescue(true).await,
            Place::Postgres(_) => store.rescue_worker(&config.name).await,
        };
        match given {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "what was held before cannot be given back now"),
        }
        sleep(AGAIN).await;
    }
}

/// By which builds find this worker.
fn labels(farming: &Farming) -> [String; 2] {
    [go_label(&farming.settings.go), BUILDS.to_owned()]
}

fn worker_config(config: &Config, labels: BTreeSet<String>) -> WorkerConfig {
    let claimant = Claimant { engine: config.engine.clone(), labels, ..Claimant::named(&config.name) };
    let retry = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1) };
    let policy = Policy {
        restart_first: Duration::from_millis(20),
        restart_longest: Duration::from_millis(500),
        // Graves are waited for at the end of every run.
        forget_after: Duration::from_millis(500),
        ..Policy::default()
    };
    WorkerConfig {
        claimant,
        concurrency: config.concurrency,
        lease: LeaseTerms {
            heartbeat: Duration::from_millis(config.lease_ms),
            deadline: Duration::from_millis(config.deadline_ms),
        },
        retry,
        drain: Duration::from_millis(config.drain_ms),
        policy,
        stop_grace: Duration::from_millis(100),
        stop_drain: Duration::from_millis(100),
        reconcile_every: RECONCILE_EVERY,
        ..WorkerConfig::default()
    }
}

/// Passes on what signals say: finish; leave at once; and end, however it stands. Who has
/// nothing left to do is told to finish.
async fn heed(
    mut terminate: Signals,
    finish: ShutdownSender,
    leave: ShutdownSender,
    store: Store,
    config: Config,
) -> anyhow::Result<()> {
    tokio::select! {
        _ = terminate.recv() => {}
        () = done(&store, config.until_done) => {}
    }
    finish.request();
    terminate.recv().await;
    leave.request();
    terminate.recv().await;
    #[expect(clippy::exit, reason = "asked for the third time, there is nothing to wait for")]
    std::process::exit(FORCED.into());
}

/// Waits until nothing is left to do; for ever, if that is not what is wanted.
async fn done(store: &Store, wanted: bool) {
    if !wanted {
        std::future::pending::<()>().await;
    }
    let mut calm = 0;
    // Twice in a row: between two looks somebody may just be about to ask for a repair.
    while calm < 2 {
        sleep(LOOK_EVERY).await;
        calm = if is_done(store).await { calm + 1 } else { 0 };
    }
}

async fn is_done(store: &Store) -> bool {
    let (Ok(counts), Ok(rows)) = (store.task_counts().await, store.list_instances(None).await) else { return false };
    counts.queued + counts.running == 0 && rows.iter().all(|row| row.role == InstanceRole::Live)
}

/// Nobody visits services of paper.
#[derive(Debug)]
struct NoVisitors;

#[async_trait]
impl Drain for NoVisitors {
    async fn published(&self, _service: ServiceId) {}
    async fn idle(&self, _endpoint: &Endpoint) {}
}

//! Workers: who they are, what they can, whether they may take tasks.
//!
//! A worker writes its own row and renews it; an operator (or the cloud that is about to
//! take its machine) changes its state. The claim reads it: one that is not active gets
//! nothing more, wherever it runs and whatever it believes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shipway_model::{Micros, StreamDoor};
use sqlx::FromRow;

use crate::door::{Durability, Tx};
use crate::query::query;
use crate::values::{from_json, micros, number, to_json};
use crate::{Store, StoreError};

/// A worker that is silent for so long, in microseconds, is taken for gone: its signs of life
/// are five seconds apart at most.
const SILENCE_MAX: Micros = 15_000_000;

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Its name, unique among all: the one in its leases.
    pub id: String,
    /// The host it runs on, for people.
    pub host: String,
    /// The engine root it has, if any: see [`Claimant::engine`](crate::Claimant::engine).
    pub engine: Option<String>,
    /// Tasks it works on at once.
    pub capacity: u32,
    /// What it offers.
    pub labels: BTreeSet<String>,
    /// Its version.
    pub version: String,
    /// Where it answers for what flows, if it does.
    pub streams: Option<StreamDoor>,
}

/// Whether a worker takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It does.
    Active,
    /// An operator said no more for now; what it has it finishes.
    Cordoned,
    /// It finishes or gives back what it has, and ends.
    Draining,
    /// Its machine is about to be taken away: it has given everything back.
    Leaving,
}

impl WorkerState {
    /// The word, as in the table and in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
        }
    }

    fn read(word: &str) -> Result<Self, StoreError> {
        let all = [Self::Active, Self::Cordoned, Self::Draining, Self::Leaving];
        let found = all.into_iter().find(|state| state.word() == word);
        found.ok_or_else(|| StoreError::Corrupt(format!("a worker cannot be {word:?}")))
    }
}

/// A worker, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// What it said of itself.
    pub facts: WorkerFacts,
    /// Whether it takes tasks.
    pub state: WorkerState,
    /// When it registered.
    pub started_at: Micros,
    /// When it was last heard of.
    pub beat_at: Micros,
    /// How long ago that is, by the database's clock, in microseconds.
    pub silent_for: Micros,
    /// Tasks it holds now.
    pub running: u64,
}

macro_rules! columns {
    () => {
        "id, host, engine, capacity, labels, version, state, started_at, beat_at, address, certificate, secret,
         {now} - beat_at AS silent_for,
         (SELECT count(*) FROM task WHERE task.state = 'running' AND task.worker = worker.id) AS running"
    };
}

impl Worker {
    /// Whether it has not been heard of for longer than three signs of life are apart.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.silent_for > SILENCE_MAX
    }
}

#[derive(FromRow)]
pub(crate) struct WorkerRow {
    id: String,
    host: String,
    engine: Option<String>,
    capacity: i64,
    labels: String,
    version: String,
    state: String,
    started_at: i64,
    beat_at: i64,
    silent_for: i64,
    running: i64,
    address: Option<String>,
    certificate: Option<String>,
    secret: Option<String>,
}

/// All workers, with what they hold.
pub(crate) const LIST_WORKERS: &str = concat!("SELECT ", columns!(), " FROM worker ORDER BY id LIMIT 1000");

impl WorkerRow {
    pub(crate) fn read(self) -> Result<Worker, StoreError> {
        let streams = match (self.address, self.certificate, self.secret) {
            (Some(address), Some(certificate), Some(secret)) => Some(StreamDoor { address, certificate, secret }),
            _ => None,
        };
        Ok(Worker {
            facts: WorkerFacts {
                id: self.id,
                host: self.host,
                engine: self.engine,
                capacity: number("a worker's capacity", self.capacity)?,
                labels: from_json("a worker's labels", &self.labels)?,
                version: self.version,
                streams,
            },
            state: WorkerState::read(&self.state)?,
            started_at: self.started_at,
            beat_at: self.beat_at,
            silent_for: self.silent_for.max(0),
            running: number("a count", self.running)?,
        })
    }
}

impl Store {
    /// Writes a worker's row at its start. One that was cordoned stays so; one that was
    /// draining or leaving has come back, and is active.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn register_worker(&self, facts: &WorkerFacts) -> Result<(), StoreError> {
        let facts = facts.clone();
        self.write(move |tx| Box::pin(tx.register_worker(facts))).await
    }

    /// Says that a worker lives, and hears what it is to be.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when it is not registered (any more): register again.
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn beat_worker(&self, id: &str) -> Result<WorkerState, StoreError> {
        let id = id.to_owned();
        self.write_surviving(Durability::Process, move |tx| Box::pin(tx.beat_worker(id))).await
    }

    /// Changes whether a worker takes tasks.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn set_worker_state(&self, id: &str, state: WorkerState) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |tx| Box::pin(tx.set_worker_state(id, state))).await
    }

    /// Forgets workers that nobody has heard of for so long and that hold nothing. Returns
    /// how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn forget_workers(&self, silent_for: Duration) -> Result<u64, StoreError> {
        let silence = micros(silent_for);
        self.write(move |tx| Box::pin(tx.forget_workers(silence))).await
    }

    /// All workers, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        let rows: Vec<WorkerRow> = self.read(async |db| Ok(query(LIST_WORKERS).fetch_all(db).await?)).await?;
        rows.into_iter().map(WorkerRow::read).collect()
    }

    /// The worker that has each engine root: the one that was heard of last, where it has
    /// had several names.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_workers_by_engine(&self) -> Result<BTreeMap<String, Worker>, StoreError> {
        let mut all = self.list_workers().await?;
        all.sort_by_key(|worker| worker.beat_at);
        Ok(all.into_iter().filter_map(|worker| Some((worker.facts.engine.clone()?, worker))).collect())
    }

    /// The worker that has an engine root, as far as it has ever registered: the one that
    /// was heard of last, if it has had several names.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_worker_of(&self, engine: &str) -> Result<Option<Worker>, StoreError> {
        let row: Option<WorkerRow> = self
            .read(async |db| {
                let sql =
                    concat!("SELECT ", columns!(), " FROM worker WHERE engine = $1 ORDER BY beat_at DESC LIMIT 1");
                Ok(query(sql).bind(engine).fetch_optional(db).await?)
            })
            .await?;
        row.map(WorkerRow::read).transpose()
    }
}

impl Tx {
    async fn register_worker(&mut self, facts: WorkerFacts) -> Result<(), StoreError> {
        query(
            "INSERT INTO worker (id, host, engine, capacity, labels, version, address, certificate, secret,
                 state, started_at, beat_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'active', {now}, {now})
             ON CONFLICT (id) DO UPDATE SET
                 host = excluded.host, engine = excluded.engine, capacity = excluded.capacity,
                 labels = excluded.labels, version = excluded.version, address = excluded.address,
                 certificate = excluded.certificate, secret = excluded.secret,
                 state = CASE WHEN worker.state = 'cordoned' THEN worker.state ELSE 'active' END,
                 started_at = excluded.started_at, beat_at = excluded.beat_at",
        )
        .bind(&facts.id)
        .bind(&facts.host)
        .bind(&facts.engine)
        .bind(i64::from(facts.capacity))
        .bind(to_json("a worker's labels", &facts.labels)?)
        .bind(&facts.version)
        .bind(facts.streams.as_ref().map(|door| door.address.as_str()))
        .bind(facts.streams.as_ref().map(|door| door.certificate.as_str()))
        .bind(facts.streams.as_ref().map(|door| door.secret.as_str()))
        .execute(self.db())
        .await?;
        // It may be what some task has waited for.
        self.changed.tasks = true;
        Ok(())
    }

    async fn beat_worker(&mut self, id: String) -> Result<WorkerState, StoreError> {
        let word: Option<String> = query("UPDATE worker SET beat_at = {now} WHERE id = $1 RETURNING state")
            .bind(id)
            .scalar_optional(self.db())
            .await?;
        WorkerState::read(&word.ok_or(StoreError::NotFound("worker"))?)
    }

    async fn set_worker_state(&mut self, id: String, state: WorkerState) -> Result<(), StoreError> {
        let changed =
            query("UPDATE worker SET state = $2 WHERE id = $1").bind(id).bind(state.word()).execute(self.db()).await?;
        self.changed.tasks = true;
        if changed == 0 { Err(StoreError::NotFound("worker")) } else { Ok(()) }
    }

    async fn forget_workers(&mut self, silence: i64) -> Result<u64, StoreError> {
        let sql = "DELETE FROM worker WHERE beat_at < {now} - $1
             AND NOT EXISTS (SELECT 1 FROM task WHERE task.state = 'running' AND task.worker = worker.id)";
        Ok(query(sql).bind(silence).execute(self.db()).await?)
    }
}

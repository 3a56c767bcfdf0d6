//! The one door to the database: records, the queue with its leases, events, notices.
//!
//! SQLite (one writer connection, a few readers, WAL) for one process,
//! PostgreSQL for any number, behind the same functions with the same meaning: one suite
//! runs on both. SQL stands once, in one file per noun; what only one of the two has is in
//! `sqlite` and `postgres`.
//!
//! # Invariants
//!
//! * What a function answered `Ok` to survives `kill -9`, and a power cut: of SQLite's host,
//!   of PostgreSQL's. What may be lost in one is a claim, a task given back uncharged, an
//!   instance's row and its removal, a repair asked for (on SQLite only: whoever could miss
//!   them ended in that very moment), and on both a heartbeat, a worker's beat and the use of
//!   a token (said again soon).
//! * What is lost is the last of what was committed, nothing in between; so a task whose claim
//!   was lost is queued, with what was safe before it.
//! * Numbers that somebody outside may hold get no second meaning: tasks, releases, versions
//!   and the events of services are safe before anybody can read them. A task's own history
//!   (`task/<id>`) is not read by cursor: its end may be lost with what it tells. A lease token is
//!   not given twice while one who holds it may live.
//! * A write under a [`Lease`] happens only while that lease is held; a stale one
//!   changes nothing and returns [`StoreError::Stale`].
//! * At most one task of a subject is running; tasks of a subject run in the
//!   order they were asked for.
//! * Every change of a service appends an event in the same transaction, and an
//!   event's `seq` never skips within its subject.
//! * A write that was begun goes on to its end, whole, also when its caller stops
//!   waiting for it; two writes that do not wait for each other have no order.
//! * Leases go by the database's clock, never by a caller's.
//! * On PostgreSQL, writers run side by side, and each first locks what it changes; there
//!   too a cursor over events skips none.
//! * A newer version's schema is worked with as long as it has only added to ours, and never
//!   changed; who is [`outgrown`](Store::outgrown) writes no more.
//! * A [`notice`](Store::notices) only wakes a loop that re-reads; losing one costs latency.
//!
//! # Never
//!
//! No HTTP, no driver, no decision about what should run.
//!
//! Reading order: [`Store::request`] (how a change comes in), [`Store::claim`] and
//! what follows under its [`Lease`] (how it is worked on), [`Store::publish`] (how
//! it is done), [`Store::wait_task`] (how the asker hears of it).

mod builds;
mod claims;
mod counts;
mod db;
mod deposits;
mod door;
mod error;
mod events;
mod given_up;
mod held;
mod images;
mod instances;
mod leases;
mod measure;
#[cfg(feature = "mutants")]
pub mod mutants;
mod needed;
#[cfg(feature = "next-version")]
pub mod next_version;
mod old_releases;
mod portable;
mod postgres;
mod publish;
mod query;
mod queue;
mod releases;
mod repairs;
mod requests;
mod retention;
mod routes;
mod schema;
mod services;
mod set_back;
mod shelf;
mod sqlite;
mod tasks;
#[cfg(feature = "testing")]
mod testing;
mod tokens;
mod values;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use shipway_model::{
    Digest, Instance, Micros, ProjectName, Service, ServiceId, ServiceName, ServiceState, Task, TaskId, TaskPayload,
    TokenId,
};

pub use builds::{BuildFilter, BuildRequest, BuildWork};
pub use claims::Claimant;
pub use counts::{KindCount, ServiceCount, TaskCounts};
pub use deposits::{Deposit, DepositError};
pub use error::{OpenError, StoreError};
pub use given_up::GivenUp;
pub use portable::PortableError;
pub use postgres::open::Migrate;
pub use queue::{QueuePage, Stage, TaskFilter, TaskRecord, WaitTerms};
pub use retention::{OldTasks, Timeline};
pub use schema::{SCHEMA, SCHEMA_LEAST};
#[cfg(feature = "testing")]
pub use testing::{Statement, statements_of};
pub use workers::{Worker, WorkerFacts, WorkerState};

/// The most rows one call of a `list_…` with a `limit` returns, whatever was asked.
pub const PAGE_ROWS_MAX: u32 = 1000;

/// The store. Cheap to clone; all clones share one database.
#[derive(Debug, Clone)]
pub struct Store(Arc<door::Inner>);

/// The right to work on a task: possession is proof.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The task held.
    pub task: Task,
    /// Minted anew with every claim; every write under the lease carries it.
    pub token: i64,
    /// Until when, by the database's clock, unless renewed.
    pub until: Micros,
    /// When it ends at the latest, renewed or not.
    pub deadline: Micros,
}

/// A change somebody asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose service.
    pub project: ProjectName,
    /// Which service.
    pub target: Target,
    /// What to do.
    pub payload: TaskPayload,
    /// Who asks: a token's id, `local` or `system`; for the event.
    pub actor: String,
    /// Only if the service's version is this (`If-Match`).
    pub if_version: Option<u64>,
}

/// The service a [`Request`] is about.
#[derive(Debug, Clone)]
pub enum Target {
    /// An existing one.
    Existing(ServiceId),
    /// The one of this name, made with the id given if there is none. Only for deploys.
    NamedOrNew(ServiceName, ServiceId),
}

/// An accepted [`Request`].
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The service, as it is after accepting.
    pub service: Service,
    /// Whether this request made it.
    pub created: bool,
    /// The task that will do it.
    pub task: TaskId,
}

/// How long leases last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Without a heartbeat a lease ends after this long.
    pub heartbeat: Duration,
    /// With or without, after this long.
    pub deadline: Duration,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Given by its maker, for people.
    pub name: String,
    /// `admin` is the first role.
    pub role: String,
    /// Its project.
    pub project: ProjectName,
    /// When it was made.
    pub created_at: Micros,
    /// When it stops working, if ever.
    pub expires_at: Option<Micros>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Micros>,
}

/// What an image's name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Whose name.
    pub project: ProjectName,
    /// `repository:tag`.
    pub name: String,
    /// Of the tree.
    pub digest: Digest,
    /// Bytes of all its files.
    pub size_bytes: u64,
    /// Files, folders and symlinks.
    pub entries: u64,
    /// Where it came from, for people.
    pub source: String,
    /// When the name got this meaning.
    pub created_at: Micros,
}

/// What visitors of a service should reach: one row of the routing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The service.
    pub service: ServiceId,
    /// Its name, a second host label in project `default`.
    pub name: ServiceName,
    /// Its project.
    pub project: ProjectName,
    /// Its state, for the visitor's error when there is no instance.
    pub state: ServiceState,
    /// The live instance, if any.
    pub instance: Option<Instance>,
    /// The engine root that its containers live in, where that is known.
    pub engine: Option<String>,
}

/// What changed, roughly: loops re-read the store when a number grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notice {
    /// Grows when a task was enqueued or given back.
    pub tasks: u64,
    /// Grows when a task ended.
    pub ended: u64,
    /// Grows when a service, its live release or its live instance changed.
    pub services: u64,
    /// Grows when an event was appended.
    pub events: u64,
}

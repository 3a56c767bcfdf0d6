//! The one door to the database: records, the queue with its leases, events, notices.
//!
//! SQLite now (one writer connection, a few readers, WAL, `synchronous=FULL`),
//! PostgreSQL behind the same functions in a later release. SQL stands in one file per noun.
//!
//! # Invariants
//!
//! * What a function answered `Ok` to survives `kill -9` and a power cut.
//! * A write under a [`Lease`] happens only while that lease is held; a stale one
//!   changes nothing and returns [`StoreError::Stale`].
//! * At most one task of a subject is running; tasks of a subject run in the
//!   order they were asked for.
//! * Every change of a service appends an event in the same transaction, and an
//!   event's `seq` never skips within its subject.
//! * Leases go by the database's clock, never by a caller's.
//! * A [`notice`](Store::notices) only wakes a loop that re-reads; losing one costs latency.
//!
//! # Never
//!
//! No HTTP, no driver, no decision about what should run.

mod error;
mod events;
mod instances;
mod releases;
mod services;
mod tasks;
mod tokens;

use std::path::Path;
use std::time::Duration;

use shipway_model::task::Failure;
use shipway_model::{
    ContainerId, Event, Instance, Micros, Outcome, ProjectName, Release, ReleaseSpec, Service,
    ServiceId, ServiceName, ServiceState, Task, TaskId, TaskPayload, TokenId, Wanted,
};
use tokio::sync::watch;

pub use error::{OpenError, StoreError};

/// The store. Cheap to clone; all clones share one database.
#[derive(Debug, Clone)]
pub struct Store {}

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
#[derive(Debug, Clone, Copy)]
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

#[allow(
    clippy::todo,
    clippy::unused_async,
    unused_variables,
    clippy::missing_errors_doc,
    clippy::allow_attributes,
    reason = "bodies follow in their files"
)]
impl Store {
    /// Opens or makes the database at `path`, migrates it, and checks it.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        todo!()
    }

    /// The database's clock.
    pub async fn now(&self) -> Result<Micros, StoreError> {
        todo!()
    }

    /// A small write and its rollback: whether the database takes writes now.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Wakes loops. Level-triggered: compare the numbers, then re-read.
    pub fn notices(&self) -> watch::Receiver<Notice> {
        todo!()
    }

    // === services ===

    /// Accepts a change: makes the service if asked to, enqueues the task, sets
    /// `wanted`, appends the event, in one transaction.
    pub async fn request(&self, request: Request) -> Result<Accepted, StoreError> {
        todo!()
    }

    pub async fn find_service(
        &self,
        project: &ProjectName,
        name: &ServiceName,
    ) -> Result<Option<Service>, StoreError> {
        todo!()
    }

    pub async fn find_service_by_id(&self, id: ServiceId) -> Result<Option<Service>, StoreError> {
        todo!()
    }

    /// Services of a project in the order of their names, after `after`.
    pub async fn list_services(
        &self,
        project: &ProjectName,
        after: Option<&ServiceName>,
        limit: u32,
    ) -> Result<Vec<Service>, StoreError> {
        todo!()
    }

    /// Changes a service's state under the lease of one of its tasks, if the state
    /// machine allows it.
    pub async fn set_service_state(
        &self,
        lease: &Lease,
        state: ServiceState,
        wanted: Option<Wanted>,
    ) -> Result<Service, StoreError> {
        todo!()
    }

    /// Forgets the service of the lease, with its releases and instances, and ends the task.
    /// Its events and its ended tasks remain; its name is free again.
    pub async fn delete_service(&self, lease: &Lease) -> Result<(), StoreError> {
        todo!()
    }

    /// The routing table: every service, with its live instance if it has one.
    pub async fn list_routes(&self) -> Result<Vec<Route>, StoreError> {
        todo!()
    }

    // === releases ===

    /// Makes the next release of the lease's service, in state `starting`.
    pub async fn add_release(
        &self,
        lease: &Lease,
        spec: &ReleaseSpec,
    ) -> Result<Release, StoreError> {
        todo!()
    }

    /// Makes a release live: the old one is retired, `instance` becomes the live
    /// instance, the old live instance is set to draining, the service is `live`,
    /// events are appended, and the task ends, in one transaction.
    pub async fn publish(
        &self,
        lease: &Lease,
        release: u32,
        instance: ContainerId,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Records that a release did not become ready, and ends the task. The
    /// service becomes `failed` only if nothing was live before.
    pub async fn fail_release(
        &self,
        lease: &Lease,
        release: u32,
        failure: &Failure,
    ) -> Result<(), StoreError> {
        todo!()
    }

    pub async fn find_release(
        &self,
        service: ServiceId,
        number: u32,
    ) -> Result<Option<Release>, StoreError> {
        todo!()
    }

    /// Releases of a service, newest first, below `before`.
    pub async fn list_releases(
        &self,
        service: ServiceId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<Release>, StoreError> {
        todo!()
    }

    // === instances ===

    /// Writes the row of a container before it is started, or what is known after.
    pub async fn put_instance(&self, lease: &Lease, instance: &Instance) -> Result<(), StoreError> {
        todo!()
    }

    /// Forgets a container that is gone.
    pub async fn remove_instance(
        &self,
        lease: &Lease,
        container: ContainerId,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Instances of one service, or of all.
    pub async fn list_instances(
        &self,
        service: Option<ServiceId>,
    ) -> Result<Vec<Instance>, StoreError> {
        todo!()
    }

    // === tasks ===

    /// Enqueues a `repair` of a service, not before `delay` from now, unless one
    /// is already queued for that time or earlier.
    pub async fn request_repair(
        &self,
        service: ServiceId,
        delay: Duration,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Takes the next task that is due and whose subject is free.
    pub async fn claim(
        &self,
        worker: &str,
        terms: LeaseTerms,
    ) -> Result<Option<Lease>, StoreError> {
        todo!()
    }

    /// When the next queued task becomes due, to know how long to sleep.
    pub async fn next_due(&self) -> Result<Option<Micros>, StoreError> {
        todo!()
    }

    /// Renews a lease, up to its deadline.
    pub async fn heartbeat(&self, lease: &Lease, terms: LeaseTerms) -> Result<(), StoreError> {
        todo!()
    }

    /// Ends a task, with its event.
    pub async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<(), StoreError> {
        todo!()
    }

    /// Gives a task back, to be claimed again after `delay`; `charge` counts it as an attempt.
    pub async fn give_back(
        &self,
        lease: &Lease,
        delay: Duration,
        charge: bool,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Gives back every running task whose lease has run out, or (at the start of
    /// the only process, which has no leases yet) every running task.
    pub async fn rescue(&self, all: bool) -> Result<u64, StoreError> {
        todo!()
    }

    pub async fn find_task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        todo!()
    }

    /// Waits until the task has ended, at most `limit`; `None` when it has not.
    pub async fn wait_task(
        &self,
        id: TaskId,
        limit: Duration,
    ) -> Result<Option<Outcome>, StoreError> {
        todo!()
    }

    // === events ===

    /// Appends an event of the lease's service that is no change of its row.
    pub async fn append_event(
        &self,
        lease: &Lease,
        kind: &shipway_model::EventKind,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Events of a subject after `after_seq`, oldest first.
    pub async fn list_events(
        &self,
        subject: &str,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        todo!()
    }

    // === tokens ===

    /// Keeps a token by the SHA-256 of its secret.
    pub async fn add_token(
        &self,
        token: &Token,
        secret_sha256: [u8; 32],
        actor: &str,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Finds a token that has not expired by the hash of its secret, and notes its use (to the minute).
    pub async fn use_token(&self, secret_sha256: [u8; 32]) -> Result<Option<Token>, StoreError> {
        todo!()
    }

    pub async fn list_tokens(&self) -> Result<Vec<Token>, StoreError> {
        todo!()
    }

    /// Returns whether there was one.
    pub async fn revoke_token(&self, id: TokenId, actor: &str) -> Result<bool, StoreError> {
        todo!()
    }
}

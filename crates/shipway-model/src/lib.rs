//! The nouns of Shipway and the legal changes of their states.
//!
//! No I/O, no async, no clock and no randomness: times and ids come in as
//! values. Everything here may be kept in the store or travel between parts as
//! JSON, so a field is added with a default and never changes its meaning.
//!
//! Reading order: [`names`] and [`ids`] (what things are called), [`digest`],
//! [`release`] (what it takes to run a service), [`service`], [`instance`]
//! (a release's container, as wanted and seen), [`task`] (a unit of the durable
//! queue), [`build`] (work that makes an artifact), [`event`] (what happened, for ever), [`streams`] (who is asked for what flows).

pub mod build;
pub mod digest;
pub mod event;
pub mod ids;
pub mod instance;
pub mod names;
pub mod release;
pub mod service;
pub mod streams;
pub mod task;
pub mod waiting;

pub use build::{Artifact, Build, BuildState, Document, Made};
pub use digest::Digest;
pub use event::{Event, EventKind};
pub use ids::{BuildId, ContainerId, ServiceId, TaskId, TokenId};
pub use instance::{Instance, InstanceRole, Protocol};
pub use names::{Label, NameError, ProjectName, ServiceName};
pub use release::{
    ContentKind, Egress, HealthCheck, Limits, Release, ReleaseProgram, ReleaseSpec, ReleaseState, RootFs, Runner,
    Source,
};
pub use service::{Service, ServiceState, Wanted};
pub use streams::StreamDoor;
pub use task::{Failure, FailureCode, Outcome, Subject, Task, TaskPayload, TaskState};
pub use waiting::Waiting;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

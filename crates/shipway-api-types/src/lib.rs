//! The JSON shapes of `/v1` and the codes of its problems.
//!
//! Both ends use them: the API writes them, the client reads them, and the
//! OpenAPI document is made from them. Shapes only: no logic beyond a word for a
//! value. A field is added with a default and never changes its meaning; request
//! shapes refuse fields they do not know, answers may grow new ones.
//!
//! Reading order: [`service`], [`release`], [`image`], [`build`], [`stream`] (logs, events, stats,
//! exec), [`queue`], [`token`], [`page`], [`problem`].

pub mod build;
pub mod image;
pub mod page;
pub mod problem;
pub mod queue;
pub mod release;
pub mod service;
pub mod stream;
pub mod token;

pub use build::{Build, BuildArtifact, BuildCreate, BuildFailure, BuildLine, BuildPlugin, BuildState, SigningKeys};
pub use image::{Image, ImageBootstrap, ImageImported};
pub use page::Page;
pub use problem::{FieldError, Problem, ProblemCode};
pub use queue::{Task, TaskDetail, TaskFailure, TaskState, TaskStep, Waiting, Worker, WorkerState};
pub use release::{Change, HealthCheck, Limits, Release, ReleaseDiff, ReleaseState, Source};
pub use service::{
    ContentKind, Egress, Protocol, Rollback, Runner, Service, ServicePut, ServiceState, ServiceWorker, Upload, Wanted,
};
pub use stream::{EgressStats, Event, ExecClient, ExecServer, LogLine, LogStream, Stats, TerminalSize};
pub use token::{NewToken, Token, TokenCreate};

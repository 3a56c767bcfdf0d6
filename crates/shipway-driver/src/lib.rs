//! The contract every container engine keeps.
//!
//! A [`Driver`] makes the moves it is told and says what it saw. It decides
//! nothing: which release runs, when to restart and when to give up is the
//! worker's. It remembers nothing that [`Driver::recover`] could not find again
//! after a `kill -9`.
//!
//! # The life of a workload
//!
//! 1. The worker writes an instance row with a fresh [`ContainerId`].
//! 2. [`Driver::start`] with that id. Called twice with one id, it returns the
//!    container of the first call: a worker that died in between simply asks again.
//! 3. [`Driver::wait`] until it ends, or [`Driver::stop`].
//! 4. [`Driver::remove`]; after that the id is unknown ([`DriverError::Unknown`]).
//!
//! # Never
//!
//! A driver never names a user's string to a shell, never restarts anything by
//! itself, and never touches a container that another owner made.

#[cfg(feature = "testing")]
pub mod conformance;
mod error;
#[cfg(feature = "testing")]
pub mod fake;
mod stream;
mod workload;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, RootFs};

pub use error::DriverError;
pub use stream::{ExecInput, ExecOutput, ExecSession, ExecSpec, LogCursor, LogLine, LogQuery, LogStream};
pub use workload::{EgressStats, Exit, Ingress, Phase, Program, Seen, Started, Stats, Workload};

/// One container engine.
#[async_trait]
pub trait Driver: std::fmt::Debug + Send + Sync {
    /// `embedded`, `docker`, `nomad`, `kubernetes`.
    fn name(&self) -> &'static str;

    /// Returns the root file system that a new release should be born with now.
    ///
    /// May take a second when the host's packages have changed since the last call.
    async fn current_root(&self) -> Result<RootFs, DriverError>;

    /// Makes and starts a container, or returns the one that this id already has.
    ///
    /// `content` is the file on this host that the workload's program serves.
    async fn start(&self, workload: &Workload, content: Option<&Path>) -> Result<Started, DriverError>;

    /// Asks the container to end, waits at most `grace`, then kills all of it.
    ///
    /// Returns how it ended; a container that had ended already says how.
    async fn stop(&self, container: ContainerId, grace: Duration) -> Result<Exit, DriverError>;

    /// Waits until the container ends.
    async fn wait(&self, container: ContainerId) -> Result<Exit, DriverError>;

    /// Says what the container is doing.
    async fn inspect(&self, container: ContainerId) -> Result<Seen, DriverError>;

    /// Lists every container of this driver's owner, ended ones included.
    async fn recover(&self) -> Result<Vec<Seen>, DriverError>;

    /// Returns where the container answers.
    async fn endpoint(&self, container: ContainerId) -> Result<Endpoint, DriverError>;

    /// Removes an ended container, logs and all. Removing an unknown one is fine.
    async fn remove(&self, container: ContainerId) -> Result<(), DriverError>;

    /// Reads its log; a following stream ends when the container has ended.
    async fn logs(
        &self,
        container: ContainerId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, DriverError>>, DriverError>;

    /// Says what it uses.
    async fn stats(&self, container: ContainerId) -> Result<Stats, DriverError>;

    /// What of this host stands in the way of containers with egress, each with its
    /// remedy: a firewall of others that drops their packets, say. Empty when nothing
    /// does, when it cannot be told, or when no container has egress.
    async fn obstacles(&self) -> Vec<String> {
        Vec::new()
    }

    /// Runs another process in it.
    async fn exec(&self, container: ContainerId, spec: ExecSpec) -> Result<ExecSession, DriverError>;
}

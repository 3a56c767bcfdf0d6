//! What flows while a service runs: logs, stats, exec.
//!
//! These cannot pass through the store, so the API asks for them through one
//! narrow contract, [`Live`]. In one process it is a function call into the
//! worker, made by an adapter in the binary; the API itself knows no engine.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use shipway_api_types::{LogLine, LogStream, Stats, TerminalSize};
use shipway_model::{Micros, ServiceId};
use tokio::sync::mpsc;

/// What flows while services run.
#[async_trait]
pub trait Live: Debug + Send + Sync {
    /// Waits until visitors are sent where the store says now.
    ///
    /// Bounded by the implementation; returns at once when nothing serves visitors.
    async fn reachable(&self, service: ServiceId);

    /// Reads a service's log: of the container of its live release, and when
    /// following also of those that come after it.
    ///
    /// # Errors
    ///
    /// [`LiveError`]; a service that never ran has an empty log, which is none.
    async fn logs(&self, service: ServiceId, query: LogQuery) -> Result<LogLines, LiveError>;

    /// Says what the container of the live release uses.
    ///
    /// # Errors
    ///
    /// [`LiveError::NotRunning`] and the others.
    async fn stats(&self, service: ServiceId) -> Result<Stats, LiveError>;

    /// Runs another process in the container of the live release.
    ///
    /// # Errors
    ///
    /// [`LiveError::NotRunning`], [`LiveError::NoProgram`], [`LiveError::Refused`] and
    /// the others.
    async fn exec(&self, service: ServiceId, spec: ExecSpec) -> Result<ExecSession, LiveError>;
}

/// Lines of a log, in order.
pub type LogLines = BoxStream<'static, Result<LogLine, LiveError>>;

/// What to read of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Go on when the end is reached, until the service is deleted.
    pub follow: bool,
    /// Only the last so many lines of what is there.
    pub tail: Option<usize>,
    /// Only lines of this time or later.
    pub since: Option<Micros>,
    /// Only lines after the one with this cursor. It came from outside: one that
    /// makes no sense is [`LiveError::BadCursor`].
    pub after: Option<String>,
    /// Only lines of this output.
    pub stream: Option<LogStream>,
}

/// Another process to run in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// Further environment.
    pub env: BTreeMap<String, String>,
    /// Its terminal, if it gets one.
    pub terminal: Option<TerminalSize>,
}

/// A running exec. Dropping `input` kills the process.
#[derive(Debug)]
pub struct ExecSession {
    /// To the process.
    pub input: mpsc::Sender<ExecInput>,
    /// From the process; the last message is [`ExecOutput::Exited`].
    pub output: mpsc::Receiver<ExecOutput>,
}

/// To a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecInput {
    /// Standard input, or keys.
    Stdin(Bytes),
    /// End of standard input.
    Eof,
    /// The terminal's new size.
    Resize(TerminalSize),
    /// A signal.
    Signal(i32),
}

/// From a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Standard output, or the terminal's.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// It ended: status, or 128 + signal.
    Exited(i32),
}

/// Why something live cannot be had. Messages are safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveError {
    /// The service has no running container.
    #[error("the service has no running container")]
    NotRunning,
    /// A log cursor that makes no sense.
    #[error("the log cursor cannot be read")]
    BadCursor,
    /// There is no such program in the container, or it cannot be executed.
    #[error("{detail}")]
    NoProgram {
        /// Whether it is not there at all.
        missing: bool,
        /// Which, and why.
        detail: String,
    },
    /// The engine will not do this, and would not if asked again.
    #[error("{0}")]
    Refused(String),
    /// The engine cannot do it now.
    #[error("{0}")]
    Unavailable(String),
    /// Our bug; what is in it is logged, not shown.
    #[error("{0}")]
    Internal(String),
}

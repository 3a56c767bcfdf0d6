//! Why the engine could not do something, by what its caller does about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why the engine could not do something.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No container of that id: removed, or never made.
    #[error("no container {0}")]
    Unknown(String),
    /// A container of that id exists and was made from something else.
    #[error("container {0} exists already, with another specification")]
    Exists(String),
    /// The container is not running.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container is running, and must not be for this.
    #[error("container {0} is running")]
    Running(String),
    /// What was asked for can never work: which part, and the rule.
    #[error("{0}")]
    Invalid(String),
    /// Another process owns this engine root.
    #[error("the engine root {} is in use by process {pid}", root.display())]
    Owned {
        /// The root.
        root: PathBuf,
        /// Its owner, as written into the lock file; 0 when that cannot be read.
        pid: i32,
    },
    /// As many containers as there may be exist already; remove some first.
    #[error("no room for another container: {0}")]
    Full(String),
    /// A container could not be made; everything made for it is gone again.
    #[error("could not start the container: {step}: {detail}")]
    Start {
        /// The step that failed, such as `mount overlay`.
        step: String,
        /// `errno`, or 0.
        errno: i32,
        /// For people.
        detail: String,
    },
    /// This host cannot do it (now).
    #[error("could not {doing}")]
    Host {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// This host lacks something that every container needs.
    #[error("{missing}; {remedy}")]
    Missing {
        /// What.
        missing: String,
        /// What an operator can do.
        remedy: String,
    },
}

/// Adds to an error of the kernel's what was being done.
pub(crate) trait Doing<T> {
    /// `doing` completes the sentence "could not …".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, EngineError>;

    /// The common case: one verb and one path.
    fn on(self, verb: &str, path: &Path) -> Result<T, EngineError>
    where
        Self: Sized,
    {
        self.doing(|| format!("{verb} {}", path.display()))
    }
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, EngineError> {
        self.map_err(|error| EngineError::Host { doing: doing(), source: error.into() })
    }
}

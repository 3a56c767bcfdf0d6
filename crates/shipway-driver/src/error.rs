//! Why a driver could not do something, by what the caller does about it.

use shipway_model::ContainerId;

/// Why a driver could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// No such container: removed, or never made.
    #[error("no container {0}")]
    Unknown(ContainerId),
    /// The container exists but is not running.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// The request itself cannot work, here or anywhere: trying again would not help.
    #[error("{0}")]
    Invalid(String),
    /// There is no such program inside, or it is there and cannot be executed. As
    /// permanent as [`DriverError::Invalid`]; a shell tells the two apart (127, 126).
    #[error("cannot execute the program: {detail}")]
    NoProgram {
        /// Whether it is not there at all.
        missing: bool,
        /// Which one, and what the kernel said.
        detail: String,
    },
    /// This host cannot do it now (disk full, out of slots, a missing feature);
    /// trying again later, or a remedy of the operator's, may help.
    #[error("{what}")]
    Unavailable {
        /// What could not be done and why.
        what: String,
        /// What the operator can do, if known.
        hint: Option<String>,
    },
}

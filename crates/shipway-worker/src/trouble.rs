//! Why a task did not get done, by what happens to it next. Every error is
//! classified here, once.

use shipway_driver::DriverError;
use shipway_fetch::FetchError;
use shipway_model::{Failure, FailureCode};
use shipway_store::StoreError;

/// Why a task did not get done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Trying again would not help: the task ends, and the user hears why.
    #[error("{}", .0.detail)]
    Failed(Box<Failure>),
    /// It may work later: the task is given back. After the last attempt the user
    /// hears this.
    #[error("{}", .0.detail)]
    Later(Box<Failure>),
    /// Somebody else holds the task now.
    #[error("the lease on this task is no longer held")]
    Stale,
}

impl Trouble {
    pub(crate) fn failed(code: FailureCode, detail: impl Into<String>) -> Self {
        Self::Failed(Box::new(failure(code, detail)))
    }

    pub(crate) fn later(code: FailureCode, detail: impl Into<String>) -> Self {
        Self::Later(Box::new(failure(code, detail)))
    }
}

/// A failure with nothing more to say.
pub(crate) fn failure(code: FailureCode, detail: impl Into<String>) -> Failure {
    Failure { code, detail: detail.into(), hint: None, log_tail: Vec::new() }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stale => Self::Stale,
            StoreError::Unavailable { .. } => Self::later(FailureCode::StorageUnavailable, error.to_string()),
            // What is left are states that a task under its lease cannot meet.
            _ => Self::failed(FailureCode::Internal, error.to_string()),
        }
    }
}

impl From<DriverError> for Trouble {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::Invalid(detail) => Self::failed(FailureCode::ReleaseNotReady, detail),
            DriverError::NoProgram { .. } => Self::failed(FailureCode::ReleaseNotReady, error.to_string()),
            DriverError::Unavailable { what, hint } => {
                Self::Later(Box::new(Failure { hint, ..failure(FailureCode::EngineUnavailable, what) }))
            }
            // Somebody removed or ended it under our hands: look again, later.
            DriverError::Unknown(_) | DriverError::NotRunning(_) => {
                Self::later(FailureCode::EngineUnavailable, error.to_string())
            }
        }
    }
}

impl From<FetchError> for Trouble {
    /// A user waits for what the origin said, good or bad: nothing is fetched twice.
    fn from(error: FetchError) -> Self {
        Self::Failed(Box::new(Failure { hint: error.hint(), ..failure(error.code(), error.detail()) }))
    }
}

//! Why a URL could not be fetched: what was seen, safe to show, and what to do.

use shipway_model::FailureCode;

use crate::blobs::BlobError;

/// Why a URL could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A rule forbids it; nothing was connected (to the refused address).
    #[error("{rule}")]
    Refused {
        /// Which rule, with what broke it.
        rule: String,
        /// What would be allowed.
        hint: Option<String>,
    },
    /// The origin answered with another status than 200.
    #[error("{host} answered {status} instead of 200")]
    Status {
        /// Who.
        host: String,
        /// What.
        status: u16,
    },
    /// The origin could not be reached, broke off, or its answer makes no sense.
    #[error("{0}")]
    Failed(String),
    /// The origin took too long.
    #[error("{what} took longer than {seconds} s")]
    Timeout {
        /// Which step.
        what: &'static str,
        /// Its limit.
        seconds: u64,
    },
    /// The content is larger than allowed.
    #[error("the content has more than {limit} bytes, the most that is fetched")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// It could not be stored here.
    #[error(transparent)]
    Storage(#[from] BlobError),
}

impl FetchError {
    /// The kind of failure, for the API.
    #[must_use]
    pub const fn code(&self) -> FailureCode {
        match self {
            Self::Refused { .. } => FailureCode::FetchRefused,
            Self::Status { .. } => FailureCode::FetchStatus,
            Self::Failed(_) => FailureCode::FetchFailed,
            Self::Timeout { .. } => FailureCode::FetchTimeout,
            Self::TooLarge { .. } | Self::Storage(BlobError::TooLarge { .. }) => FailureCode::FetchTooLarge,
            Self::Storage(_) => FailureCode::StorageUnavailable,
        }
    }

    /// What happened, in a sentence that is safe to show.
    #[must_use]
    pub fn detail(&self) -> String {
        self.to_string()
    }

    /// What the user can do, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. } => hint.clone(),
            Self::TooLarge { .. } => Some("an operator can raise `fetch.limit_bytes`".to_owned()),
            _ => None,
        }
    }

    pub(crate) fn refused(rule: impl Into<String>) -> Self {
        Self::Refused { rule: rule.into(), hint: None }
    }
}

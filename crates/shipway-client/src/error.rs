//! What can go wrong between here and the API, by what the caller does about it.

use shipway_api_types::Problem;

/// Why a request has no answer, or another one than hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers there.
    #[error("cannot reach shipway at {address}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke off in the middle.
    #[error("the connection to shipway broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API said why not.
    #[error("{}", told(.0))]
    Refused(Box<Problem>),
    /// An answer that makes no sense: perhaps another program, or another version.
    #[error("the answer is not one of shipway's: {0}")]
    Nonsense(String),
    /// A file to upload could not be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn told(problem: &Problem) -> String {
    if problem.detail.is_empty() { problem.title.clone() } else { format!("{}: {}", problem.title, problem.detail) }
}

impl Error {
    /// What the API said, if it did.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }
}

//! What could not be settled, what was tried, and whose fault it is.

use std::time::Duration;

use thiserror::Error;

use crate::module::ModuleError;
use crate::proxy::{Failure, ProxyError, Tried};

/// An item of a request that could not be settled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{item}: {cause}")]
pub struct ResolveError {
    /// The item, as it was asked for.
    pub item: String,
    /// Why.
    pub cause: Cause,
}

/// Why an item could not be settled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Cause {
    /// A proxy has not got it, refused it or failed.
    #[error("{0}")]
    Proxy(#[from] ProxyError),
    /// The module is there, but no version of it is meant.
    #[error("no version of {module} matches {query}; there are {known}")]
    NoVersion {
        /// The module.
        module: String,
        /// What was asked for.
        query: String,
        /// The highest ones there are, as text.
        known: String,
        /// Each proxy that was asked for it by name.
        tried: Vec<Tried>,
    },
    /// The version, or every one that could be meant, was taken back by its author.
    #[error("{module}@{version} is retracted by its author{}", reason(.rationale))]
    Retracted {
        /// The module.
        module: String,
        /// The version.
        version: String,
        /// The author's words; may be empty.
        rationale: String,
    },
    /// Path and version do not go together.
    #[error(transparent)]
    Malformed(#[from] ModuleError),
    /// No module that could hold the package does.
    #[error("no module holds the package; looked in {looked_in}")]
    NoPackage {
        /// Modules at versions, or why there is none, as text.
        looked_in: String,
    },
    /// The module calls itself by another path.
    #[error("its go.mod says that it is {declared}; ask for that path")]
    OtherPath {
        /// What it says.
        declared: String,
    },
    /// Two plugins need one module at two versions.
    #[error("{module} is needed at two versions: {first}, {second}")]
    Conflict {
        /// The module.
        module: String,
        /// One version and for what.
        first: String,
        /// The other.
        second: String,
    },
    /// The time for the whole request is over.
    #[error("resolution took longer than {}s", .0.as_secs())]
    TooSlow(Duration),
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another request is needed.
    Mistake,
    /// The operator's proxy will not serve it: another request, or another proxy.
    Refused,
    /// A proxy answers nonsense: permanent until somebody mends it.
    Broken,
    /// Another time it may work.
    Transient,
    /// Content is not what the checksum database says. Never to be tried elsewhere.
    Checksum,
}

impl ResolveError {
    /// What is to be done about it.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match &self.cause {
            Cause::Proxy(error) => match error.failure {
                Failure::NotFound => Verdict::Mistake,
                Failure::Refused => Verdict::Refused,
                Failure::Broken => Verdict::Broken,
                Failure::Unavailable => Verdict::Transient,
            },
            Cause::TooSlow(_) => Verdict::Transient,
            _ => Verdict::Mistake,
        }
    }

    /// Each proxy that was asked last, and what it said: `(proxy, answer)`.
    #[must_use]
    pub fn tried(&self) -> Vec<(String, String)> {
        let tried = match &self.cause {
            Cause::Proxy(error) => error.tried.as_slice(),
            Cause::NoVersion { tried, .. } => tried,
            _ => &[],
        };
        tried.iter().map(|it| (it.proxy.clone(), it.answer.clone())).collect()
    }
}

fn reason(rationale: &str) -> String {
    if rationale.is_empty() { String::new() } else { format!(": {}", crate::module::shown(rationale)) }
}

//! What is wrong with a path or a version.

use thiserror::Error;

/// Why a string is no module path, import path or version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModuleError {
    /// Not a path that Go accepts.
    #[error("malformed {kind} {given:?}: {reason}")]
    Path {
        /// `module path` or `import path`.
        kind: &'static str,
        /// What was given, cut to a length fit for a message.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a version, or not one that a query may name.
    #[error("malformed version {given:?}: {reason}")]
    Version {
        /// What was given, cut to a length fit for a message.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The version's major is not the one of the path.
    #[error("{version} is no version of {path}: it should be {expected}")]
    Major {
        /// The module.
        path: String,
        /// The version that does not fit.
        version: String,
        /// What would fit: `v0 or v1`, `v2`.
        expected: String,
    },
}

/// Cuts a stranger's string for a message.
pub(crate) fn shown(given: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 120;
    match given.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &given[..end]),
        None => given.to_owned(),
    }
}

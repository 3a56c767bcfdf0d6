//! Which version is meant: one, the latest, the highest of some, or what a branch has.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::module::version::is_prefix;
use crate::module::{ModuleError, Version, escape, shown};

/// A question for a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Query {
    /// The highest release that is not retracted.
    Latest,
    /// Exactly this one.
    Exact(Version),
    /// The highest that begins so: `v1`, `v1.2`.
    Prefix(String),
    /// What a branch, a tag or a commit is.
    Revision(String),
}

impl Query {
    /// Reads a query; empty is `latest`. Build metadata of a version is dropped, but for
    /// `+incompatible`, as Go does.
    ///
    /// # Errors
    ///
    /// Not one that can be asked of a module proxy, or one of Go's queries that only make sense
    /// beside a `go.mod` (`upgrade`, `patch`, `none`).
    pub fn parse(text: &str) -> Result<Self, ModuleError> {
        if text.is_empty() || text == "latest" {
            return Ok(Self::Latest);
        }
        if matches!(text, "upgrade" | "patch" | "none") {
            let reason = "it is no version here; name one, or latest";
            return Err(ModuleError::Version { given: shown(text), reason });
        }
        if is_prefix(text) {
            return Ok(Self::Prefix(text.to_owned()));
        }
        let plain = if text.ends_with("+incompatible") { text } else { text.split('+').next().unwrap_or(text) };
        if let Ok(version) = Version::parse(plain) {
            return Ok(Self::Exact(version));
        }
        escape::query(text)?;
        Ok(Self::Revision(text.to_owned()))
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Exact(version) => version.fmt(f),
            Self::Prefix(text) | Self::Revision(text) => f.write_str(text),
        }
    }
}

impl TryFrom<String> for Query {
    type Error = ModuleError;

    fn try_from(text: String) -> Result<Self, ModuleError> {
        Self::parse(&text)
    }
}

impl From<Query> for String {
    fn from(query: Query) -> Self {
        query.to_string()
    }
}

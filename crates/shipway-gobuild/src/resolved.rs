//! What a request means: every word settled, nothing left that may change tomorrow.

use serde::{Deserialize, Serialize};

use crate::module::{ImportPath, ModulePath, Version};
use crate::platform::Platform;

/// A request with every version settled. Sorted like the request it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// Name of the recipe.
    pub recipe: String,
    /// The program's module and version.
    pub program: Settled,
    /// What is imported, sorted by package.
    pub plugins: Vec<SettledPlugin>,
    /// What is replaced, sorted by what it replaces.
    pub replacements: Vec<SettledReplacement>,
    /// What it is built for.
    pub platform: Platform,
    /// The oldest Go that the program and the plugins accept, by the `go` lines of their
    /// `go.mod`s: `1.25.0`. Empty if none has one.
    pub go: String,
}

/// A module at a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// The module.
    pub module: ModulePath,
    /// Its version.
    pub version: Version,
}

/// A plugin, and the module at a version that holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettledPlugin {
    /// The package imported.
    pub package: ImportPath,
    /// The module that holds it.
    pub module: ModulePath,
    /// Its version.
    pub version: Version,
}

/// A replacement by a module at a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettledReplacement {
    /// The module replaced.
    pub old: ModulePath,
    /// Only this version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_version: Option<Version>,
    /// What takes its place.
    pub new: ModulePath,
    /// At which version.
    pub version: Version,
}

impl std::fmt::Display for Settled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.module, self.version)
    }
}

//! What was asked for: a program, plugins, replacements, a platform.
//!
//! A request is checked as text here and means nothing yet: `latest` is still `latest`, and a
//! plugin is a package of a module that nobody has looked for.

mod query;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::module::{ImportPath, ModuleError, ModulePath, Version};
use crate::platform::{Platform, PlatformError};
pub use query::Query;
pub use text::{parse_plugin, parse_replacement};

/// Most plugins of one build, unless an operator says otherwise: more than any real build has,
/// few enough that resolving them is bounded.
pub const PLUGINS_MAX: usize = 100;

/// A build as somebody wants it. Made by [`Request::new`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Name of the recipe.
    pub recipe: String,
    /// Version of the program.
    pub version: Query,
    /// Plugins, sorted by package, none twice.
    pub plugins: Vec<Plugin>,
    /// Replacements, sorted by what they replace, none twice.
    pub replacements: Vec<Replacement>,
    /// What it is built for.
    pub platform: Platform,
}

/// A package to be imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// The package: a module's path, or one beneath it.
    pub package: ImportPath,
    /// Which version of its module.
    pub version: Query,
}

/// A module whose content is taken from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// The module replaced.
    pub old: ModulePath,
    /// Only this version of it; none, and every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_version: Option<Version>,
    /// The module that takes its place. Never a directory.
    pub new: ModulePath,
    /// Its version.
    pub version: Query,
}

/// Why a request cannot mean anything. All are the asker's mistakes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A path or version of it is malformed.
    #[error("{item:?}: {source}")]
    Malformed {
        /// What was given.
        item: String,
        /// Why.
        source: ModuleError,
    },
    /// A replacement that is not `old=new@version`.
    #[error("replacement {item:?} is not old=new@version: {reason}")]
    Replacement {
        /// What was given.
        item: String,
        /// What is missing.
        reason: &'static str,
    },
    /// One thing asked for in two ways.
    #[error("{path} is asked for twice, and differently: {first} and {second}")]
    Conflict {
        /// The package or module.
        path: String,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// More plugins or replacements than are accepted.
    #[error("{given} {what} are too many: at most {max}")]
    TooMany {
        /// `plugins` or `replacements`.
        what: &'static str,
        /// How many were given.
        given: usize,
        /// How many may be.
        max: usize,
    },
    /// Not a platform that is built for.
    #[error(transparent)]
    Platform(#[from] PlatformError),
}

impl Request {
    /// Puts a request together: sorts it, drops what is said twice, takes a `p` that names the
    /// program's own module for its version (how that was asked before `version=` existed).
    ///
    /// # Errors
    ///
    /// Too many of something, or one thing in two ways.
    pub fn new(
        recipe: &crate::recipe::Recipe,
        version: Query,
        plugins: Vec<Plugin>,
        replacements: Vec<Replacement>,
        platform: Platform,
        plugins_max: usize,
    ) -> Result<Self, RequestError> {
        limit("plugins", plugins.len(), plugins_max)?;
        limit("replacements", replacements.len(), plugins_max)?;
        let (own, plugins): (Vec<_>, Vec<_>) = plugins.into_iter().partition(|it| is_program(recipe, &it.package));
        let mut version = version;
        for asked in own {
            version = agreed(asked.package.as_str(), version, asked.version)?;
        }
        Ok(Self {
            recipe: recipe.name.clone(),
            version,
            plugins: distinct_plugins(plugins)?,
            replacements: distinct_replacements(replacements)?,
            platform,
        })
    }
}

/// Whether this is the program itself, of whatever major.
fn is_program(recipe: &crate::recipe::Recipe, package: &ImportPath) -> bool {
    let Ok(path) = ModulePath::parse(package.as_str()) else { return false };
    path.prefix() == recipe.module.prefix()
}

/// Two words for one version: `latest` gives way, since it is also what stands for nothing said.
fn agreed(path: &str, first: Query, second: Query) -> Result<Query, RequestError> {
    match (first, second) {
        (Query::Latest, other) | (other, Query::Latest) => Ok(other),
        (first, second) if first == second => Ok(first),
        (first, second) => Err(conflict(path, first, second)),
    }
}

fn distinct_plugins(plugins: Vec<Plugin>) -> Result<Vec<Plugin>, RequestError> {
    let mut kept: BTreeMap<ImportPath, Query> = BTreeMap::new();
    for plugin in plugins {
        match kept.get(&plugin.package) {
            Some(first) if *first != plugin.version => {
                return Err(conflict(plugin.package.as_str(), first, &plugin.version));
            }
            _ => drop(kept.insert(plugin.package, plugin.version)),
        }
    }
    Ok(kept.into_iter().map(|(package, version)| Plugin { package, version }).collect())
}

fn distinct_replacements(mut replacements: Vec<Replacement>) -> Result<Vec<Replacement>, RequestError> {
    replacements.sort();
    replacements.dedup();
    let twice =
        replacements.windows(2).find(|pair| pair[0].old == pair[1].old && pair[0].old_version == pair[1].old_version);
    match twice {
        Some(pair) => {
            let shown = |it: &Replacement| format!("{}@{}", it.new, it.version);
            Err(conflict(pair[0].old.as_str(), shown(&pair[0]), shown(&pair[1])))
        }
        None => Ok(replacements),
    }
}

fn conflict(path: &str, first: impl ToString, second: impl ToString) -> RequestError {
    RequestError::Conflict { path: path.to_owned(), first: first.to_string(), second: second.to_string() }
}

fn limit(what: &'static str, given: usize, max: usize) -> Result<(), RequestError> {
    if given > max { Err(RequestError::TooMany { what, given, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;

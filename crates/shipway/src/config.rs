//! What this process was told to do, from four places: flags, then environment,
//! then file, then defaults.
//!
//! Every setting is a row of [`settings::SETTINGS`]: its key, its variable, its
//! default, what it means. Nothing else reads the environment. An unknown key, in
//! whichever place, refuses to start and says where it stood: a typing error must
//! never become a default.

mod builds;
mod database;
mod file;
mod janitor;
mod notes;
mod roles;
mod settings;
mod template;
mod values;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub(crate) use builds::{BuildSettings, Enabled};
pub(crate) use database::{HIDDEN, SECRET_KEYS};
pub(crate) use notes::notes;
pub(crate) use roles::Roles;
pub(crate) use settings::SETTINGS;
pub(crate) use values::{Config, ListenerConfig, LogFormat, OpenTo, ProxyUser, Serves};

/// How the names of variables begin that nobody else has.
const OWN_VARIABLES: &str = "SHIPWAY_";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--set key=value` or a flag of its own.
    Flag,
    /// A variable of this name.
    Environment(&'static str),
    /// A file, at this path.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as text, and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// Why a configuration cannot be used: the key, where it came from, what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("there is no setting `{key}` ({origin}){}", hint(suggestion))]
    UnknownKey { key: String, origin: Origin, suggestion: Option<String> },
    #[error("`{key}: {text}` ({origin}): {expected}")]
    BadValue { key: &'static str, text: String, origin: Origin, expected: String },
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: String },
    #[error("{0}")]
    Together(String),
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map_or_else(|| "; `shipway config check` lists them all".to_owned(), |key| format!("; did you mean `{key}`?"))
}

/// What the outside says, read once by `main`.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// `key=value` of every `--set`, and of flags that stand for a key.
    pub(crate) flags: Vec<(String, String)>,
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    /// The environment.
    pub(crate) environment: BTreeMap<String, String>,
}

/// Every setting with the value in force and its origin.
#[derive(Debug)]
pub(crate) struct Effective {
    pub(crate) given: BTreeMap<&'static str, Given>,
    pub(crate) config: Config,
}

/// Puts the four places together and checks the result.
pub(crate) fn load(sources: &Sources) -> Result<Effective, ConfigError> {
    let mut given: BTreeMap<&'static str, Given> =
        SETTINGS.iter().map(|row| (row.key, Given { text: row.default.to_owned(), origin: Origin::Default })).collect();
    let file = file::read(sources)?;
    for (key, value) in &file.values {
        set(&mut given, key, value.clone(), Origin::File(file.path.clone()))?;
    }
    for row in SETTINGS {
        // What the file takes for another key is not meant for this one: `API_HOST` is a public
        // name to one older system, and to another an address, which its file asks for.
        let is_for_it = |name: &str| file.asked.get(name).is_none_or(|keys| keys.contains(row.key));
        let variables = row.variables.iter().filter(|name| name.starts_with(OWN_VARIABLES) || is_for_it(name));
        let said = variables.into_iter().find_map(|name| Some((*name, sources.environment.get(*name)?)));
        if let Some((name, value)) = said {
            set(&mut given, row.key, value.clone(), Origin::Environment(name))?;
        }
    }
    refuse_unknown_variables(&sources.environment)?;
    for (key, value) in &sources.flags {
        set(&mut given, key, value.clone(), Origin::Flag)?;
    }
    let config = Config::parse(&given)?;
    Ok(Effective { given, config })
}

fn set(given: &mut BTreeMap<&'static str, Given>, key: &str, text: String, origin: Origin) -> Result<(), ConfigError> {
    match given.iter_mut().find(|(known, _)| **known == key) {
        Some((_, slot)) => {
            *slot = Given { text, origin };
            Ok(())
        }
        None => Err(ConfigError::UnknownKey { key: key.to_owned(), origin, suggestion: nearest(key) }),
    }
}

/// A `SHIPWAY_…` variable that means nothing is a typing error, as in a file.
fn refuse_unknown_variables(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let known = |name: &str| {
        SETTINGS.iter().any(|row| row.variables.contains(&name)) || settings::CLIENT_VARIABLES.contains(&name)
    };
    match environment.keys().find(|name| name.starts_with(OWN_VARIABLES) && !known(name)) {
        None => Ok(()),
        Some(name) => {
            let key = name[OWN_VARIABLES.len()..].to_lowercase().replace('_', ".");
            let nearest =
                nearest(&key).and_then(|key| SETTINGS.iter().find(|row| row.key == key)?.variables.last().copied());
            let suggestion = nearest.map(str::to_owned);
            Err(ConfigError::UnknownKey {
                key: name.clone(),
                origin: Origin::Environment("of this process"),
                suggestion,
            })
        }
    }
}

/// The known key that differs least, if it differs little.
fn nearest(key: &str) -> Option<String> {
    let scored = SETTINGS.iter().map(|row| (distance(key, row.key), row.key));
    scored.min().filter(|(distance, _)| *distance <= 3).map(|(_, key)| key.to_owned())
}

/// Edit distance (Levenshtein), for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;

//! The configuration file: YAML, nested as the keys are dotted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_norway::Value;

use super::template::Calls;
use super::{ConfigError, Sources};

/// A larger file is not a configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A key whose content is a mapping of the user's own, kept as one value: JSON.
const MAPPING: &str = "worker.build_env";

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Dotted keys and values, in its order.
    pub(super) values: Vec<(String, String)>,
    /// The variables that it asks for itself, each with the keys that it does so for.
    pub(super) asked: BTreeMap<String, BTreeSet<String>>,
}

/// Reads the file that was named, or `config.yml` here if there is one.
pub(super) fn read(sources: &Sources) -> Result<Found, ConfigError> {
    let named = sources.file.clone().or_else(|| {
        let variables = ["SHIPWAY_CONFIG", "CONFIG_PATH"];
        variables.iter().find_map(|name| sources.environment.get(*name)).map(PathBuf::from)
    });
    let path = named.clone().unwrap_or_else(|| PathBuf::from("config.yml"));
    match read_bounded(&path) {
        Ok(text) => understood(&text, &path, &sources.environment)
            .map_err(|reason| ConfigError::File { path: path.clone(), reason }),
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(Found::default()),
        Err(error) => Err(ConfigError::File { path, reason: error.to_string() }),
    }
}

fn understood(text: &str, path: &Path, environment: &BTreeMap<String, String>) -> Result<Found, String> {
    let (yaml, calls) = Calls::take_out(text)?;
    let value: Value = serde_norway::from_str(&yaml).map_err(|error| calls.written(&error.to_string()))?;
    let mut flat = Vec::new();
    flatten("", &value, &mut flat).map_err(|reason| calls.written(&reason))?;
    let mut found = Found { path: path.to_owned(), ..Found::default() };
    let mut mapping = serde_json::Map::new();
    for (key, text) in flat {
        let key = calls.written(&key);
        let expanded = calls.expand(&text, environment).map_err(|reason| format!("`{key}`: {reason}"))?;
        for variable in expanded.variables {
            found.asked.entry(variable).or_default().insert(key.clone());
        }
        match key.strip_prefix(MAPPING).and_then(|rest| rest.strip_prefix('.')) {
            Some(name) => drop(mapping.insert(name.to_owned(), expanded.text.into())),
            None => found.values.push((key, expanded.text)),
        }
    }
    if !mapping.is_empty() {
        found.values.push((MAPPING.to_owned(), serde_json::Value::from(mapping).to_string()));
    }
    Ok(found)
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    fs::read_to_string(path)
}

/// Turns nested mappings into dotted keys; a list of plain values becomes their
/// comma-separated text.
fn flatten(prefix: &str, value: &Value, flat: &mut Vec<(String, String)>) -> Result<(), String> {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let key = key.as_str().ok_or_else(|| format!("`{prefix}`: a key must be text"))?;
                let dotted = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
                flatten(&dotted, value, flat)?;
            }
            Ok(())
        }
        Value::Null if prefix.is_empty() => Ok(()),
        other => {
            let text = scalar(other).ok_or_else(|| format!("`{prefix}`: write a plain value or a list of them"))?;
            flat.push((prefix.to_owned(), text));
            Ok(())
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Sequence(values) => {
            let texts: Option<Vec<String>> = values.iter().map(scalar).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

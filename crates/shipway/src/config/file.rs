//! The configuration file: YAML, nested as the keys are dotted.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_norway::Value;

use super::{ConfigError, Sources, template};

/// A larger file is not a configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A dotted key and the file it stood in.
type Key = (String, PathBuf);

/// Reads the file that was named, or `config.yml` here if there is one.
pub(super) fn read(sources: &Sources) -> Result<Vec<(Key, String)>, ConfigError> {
    let named = sources.file.clone().or_else(|| {
        let variables = ["SHIPWAY_CONFIG", "CONFIG_PATH"];
        variables.iter().find_map(|name| sources.environment.get(*name)).map(PathBuf::from)
    });
    let path = named.clone().unwrap_or_else(|| PathBuf::from("config.yml"));
    let text = match read_bounded(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(Vec::new()),
        Err(error) => return Err(ConfigError::File { path, reason: error.to_string() }),
    };
    let fail = |reason: String| ConfigError::File { path: path.clone(), reason };
    let value: Value = serde_norway::from_str(&text).map_err(|error| fail(error.to_string()))?;
    let mut flat = Vec::new();
    flatten("", &value, &mut flat).map_err(fail)?;
    flat.into_iter()
        .map(|(key, text)| {
            let text =
                template::expand(&text, &sources.environment).map_err(|reason| fail(format!("`{key}`: {reason}")))?;
            Ok(((key, path.clone()), text))
        })
        .collect()
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

//! `shipway config check`: what is in force, and where each value came from.

use std::io::Write as _;

use serde_json::json;

use crate::config::{Effective, HIDDEN, SECRET_KEYS, SETTINGS};

/// Prints every setting.
pub(crate) fn print(effective: &Effective, as_json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for row in SETTINGS {
        let given = &effective.given[row.key];
        let hide = SECRET_KEYS.contains(&row.key) && !given.text.is_empty();
        let value = if hide { HIDDEN } else { &given.text };
        if as_json {
            let line = json!({"key": row.key, "value": value, "origin": given.origin.to_string(), "help": row.help});
            writeln!(out, "{line}")?;
        } else {
            let value = if value.is_empty() { "(empty)" } else { value };
            writeln!(out, "{:36} {value:32} {}\n    {}", row.key, given.origin, row.help)?;
        }
    }
    Ok(())
}

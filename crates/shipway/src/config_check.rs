//! `shipway config check`: what is in force, where each value came from, and what becomes of
//! settings of older systems that mean something else here.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::json;

use crate::config::{Effective, HIDDEN, SECRET_KEYS, SETTINGS, notes};
use crate::serve::toolchain;

/// Prints every setting.
pub(crate) fn print(effective: &Effective, as_json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let notes = all_notes(effective)?;
    for row in SETTINGS {
        let given = &effective.given[row.key];
        let hide = SECRET_KEYS.contains(&row.key) && !given.text.is_empty();
        let value = if hide { HIDDEN } else { &given.text };
        let note = notes.get(row.key);
        if as_json {
            let mut line =
                json!({"key": row.key, "value": value, "origin": given.origin.to_string(), "help": row.help});
            if let Some(note) = note {
                line["note"] = json!(note);
            }
            writeln!(out, "{line}")?;
        } else {
            let value = if value.is_empty() { "(empty)" } else { value };
            writeln!(out, "{:36} {value:32} {}\n    {}", row.key, given.origin, row.help)?;
            if let Some(note) = note {
                writeln!(out, "    note: {note}")?;
            }
        }
    }
    Ok(())
}

fn all_notes(effective: &Effective) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let go = toolchain(&effective.config.builds)?;
    let version = go.as_ref().map(|go| go.version.to_string());
    let go = version.as_deref().zip(go.as_ref().map(|go| go.root.as_path()));
    Ok(notes(effective, go, &std::env::current_dir()?).into_iter().collect())
}

//! The peer on PostgreSQL: pgbench with the very statements, each prepared once.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::script::{Bound, Message, Own, Piece, Script};

/// A script of pgbench's. What the store sends in one message goes in one pipeline: it is
/// waited for once.
pub(super) fn text(script: &Script) -> String {
    script.messages.iter().map(message).collect()
}

fn message(message: &Message) -> String {
    let parts: Vec<&str> = message.sql.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
    if message.values.is_empty() && parts.len() > 1 {
        let lines: String = parts.iter().map(|part| format!("{part};\n")).collect();
        return format!("\\startpipeline\n{lines}\\endpipeline\n");
    }
    let sql = with_values(&message.sql, &message.values);
    let end = if message.claims() { " \\gset" } else { ";" };
    format!("{sql}{end}\n")
}

fn with_values(sql: &str, values: &[Bound]) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|char: char| char.is_ascii_digit()).len();
        let place: usize = part[..digits].parse().unwrap_or(0);
        let value = place.checked_sub(1).and_then(|place| values.get(place));
        text.push_str(&value.map_or_else(|| "NULL".to_owned(), expression));
        text.push_str(&part[digits..]);
    }
    text
}

fn expression(value: &Bound) -> String {
    match value {
        Bound::Null => "NULL".to_owned(),
        Bound::Number(number) => number.to_string(),
        Bound::Token => ":lease_token".to_owned(),
        Bound::Text(pieces) => match &pieces[..] {
            [] => "''".to_owned(),
            [Piece::Own(own)] => variable(*own).to_owned(),
            pieces => format!("({})", pieces.iter().map(piece).collect::<Vec<_>>().join(" || ")),
        },
    }
}

fn piece(piece: &Piece) -> String {
    match piece {
        Piece::Own(own) => format!("CAST({} AS text)", variable(*own)),
        // pgbench finds its variables in texts, too: none looks like one when every colon
        // ends a text.
        Piece::Fixed(text) => format!("'{}'", text.replace('\'', "''").replace(':', ":' || '")),
    }
}

const fn variable(own: Own) -> &'static str {
    match own {
        Own::Id => ":id",
        Own::Subject => ":subject",
        Own::Project => ":project",
        Own::Token => ":lease_token",
    }
}

/// The sessions' settings, as libpq takes them.
pub(super) fn options(script: &Script) -> String {
    script.settings.iter().map(|(name, value)| format!("-c {name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Turns a second.
pub(super) fn run(url: &str, options: &str, script: &Path, clients: usize, seconds: &str) -> anyhow::Result<f64> {
    let clients = clients.to_string();
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &clients, "-j", if clients == "1" { "1" } else { "2" }])
        .args(["-T", seconds, "-f"])
        .args([script.as_os_str(), url.as_ref()])
        .env("PGOPTIONS", options)
        .output()
        .context("pgbench is needed: apt-get install -y postgresql")?;
    let (text, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "pgbench failed:\n{text}{complaints}");
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("pgbench printed no rate:\n{text}"))
}

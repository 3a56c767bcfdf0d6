//! `routes`: a hundred thousand of them, and one changed.

use anyhow::Context as _;

use super::row::Row;
use crate::sh;

const RESIDENT_MB: f64 = 40.0;
const VISIBLE_MS: f64 = 5.0;

pub(super) fn routes(_rounds: usize) -> anyhow::Result<Vec<Row>> {
    sh::run("cargo", &["build", "--release", "--quiet", "--package", "shipway-proxy", "--examples"])?;
    let program = sh::target().join("release/examples/measure_routes");
    let text = sh::read(&program.to_string_lossy(), &[])?;
    let resident = number_after(&text, "resident ")? / 1024.0;
    let change = text.lines().find_map(|line| line.strip_prefix("change ")).context("no time of a change")?;
    let worst = millis(change.split("max ").nth(1).unwrap_or_default())?;
    let row = |work: &str, ours: String, bar: String, held: bool| Row {
        bench: "routes",
        work: work.to_owned(),
        peer: "-".to_owned(),
        ours,
        ratio: None,
        bar,
        held: Some(held),
    };
    Ok(vec![
        row(
            "100,000 routes, resident",
            format!("{resident:.1} MB"),
            format!("< {RESIDENT_MB} MB"),
            resident < RESIDENT_MB,
        ),
        row(
            "one changed, worst of all",
            format!("{worst:.2} ms ({change})"),
            format!("< {VISIBLE_MS} ms"),
            worst < VISIBLE_MS,
        ),
    ])
}

fn number_after(text: &str, word: &str) -> anyhow::Result<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word));
    rest.and_then(|rest| rest.split(' ').next()?.parse().ok()).with_context(|| format!("no {word}in {text}"))
}

/// Reads `45.1µs`, `1.2ms` or `3s`, as durations print themselves.
fn millis(text: &str) -> anyhow::Result<f64> {
    let text = text.trim();
    let scales = [("µs", 0.001), ("ms", 1.0), ("ns", 0.000_001), ("s", 1000.0)];
    let read = scales.iter().find_map(|(unit, scale)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale));
    read.with_context(|| format!("{text} is no duration"))
}

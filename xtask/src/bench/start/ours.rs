//! Our side: the engine's example `cycle`, and the bare program beside it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::super::row::median;
use super::bundle::Bundle;
use super::{CYCLES, milliseconds};
use crate::sh;

pub(super) fn build() -> anyhow::Result<()> {
    sh::run("cargo", &["build", "--release", "--quiet", "--package", "shipway-engine", "--example", "cycle"])
}

/// Static and not relocatable, as the shim is: a limit should not be made slower by its own program.
pub(super) fn build_limit() -> anyhow::Result<()> {
    let package = ["rustc", "--release", "--quiet", "--package", "shipway-shim", "--example", "limit", "--"];
    let flags = ["-C", "target-feature=+crt-static", "-C", "relocation-model=static"];
    sh::run("cargo", &[package.as_slice(), flags.as_slice()].concat())
}

/// The median of a mode's cycles, in milliseconds.
pub(super) fn cycle(bundle: &Bundle, mode: &str) -> anyhow::Result<f64> {
    Ok(median(cycles(bundle, mode, CYCLES)?))
}

/// The medians of the cycles alone, and of those beside the crowd.
pub(super) fn crowd(bundle: &Bundle) -> anyhow::Result<(f64, f64)> {
    let mut alone = cycles(bundle, "crowd", 2 * CYCLES)?;
    let beside = alone.split_off(CYCLES);
    Ok((median(alone), median(beside)))
}

fn cycles(bundle: &Bundle, mode: &str, expected: usize) -> anyhow::Result<Vec<f64>> {
    let program = sh::target().join("release/examples/cycle");
    let tree = bundle.tree();
    times(&program, &[mode, &CYCLES.to_string(), &tree.to_string_lossy()], expected)
}

/// The median of the bare program's rounds.
pub(super) fn limit(bundle: &Bundle) -> anyhow::Result<f64> {
    let examples = sh::target().join("release/examples");
    let folder = tempfile::tempdir()?;
    let filter = folder.path().join("filter");
    let (filter, tree) = (filter.to_string_lossy(), bundle.tree());
    sh::read(&examples.join("cycle").to_string_lossy(), &["filter", "0", &filter])?;
    let words = [&CYCLES.to_string(), &*tree.to_string_lossy(), &filter];
    Ok(median(times(&examples.join("limit"), &words, CYCLES)?))
}

/// What a program printed, a line of microseconds each, in milliseconds.
fn times(program: &Path, words: &[&str], expected: usize) -> anyhow::Result<Vec<f64>> {
    let printed = sh::read(&program.to_string_lossy(), words)?;
    let times: Vec<u64> = printed.lines().map(str::parse).collect::<Result<_, _>>().context("lines of microseconds")?;
    ensure!(times.len() == expected, "the example printed {} times", times.len());
    Ok(times.into_iter().map(|micros| milliseconds(Duration::from_micros(micros))).collect())
}

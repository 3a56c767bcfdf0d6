//! `cargo xtask torture`: builds the torture suite and the binary that it tortures, and runs it.
//!
//! The suite is a program of its own (`crates/shipway-torture`), because what it tortures
//! are processes of that program.

use anyhow::ensure;

use crate::sh;

/// Builds what is needed and runs the suite with these words.
pub(crate) fn torture(words: &[String]) -> anyhow::Result<()> {
    sh::run("cargo", &["build", "--quiet", "--package", "shipway-torture", "--package", "shipway"])?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run(&words)
}

/// Runs the suite in its short form, with what `cargo test` has built already.
pub(crate) fn short() -> anyhow::Result<()> {
    run(&[])
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let program = sh::target().join("debug/shipway-torture");
    let status = sh::command(&program.to_string_lossy(), words).status()?;
    ensure!(status.success(), "the torture suite ended with {status}");
    Ok(())
}

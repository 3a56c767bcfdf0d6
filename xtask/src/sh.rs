//! Running other programs, always by an array of words, never by a shell.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// The root of this checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Says what is being done, on standard error.
#[expect(clippy::print_stderr, reason = "xtask talks to the person at the terminal")]
pub(crate) fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// Prints a result, on standard output.
#[expect(clippy::print_stdout, reason = "xtask talks to the person at the terminal")]
pub(crate) fn tell(text: &str) {
    println!("{text}");
}

/// A command that runs in the root of the checkout.
pub(crate) fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).current_dir(root());
    command
}

/// Runs a program, its output shown; fails when it fails.
pub(crate) fn run(program: &str, words: &[&str]) -> anyhow::Result<()> {
    let status = command(program, words).status().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "`{program} {}` ended with {status}", words.join(" "));
    Ok(())
}

/// Runs a program and returns what it printed; fails when it fails.
pub(crate) fn read(program: &str, words: &[&str]) -> anyhow::Result<String> {
    let output =
        command(program, words).stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "`{program} {}` ended with {}", words.join(" "), output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed what is no UTF-8"))
}

//! How a binary is made: files to write and commands to run, in order, and nothing else.
//!
//! A plan is data. Whoever carries it out makes a private directory for each path it names, runs
//! each command by its argument array (never a shell) with exactly the environment given, in one
//! of two phases: *download*, which reaches the module proxy and nothing else and runs no
//! compiler, and *build*, which reaches nothing.
//!
//! The steps are those of xcaddy, by name, so that what shows them may show the same.

mod environment;
mod make;
mod settings;
mod source;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::BuildKey;
pub use settings::{Checksums, Layout, Limits, Settings};

/// Everything to do for one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it makes.
    pub key: BuildKey,
    /// Steps, in order. The first failure ends the build.
    pub steps: Vec<Step>,
    /// Absolute path, in the sandbox, of the binary once `compile` is through.
    pub output: String,
    /// What the binary is called outside: `caddy`, `caddy.exe`.
    pub file_name: String,
}

/// One step: its files are written, then its commands run one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which it is.
    pub name: StepName,
    /// What it may reach.
    pub phase: Phase,
    /// Files to write before its commands, with mode 0644.
    pub files: Vec<File>,
    /// Commands, in order; none in a step that only writes.
    pub commands: Vec<Command>,
    /// For the whole step.
    pub deadline: Duration,
    /// For each process tree of it, bytes.
    pub memory_bytes: u64,
}

/// The steps there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// Writes the generated program.
    CreateEnvironment,
    /// Makes its `go.mod`, replacements included.
    InitializeModule,
    /// Adds the program and each plugin at its version.
    PinVersions,
    /// Writes what a Windows binary says of itself.
    WindowsResources,
    /// Completes `go.mod` and `go.sum` and downloads what is missing.
    TidyModule,
    /// Compiles and links, without any network.
    Compile,
    /// Reads the binary's module list, and runs it where it can run.
    Verify,
}

/// What a step may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The module proxy and the checksum database; runs no compiler and nothing of the user's.
    Download,
    /// Nothing.
    Build,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path in the sandbox.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments; the program is an absolute path in the sandbox.
    pub argv: Vec<String>,
    /// Its whole environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Its working directory, absolute.
    pub directory: String,
    /// What its standard output is for.
    pub output: Output,
}

/// What a command's standard output is for. Standard error is always for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The log, line by line.
    Log,
    /// The build information of the binary: keep it whole (up to [`KEPT_BYTES_MAX`]), for
    /// [`crate::buildinfo`], and the log need not have it.
    BuildInfo,
    /// What the built program says of itself: kept and logged.
    Program,
}

/// Most bytes of a kept output.
pub const KEPT_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests;

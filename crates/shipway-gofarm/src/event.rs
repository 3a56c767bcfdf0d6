//! What is told of a build while it is on.
//!
//! Every event stands alone, so that whoever keeps them can send them again from any one on.

use serde::{Deserialize, Serialize};
use shipway_gobuild::StepName;

/// Something that happened in a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildEvent {
    /// When, microseconds since the epoch.
    pub at: i64,
    /// In which step.
    pub step: StepName,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The step has begun.
    Began,
    /// Somebody said a line.
    Line {
        /// Who.
        source: Source,
        /// Whether the same line goes on in the next event of the same source.
        is_partial: bool,
        /// The line. Text of a hostile program: whoever shows it takes care of escapes.
        text: String,
    },
    /// The step has ended.
    Ended {
        /// Whether all its commands succeeded.
        is_success: bool,
        /// How long it took, in milliseconds.
        took_ms: u64,
        /// Most memory that was seen in use, bytes; 0 for a step too short to look.
        memory_peak_bytes: u64,
        /// What was taken on the build's disk at its end, bytes.
        disk_bytes: u64,
    },
}

/// Who says a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A command, on standard output.
    Stdout,
    /// A command, on standard error.
    Stderr,
    /// The door to the module proxies: what was asked for, and what came of it.
    Proxy,
    /// The farm itself: that output was cut, say.
    Farm,
}

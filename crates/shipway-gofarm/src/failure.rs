//! Why a build failed, and whether trying again can help.
//!
//! The go command says what is wrong in prose and exits with 1 whatever it is. Who is told
//! *try again* for a program that does not compile waits three times for nothing; who is
//! told *does not compile* because a proxy was away gives up on a good program. So the
//! verdict is made from all there is: how the command ended, what the door saw, what the
//! command said last; pure, and tested with the words of real Go commands.

use std::fmt;

use serde::{Deserialize, Serialize};
use shipway_gobuild::{Phase, StepName};

use crate::door::Troubles;
use crate::sandbox::{End, SandboxError};

/// Lines of a failure's own words.
const LINES_MAX: usize = 60;

/// A build that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// Where; `None` before the first step and after the last.
    pub step: Option<StepName>,
    /// In a sentence.
    pub message: String,
    /// What the command said last: the compiler's own lines.
    pub lines: Vec<String>,
}

/// Kinds of failures. The text of each is a code for programs, and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The program, or a plugin, does not compile.
    Compile,
    /// A module proxy refuses a module.
    Refused,
    /// A module, or a version of it, is not there, or its packages do not fit together.
    Modules,
    /// What a proxy sent is not what the checksum database, or `go.sum`, knows.
    Checksum,
    /// A module wants a newer Go than the build has.
    Toolchain,
    /// The built program does not run as it should.
    Program,
    /// More memory was needed than a step may use.
    OutOfMemory,
    /// A step took too long.
    Deadline,
    /// More disk was needed than a build may use.
    DiskFull,
    /// What was asked of the proxies is more than a build may fetch.
    TooMuch,
    /// The binary is missing, too large, or no file at all.
    Artifact,
    /// Somebody ended it.
    Stopped,
    /// A module proxy is away or in trouble.
    Proxy,
    /// The sandbox, or this host, is in trouble.
    Sandbox,
}

impl FailureKind {
    /// Whether the same build may go well another time.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Proxy | Self::Sandbox | Self::Stopped)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    pub(crate) fn of_sandbox(step: Option<StepName>, error: &SandboxError) -> Self {
        let (kind, message) = match error {
            // The program is the platform's own: it is the toolchain that lacks it.
            SandboxError::NoProgram(what) => {
                (FailureKind::Sandbox, format!("a command of the build cannot be run: {what}"))
            }
            SandboxError::Refused(what) => (FailureKind::Artifact, what.clone()),
            SandboxError::Full(_) => disk_full(),
            SandboxError::Unavailable(what) => (FailureKind::Sandbox, format!("the sandbox is in trouble: {what}")),
        };
        Self { kind, step, message, lines: Vec::new() }
    }
}

/// What is known of a command that did not succeed.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) step: StepName,
    pub(crate) phase: Phase,
    pub(crate) end: End,
    /// What it said last.
    pub(crate) tail: &'a [String],
    pub(crate) troubles: &'a Troubles,
}

/// The verdict on a command that did not succeed.
pub(crate) fn judge(outcome: &Outcome<'_>) -> Failure {
    let (kind, message) = verdict(outcome);
    let from = outcome.tail.len().saturating_sub(LINES_MAX);
    Failure { kind, step: Some(outcome.step), message, lines: outcome.tail[from..].to_vec() }
}

fn verdict(outcome: &Outcome<'_>) -> (FailureKind, String) {
    let says = |words: &str| outcome.tail.iter().any(|line| line.contains(words));
    match outcome.end {
        End::OutOfMemory => return out_of_memory(),
        End::Deadline => {
            let hint = "it took longer than a step of a build may: an operator can allow more";
            return (FailureKind::Deadline, hint.to_owned());
        }
        End::Stopped => return (FailureKind::Stopped, "the build was stopped".to_owned()),
        End::Lost => return (FailureKind::Sandbox, "nobody saw how the command ended".to_owned()),
        End::Exited(_) | End::Signalled(_) => {}
    }
    // A compiler or linker that the kernel ended; the go command itself goes on to say so.
    if outcome.end == End::Exited(1) && outcome.tail.iter().any(|line| line.ends_with(": signal: killed")) {
        return out_of_memory();
    }
    if says("no space left on device") {
        return disk_full();
    }
    if outcome.step == StepName::Verify {
        return (FailureKind::Program, format!("the built program {}", ended(outcome.end)));
    }
    match outcome.phase {
        Phase::Download => of_download(outcome, says),
        Phase::Build if is_toolchain(&says) => toolchain(outcome),
        Phase::Build => (FailureKind::Compile, "it does not compile".to_owned()),
    }
}

fn out_of_memory() -> (FailureKind, String) {
    let hint = "it needed more memory than a step of a build may use: fewer plugins, or a higher limit";
    (FailureKind::OutOfMemory, hint.to_owned())
}

fn disk_full() -> (FailureKind, String) {
    let hint = "it wrote more than a build's disk holds: an operator can allow more";
    (FailureKind::DiskFull, hint.to_owned())
}

fn of_download(outcome: &Outcome<'_>, says: impl Fn(&str) -> bool) -> (FailureKind, String) {
    let Troubles { too_much, unavailable, broken, refused } = outcome.troubles;
    if says("checksum mismatch") || says("SECURITY ERROR") || says("does not match the checksum database") {
        let message = "what a module proxy sent is not what the checksum database knows: nothing of it was used";
        return (FailureKind::Checksum, message.to_owned());
    }
    if is_toolchain(&says) {
        return toolchain(outcome);
    }
    // In the order of what decides most: the last question is not always the one that failed.
    if let Some(words) = too_much {
        (FailureKind::TooMuch, words.clone())
    } else if let Some(words) = refused {
        (FailureKind::Refused, words.clone())
    } else if let Some(words) = unavailable {
        (FailureKind::Proxy, words.clone())
    } else if let Some(words) = broken {
        (FailureKind::Refused, words.clone())
    } else {
        let last =
            outcome.tail.iter().rev().find(|line| line.starts_with("go: ") && !line.starts_with("go: downloading"));
        let last = last.or_else(|| outcome.tail.last()).map_or("the go command failed", String::as_str);
        (FailureKind::Modules, last.to_owned())
    }
}

/// `go: x@v1 requires go >= 1.99 (running go 1.26.8; GOTOOLCHAIN=local)`, and what `go build`
/// says of a `go` line that is too new.
fn is_toolchain(says: &impl Fn(&str) -> bool) -> bool {
    says("GOTOOLCHAIN=local")
        || says("requires go >= ")
        || says("requires newer Go version")
        || says("toolchain not available")
}

fn toolchain(outcome: &Outcome<'_>) -> (FailureKind, String) {
    let words = ["GOTOOLCHAIN=local", "requires go >= ", "requires newer Go version", "toolchain not available"];
    let line = outcome.tail.iter().find(|line| words.iter().any(|word| line.contains(word)));
    let line = line.map_or("a module wants a newer Go", |line| line.trim_start_matches("go: "));
    (FailureKind::Toolchain, line.to_owned())
}

fn ended(end: End) -> String {
    match end {
        End::Exited(code) => format!("ended with status {code}"),
        End::Signalled(signal) => format!("was ended by signal {signal}"),
        End::OutOfMemory | End::Deadline | End::Stopped | End::Lost => "did not end by itself".to_owned(),
    }
}

#[cfg(test)]
mod tests;

//! What can go wrong with a script, and what a visitor is told about it.
//!
//! A visitor learns which limit was hit or how it ended, never what it wrote to
//! its stderr: that is the owner's, in the log.

use std::io;

use crate::config::Config;
use crate::http::head::{Head, Target};
use crate::server::limits;
use crate::sys::Ending;

/// Longest part of a request's target repeated in the log.
const SHOWN_MAX: usize = 200;

/// Why a script's output is not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It exited with this status, not 0.
    Exited(i32),
    /// This signal killed it, not from us.
    Killed(i32),
    /// It took too long.
    Timeout,
    /// It printed too much.
    OutputLimit,
    /// It redirected to itself again and again.
    Redirects,
    /// It redirected locally and printed on and on.
    RedirectBody,
    /// It printed more or less than its Content-Length said.
    Length,
    /// It left its input waiting, and there is no room for more of it.
    BodyRoom,
}

impl Failure {
    /// The failure of a script that ended so.
    #[must_use]
    pub const fn of(ending: Ending) -> Self {
        match ending {
            Ending::Exited(status) => Self::Exited(status),
            Ending::Killed(signal) => Self::Killed(signal),
        }
    }

    /// The status it is answered with: what is wrong is the script, but for a body that
    /// is too large to wait.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BodyRoom => 413,
            _ => 502,
        }
    }

    /// In words, for a visitor.
    #[must_use]
    pub fn message(self, config: &Config) -> String {
        match self {
            Self::Exited(status) => format!("the script failed: exit status {status}"),
            Self::Killed(libc::SIGKILL) => {
                "the script was killed by signal 9, most likely at the memory limit".to_owned()
            }
            Self::Killed(signal) => format!("the script was killed by signal {signal}"),
            Self::Timeout => format!("the script took longer than its limit of {} ms", config.timeout.as_millis()),
            Self::OutputLimit => format!("the script printed more than its limit of {} bytes", config.output_bytes),
            Self::Redirects => format!("the script redirected locally more than {} times", limits::REDIRECTS_MAX),
            Self::RedirectBody => "the script redirected locally and printed a body".to_owned(),
            Self::BodyRoom => "the request's body has no room to wait for the script".to_owned(),
            Self::Length => "the script printed more or less than its Content-Length said".to_owned(),
        }
    }
}

/// Why a script could not be started, as an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted {
    /// 400, 502 or 503.
    pub status: u16,
    /// For the visitor and the log.
    pub message: String,
}

impl NotStarted {
    /// `what` could not be had, for this reason. At a limit of the container it is
    /// worth trying again.
    #[must_use]
    pub fn new(what: &str, error: &io::Error) -> Self {
        let is_limit = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE));
        Self {
            status: if is_limit { 503 } else { 502 },
            message: format!("the script could not be started: {what}: {error}"),
        }
    }

    /// The request's path cannot be told to a script.
    #[must_use]
    pub fn bad_path() -> Self {
        Self { status: 400, message: "the path has a broken escape".to_owned() }
    }
}

/// A request's target, cut for the log. The parser let nothing but visible ASCII through.
#[must_use]
pub fn shown(head: &Head) -> String {
    match &head.target {
        Target::Asterisk => "*".to_owned(),
        Target::Path { path, .. } => path.chars().take(SHOWN_MAX).collect(),
    }
}

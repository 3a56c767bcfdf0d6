//! Logs and further processes: what flows while a container runs.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shipway_model::Micros;
use tokio::sync::mpsc;

/// What to read of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on when the end is reached, until the container ends.
    pub follow: bool,
    /// Only the last so many lines of what is there.
    pub tail: Option<usize>,
    /// Only lines of this time or later.
    pub since: Option<Micros>,
    /// Only lines after this one.
    pub after: Option<LogCursor>,
}

/// A place in a log: segment and offset of the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogCursor {
    /// Number of the segment.
    pub segment: u64,
    /// Byte after the line.
    pub offset: u64,
}

/// Which of the two outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read from the container.
    pub at: Micros,
    /// Where it came from.
    pub stream: LogStream,
    /// Whether the line goes on in the next one (it was longer than a line may be).
    pub partial: bool,
    /// Its text; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Where to go on from.
    pub cursor: LogCursor,
}

/// Another process to run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Further environment.
    pub env: Vec<(String, String)>,
    /// Whether it gets a terminal, and of what size (columns, rows).
    pub terminal: Option<(u16, u16)>,
}

/// A running exec. Dropping `input` kills the process.
#[derive(Debug)]
pub struct ExecSession {
    /// To the process.
    pub input: mpsc::Sender<ExecInput>,
    /// From the process; the last message is [`ExecOutput::Exited`].
    pub output: mpsc::Receiver<ExecOutput>,
}

/// To a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecInput {
    /// Standard input, or keys.
    Stdin(Bytes),
    /// End of standard input.
    Eof,
    /// The terminal's new size (columns, rows).
    Resize(u16, u16),
    /// A signal.
    Signal(i32),
}

/// From a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Standard output, or the terminal's.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// It ended: status, or 128 + signal.
    Exited(i32),
}

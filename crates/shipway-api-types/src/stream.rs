//! What flows: log lines, events, stats, and the messages of an exec.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// One line of a service's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was read from the container, RFC 3339.
    pub at: String,
    /// Where it came from.
    pub stream: LogStream,
    /// The line goes on in the next one: it was longer than a line may be.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partial: bool,
    /// Its text; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Where to go on from: `?after=`, or `Last-Event-ID`. Opaque.
    pub cursor: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde calls")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Which of a container's two outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something that happened. Beside the fields below it has those of its kind,
/// as `release`, `reason`, `actor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// What it happened to: `service/<id>`.
    pub subject: String,
    /// Counts from 1 within the subject and never skips.
    pub seq: u64,
    /// When, RFC 3339.
    pub at: String,
    /// What: `release_live`, `container_died` and so on.
    pub event: String,
    /// The fields of its kind.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// What a service's container uses now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Processor time since the container's start, in microseconds.
    pub cpu_usec: u64,
    /// Memory now, page cache included.
    pub memory_bytes: u64,
    /// Most memory so far.
    pub memory_peak_bytes: u64,
    /// Its limit.
    pub memory_limit_bytes: u64,
    /// Processes and threads now.
    pub pids: u64,
    /// Their limit.
    pub pids_limit: u64,
    /// Bytes read from disks.
    pub io_read_bytes: u64,
    /// Bytes written to disks.
    pub io_write_bytes: u64,
    /// What it sent and was refused, if it has egress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressStats>,
}

/// What a container sent and was refused, since its start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct EgressStats {
    /// Bytes sent, before refusals.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets refused because they claimed another sender.
    pub refused_spoofed: u64,
    /// Packets refused on their way to the host.
    pub refused_host: u64,
    /// Packets refused on their way to another container.
    pub refused_neighbour: u64,
    /// Packets refused on their way to a metadata service.
    pub refused_metadata: u64,
    /// Packets refused on their way to another private, link-local or reserved address.
    pub refused_special: u64,
    /// Packets that would have opened one connection too many.
    pub refused_connections: u64,
    /// Packets beyond the bytes a second.
    pub refused_rate: u64,
    /// Names refused, or answered without an address that may not be reached.
    pub refused_names: u64,
    /// What of this host stands in its way now, each with its remedy: a chain of another
    /// firewall that drops its packets, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<String>,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}

/// First byte of a binary message to the server: what follows is standard input.
pub const FRAME_STDIN: u8 = 0;
/// First byte of a binary message to the client: what follows is standard output.
pub const FRAME_STDOUT: u8 = 1;
/// First byte of a binary message to the client: what follows is standard error.
pub const FRAME_STDERR: u8 = 2;

/// A text message from the client of an exec. The first is always `start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExecClient {
    /// What to run. It is never given to a shell.
    Start {
        /// Program and arguments.
        argv: Vec<String>,
        /// Further environment.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        env: BTreeMap<String, String>,
        /// Its terminal, if it is to have one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terminal: Option<TerminalSize>,
    },
    /// The terminal has another size now.
    Resize(TerminalSize),
    /// Standard input has ended.
    Eof,
    /// Send the process a signal.
    Signal {
        /// Its number, as 2 for an interrupt.
        signal: i32,
    },
}

/// A text message from the server of an exec. The last is `exit` or `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ExecServer {
    /// The process ended.
    Exit {
        /// Its status, or 128 and the number of the signal that ended it.
        code: i32,
    },
    /// It could not be run, or was cut off.
    Error {
        /// Why.
        problem: Box<crate::Problem>,
    },
}

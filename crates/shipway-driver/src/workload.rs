//! What to run, and what was seen of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, ContentKind, Digest, Egress, Limits, Micros, RootFs, Runner};

/// One container to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Its id, chosen by the caller.
    pub container: ContainerId,
    /// Its root file system.
    pub root: RootFs,
    /// What runs in it.
    pub program: Program,
    /// Environment of the user's program.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: Limits,
    /// How visitors reach it.
    pub ingress: Ingress,
    /// What it may reach; how much of it is in its limits.
    #[serde(default)]
    pub egress: Egress,
    /// For people and for finding it again: `service`, `release`, `project`.
    pub labels: BTreeMap<String, String>,
}

/// What runs in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Program {
    /// A runner that serves one file of content.
    Runner {
        /// Which.
        runner: Runner,
        /// Served as it is, or run on every request.
        kind: ContentKind,
        /// The content, for the `ETag`.
        digest: Digest,
        /// As the origin declared it.
        content_type: Option<String>,
        /// Decides the type when none was declared.
        file_name: Option<String>,
    },
    /// A command of the user's.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// How visitors reach a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Ingress {
    /// Not at all.
    None,
    /// The runner gets a listening unix socket as a descriptor.
    Listener,
    /// The program listens on this TCP port inside.
    Port {
        /// Its number.
        port: u16,
    },
}

/// A started container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Where it answers; `None` when it has no ingress.
    pub endpoint: Option<Endpoint>,
    /// When it started.
    pub started_at: Micros,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit status, when it exited.
    pub code: Option<i32>,
    /// Signal, when it was killed.
    pub signal: Option<i32>,
    /// Killed by the kernel at its memory limit.
    pub out_of_memory: bool,
    /// Nobody saw how: its shim was killed, or the host was restarted.
    pub lost: bool,
    /// When, if known.
    pub ended_at: Option<Micros>,
}

impl Exit {
    /// In words, for events and errors.
    #[must_use]
    pub fn words(&self) -> String {
        match (self.lost, self.out_of_memory, self.code, self.signal) {
            (true, ..) => "lost: its shim was killed or the host restarted".to_owned(),
            (_, true, ..) => "killed at its memory limit".to_owned(),
            (_, _, Some(code), _) => format!("exit status {code}"),
            (_, _, _, Some(signal)) => format!("killed by signal {signal}"),
            _ => "ended".to_owned(),
        }
    }
}

/// What a driver saw of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub container: ContainerId,
    /// What it is doing.
    pub phase: Phase,
    /// As given at start.
    pub labels: BTreeMap<String, String>,
    /// When it last started, if ever.
    pub started_at: Option<Micros>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Made, never started (a worker died in between).
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited(Exit),
}

/// What a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time since the start.
    pub cpu_usec: u64,
    /// Memory now, page cache included.
    pub memory_bytes: u64,
    /// Most memory so far.
    pub memory_peak_bytes: u64,
    /// Its limit.
    pub memory_limit_bytes: u64,
    /// Processes and threads now.
    pub pids: u64,
    /// Its limit.
    pub pids_limit: u64,
    /// Bytes read from disks.
    pub io_read_bytes: u64,
    /// Bytes written to disks.
    pub io_write_bytes: u64,
    /// What went out, for one that has a way out.
    pub egress: Option<EgressStats>,
}

/// What a container sent and was refused, since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
}

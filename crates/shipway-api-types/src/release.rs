//! A release: everything needed to run a service again exactly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::service::{ContentKind, Egress, Protocol, Runner};

/// One numbered, immutable release of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Release {
    /// Counts from 1 within the service.
    pub number: u32,
    /// How far it has come.
    pub state: ReleaseState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The content, unless a command runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Whether content is served or run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ContentKind>,
    /// What serves content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<Runner>,
    /// Name of the image a command runs in, at the time of the deploy; `root` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The command, if one runs: program and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The port the command listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What the command speaks on its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Digest of the root file system it was born with.
    pub root: String,
    /// Environment of the script or command.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: Limits,
    /// When it counts as ready.
    pub health: HealthCheck,
    /// What it may reach.
    pub egress: Egress,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

/// How far a release has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseState {
    /// Made, not yet proven healthy.
    Starting,
    /// The one that visitors reach.
    Live,
    /// Was live; can be rolled back to.
    Retired,
    /// Never became live.
    Failed,
}

impl ReleaseState {
    /// The word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Retired => "retired",
            Self::Failed => "failed",
        }
    }
}

/// A release's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Its length.
    pub size_bytes: u64,
    /// As the origin declared it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Decides the type when none was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Where it came from; absent when it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What a service may use. In a request, what is absent has its default; in an
/// answer, all are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of the whole container, its temporary files included; no swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Thousandths of one processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Open files of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Bytes in the writable layer, which counts as memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Files in the writable layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u32>,
    /// Log kept, oldest dropped first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Longest one script may take to answer a request, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout_ms: Option<u32>,
    /// Most bytes one script may print for a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_output_bytes: Option<u64>,
    /// Scripts at work at once; more requests wait, then get a 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// With egress: connections open at a time, 1 to 65,536. 1024 unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_connections: Option<u32>,
    /// With egress: bytes a second, each way, from 16 KiB. 125,000,000 unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_bytes_per_second: Option<u64>,
}

/// When a new release counts as ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheck {
    /// Path answered by the service's own content or command. Without it a runner is
    /// asked, so that a probe never runs a script, and a command is ready when its port
    /// takes a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long a release may take to become ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
}

/// What differs between two releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseDiff {
    /// The first one's number.
    pub from: u32,
    /// The second one's number.
    pub to: u32,
    /// What differs, in the order of the fields' names. Empty: they run alike.
    pub changes: Vec<Change>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Its path, as `limits.memory_bytes`.
    pub field: String,
    /// In the first release; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// In the second release; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

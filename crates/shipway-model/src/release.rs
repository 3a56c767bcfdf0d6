//! A release: everything needed to run a service again exactly.
//!
//! Numbered per service from 1, never changed. A redeploy makes the next one; a
//! rollback runs an old one again, without a download.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::instance::Protocol;
use crate::{Digest, Micros, ServiceId};

/// One numbered, immutable release of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Whose release this is.
    pub service: ServiceId,
    /// Counts from 1 within the service.
    pub number: u32,
    /// What it takes to run it.
    pub spec: ReleaseSpec,
    /// How far it has come.
    pub state: ReleaseState,
    /// When it was made.
    pub created_at: Micros,
}

/// How far a release has come.
///
/// ```text
/// starting ──► live ──► retired ──► live (rollback)
///     └──► failed
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReleaseState {
    /// Made, not yet proven healthy.
    Starting,
    /// The one that visitors reach.
    Live,
    /// Was live; can be rolled back to.
    Retired,
    /// Never became live; `reason` says what the probe saw.
    Failed {
        /// For the user: what happened, with the last log lines.
        reason: String,
    },
}

/// Everything that decides how a release runs. Two equal specs run alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSpec {
    /// What runs.
    #[serde(flatten)]
    pub program: ReleaseProgram,
    /// The root file system it was born with.
    pub root: RootFs,
    /// Environment of the user's program, as the user gave it.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: Limits,
    /// When it counts as ready.
    pub health: HealthCheck,
    /// What it may reach.
    #[serde(default)]
    pub egress: Egress,
}

/// What a container may reach of the world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Egress {
    /// Nothing: its own loopback is all the network there is.
    #[default]
    None,
    /// The public internet, and what the operator allows besides (`network.allow`).
    Internet,
}

/// What a release runs. Its fields stand beside the spec's others in JSON, where those
/// of content have always been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReleaseProgram {
    /// Content, served or run by a runner of ours.
    Content {
        /// The content.
        source: Source,
        /// Served as it is, or run on every request.
        kind: ContentKind,
        /// What serves it inside the container.
        runner: Runner,
    },
    /// A command of the user's, which listens on a port.
    Command {
        /// Name of the image at the time of the deploy, for people. What decides is the
        /// digest in [`ReleaseSpec::root`].
        image: String,
        /// Program and arguments.
        command: Vec<String>,
        /// TCP port that it listens on, inside.
        port: u16,
        /// What it speaks there.
        #[serde(default, skip_serializing_if = "Protocol::is_default")]
        protocol: Protocol,
    },
}

impl ReleaseSpec {
    /// The content, unless a command runs.
    #[must_use]
    pub const fn source(&self) -> Option<&Source> {
        match &self.program {
            ReleaseProgram::Content { source, .. } => Some(source),
            ReleaseProgram::Command { .. } => None,
        }
    }

    /// What is spoken where it answers.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match &self.program {
            ReleaseProgram::Content { .. } => Protocol::Http1,
            ReleaseProgram::Command { protocol, .. } => *protocol,
        }
    }

    /// How content is offered, unless a command runs.
    #[must_use]
    pub const fn kind(&self) -> Option<ContentKind> {
        match &self.program {
            ReleaseProgram::Content { kind, .. } => Some(*kind),
            ReleaseProgram::Command { .. } => None,
        }
    }
}

/// Content in the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Names the blob.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
    /// As the origin declared it, or `None`.
    pub content_type: Option<String>,
    /// Last segment of the URL's path, or the uploaded file's name; decides the
    /// type when none was declared.
    pub file_name: Option<String>,
    /// Where it came from, or `None` when it was uploaded.
    pub url: Option<String>,
}

/// What a visitor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// The file itself, at `/`.
    Static,
    /// What the file prints when it is run, on every path.
    Script,
}

/// What serves a URL service inside its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runner {
    /// Our own small program.
    Native,
    /// Nginx and fcgiwrap, which the root file system must have.
    Nginx,
}

/// A container's root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RootFs {
    /// Made from the host's own packages; a release keeps the digest it was born with.
    HostImage {
        /// Of the image's manifest (path, mode, content).
        digest: Digest,
    },
    /// Imported by a user; what its name meant when the release was made.
    Image {
        /// Of the tree's manifest (path, mode, owner, content).
        digest: Digest,
    },
}

/// What a service may use. Always set; a limit that cannot be set is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory of the whole container, its temporary files included. No swap.
    pub memory_bytes: u64,
    /// Thousandths of one processor.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Open files of one process.
    pub open_files: u32,
    /// Bytes in the writable layer, which counts as memory.
    pub disk_bytes: u64,
    /// Files in the writable layer.
    pub inodes: u32,
    /// Log kept, oldest dropped first.
    pub log_bytes: u64,
    /// Longest one script may take to answer a request, whole.
    pub request_timeout_ms: u32,
    /// Most bytes one script may print for a request.
    pub request_output_bytes: u64,
    /// Scripts at work at once; more requests wait, then get a 503.
    pub concurrency: u32,
    /// With a way out: connections open at a time.
    pub egress_connections: u32,
    /// With a way out: bytes a second, each way.
    pub egress_bytes_per_second: u64,
}

impl Default for Limits {
    /// Room for a small script in any of the usual languages. The old system gave
    /// 128 MB and 100 MHz; Node needs more of both to start.
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            cpu_millis: 1000,
            pids: 128,
            open_files: 1024,
            disk_bytes: 64 << 20,
            inodes: 16_384,
            log_bytes: 16 << 20,
            request_timeout_ms: 30_000,
            request_output_bytes: 64 << 20,
            concurrency: 32,
            egress_connections: 1024,
            egress_bytes_per_second: 125_000_000,
        }
    }
}

/// Why limits cannot be had: the field, and the range that is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be between {least} and {most}, not {given}")]
pub struct LimitError {
    /// Name of the field, as in JSON.
    pub field: &'static str,
    /// What was asked for.
    pub given: u64,
    /// Smallest value that works.
    pub least: u64,
    /// Largest value a service may ask for.
    pub most: u64,
}

impl Limits {
    /// Checks every field against what a service may ask for.
    ///
    /// # Errors
    ///
    /// The first field out of range.
    pub fn check(&self) -> Result<(), LimitError> {
        let rows: [(&'static str, u64, u64, u64); 12] = [
            ("memory_bytes", self.memory_bytes, 8 << 20, 1 << 40),
            ("cpu_millis", u64::from(self.cpu_millis), 10, 256_000),
            ("pids", u64::from(self.pids), 4, 32_768),
            ("open_files", u64::from(self.open_files), 32, 1 << 20),
            ("disk_bytes", self.disk_bytes, 64 << 10, 1 << 40),
            ("inodes", u64::from(self.inodes), 32, 1 << 24),
            ("log_bytes", self.log_bytes, 64 << 10, 1 << 34),
            ("request_timeout_ms", u64::from(self.request_timeout_ms), 10, 3_600_000),
            ("request_output_bytes", self.request_output_bytes, 1 << 10, 1 << 40),
            ("concurrency", u64::from(self.concurrency), 1, 4096),
            ("egress_connections", u64::from(self.egress_connections), 1, 65_536),
            ("egress_bytes_per_second", self.egress_bytes_per_second, 16 << 10, 1 << 40),
        ];
        match rows.into_iter().find(|(_, given, least, most)| given < least || given > most) {
            None => Ok(()),
            Some((field, given, least, most)) => Err(LimitError { field, given, least, most }),
        }
    }
}

/// When a new release counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// Path to ask for, answered by the user's own content; `None` asks the
    /// runner instead, so that a probe never runs a script.
    pub path: Option<String>,
    /// How long a release may take to become ready.
    pub deadline_ms: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { path: None, deadline_ms: 10_000 }
    }
}

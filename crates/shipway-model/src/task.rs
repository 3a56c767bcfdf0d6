//! A task: one unit in the durable queue. Users never see tasks.
//!
//! Everything that changes a service is a task with the service as its
//! `subject`; at most one task of a subject runs at a time, in the order asked.
//! So two changes of one name never meet, whoever made them: a user, a crash, an
//! upgrade. A build is a subject of its own, and its only task makes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::instance::Protocol;
use crate::{
    BuildId, ContentKind, Digest, Egress, HealthCheck, Limits, Micros, ProjectName, Runner, ServiceId, Source, TaskId,
};

/// A task, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Who pays for it.
    pub project: ProjectName,
    /// What it changes.
    pub subject: Subject,
    /// What to do.
    pub payload: TaskPayload,
    /// How far it has come.
    pub state: TaskState,
    /// How often it has been claimed and charged.
    pub attempt: u32,
}

/// What a task changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A service.
    Service(ServiceId),
    /// A build.
    Build(BuildId),
}

impl Subject {
    /// The service, if it is one.
    #[must_use]
    pub const fn service(self) -> Option<ServiceId> {
        match self {
            Self::Service(id) => Some(id),
            Self::Build(_) => None,
        }
    }
}

/// The id alone, as in the table: the kind of the task says whose it is.
impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service(id) => id.fmt(f),
            Self::Build(id) => id.fmt(f),
        }
    }
}

/// What a task does. The word of each variant is the `kind` column (in JSON it is
/// `task`: a deploy has a `kind` of its own).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "deploys are most of all tasks, and few are in memory at once")]
pub enum TaskPayload {
    /// Get the content, make a release of it, and make that live.
    Deploy(Deploy),
    /// Make an old release live again.
    Rollback {
        /// Its number.
        release: u32,
    },
    /// Bring the last live release back.
    Start,
    /// Stop the service, keep its releases.
    Stop,
    /// Replace the live container by a new one of the same release.
    Restart,
    /// Stop the service and forget it.
    Delete,
    /// Make what is match what is wanted: after a crash, a drain, a start-up.
    Repair,
    /// Make a build's artifact. What it is stands in the build's row.
    Build,
}

/// The `kind` of a task whose subject is a build.
pub const BUILD: &str = "build";

/// The label of workers that make builds: nobody else gets one.
pub const BUILDS: &str = "builds";

impl TaskPayload {
    /// The `kind` column.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "deploy",
            Self::Rollback { .. } => "rollback",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Delete => "delete",
            Self::Repair => "repair",
            Self::Build => BUILD,
        }
    }
}

/// What a deploy was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// What is to run.
    #[serde(flatten)]
    pub program: DeployProgram,
    /// As the user gave it.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: Limits,
    /// When it counts as ready.
    pub health: HealthCheck,
    /// What it may reach.
    #[serde(default)]
    pub egress: Egress,
}

/// What a deploy is to run. In JSON its fields stand beside the deploy's others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeployProgram {
    /// Content, served on the root file system of an image. Before the next one, which
    /// would be read in its place.
    ContentInImage {
        /// Where it is.
        content: Content,
        /// Served, or run.
        kind: ContentKind,
        /// What serves it.
        runner: Runner,
        /// What the image's name meant when this was asked for.
        image_digest: Digest,
    },
    /// Content, served on the driver's own root file system.
    Content {
        /// Where it is.
        content: Content,
        /// Served, or run.
        kind: ContentKind,
        /// What serves it.
        runner: Runner,
    },
    /// A command in an image.
    Command {
        /// The image's name, for people.
        image: String,
        /// What the name meant when this was asked for.
        image_digest: Digest,
        /// Program and arguments.
        command: Vec<String>,
        /// TCP port that it listens on, inside.
        port: u16,
        /// What it speaks there.
        #[serde(default, skip_serializing_if = "Protocol::is_default")]
        protocol: Protocol,
    },
}

/// Where a deploy's content is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// To be fetched, always, when the task runs.
    Url {
        /// As given.
        url: String,
    },
    /// Already in the blob store: it was uploaded.
    Blob(Source),
}

/// How far a task has come.
///
/// ```text
/// queued ──► running ──► done
///    ▲          │  └───► failed
///    └──────────┘ given back, or its lease ran out
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TaskState {
    /// Waiting for a worker, or for its time.
    Queued {
        /// Not to be claimed before.
        not_before: Micros,
    },
    /// Held under a lease.
    Running,
    /// Ended as asked, or with a failure that is the user's to hear.
    Ended(Outcome),
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The service is as asked.
    Done {
        /// The release that is live now, if any.
        release: Option<u32>,
        /// False when nothing had to change (the same content, deployed again).
        changed: bool,
    },
    /// It will not be done; trying again would not help.
    Failed(Failure),
}

/// Why something asked for could not be done. Safe to show to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure, for programs.
    pub code: FailureCode,
    /// What happened, in a sentence.
    pub detail: String,
    /// What the user can do, if we know.
    pub hint: Option<String>,
    /// The container's last log lines, where they tell more.
    #[serde(default)]
    pub log_tail: Vec<String>,
}

/// The kinds of failure a change can end with. The words are the API's problem
/// codes: added to, never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The URL may not be fetched: its scheme, userinfo, port or address.
    FetchRefused,
    /// The origin answered with another status than 200.
    FetchStatus,
    /// The origin could not be reached, or broke off, or lied about the length.
    FetchFailed,
    /// The origin took too long.
    FetchTimeout,
    /// The content is larger than allowed.
    FetchTooLarge,
    /// The new release did not become ready; the old one stays live.
    ReleaseNotReady,
    /// The release to roll back to does not exist, or its content is gone.
    NoSuchRelease,
    /// The image was removed, or never imported.
    NoSuchImage,
    /// There is no release to start: nothing was ever live.
    NothingToStart,
    /// Content cannot be stored now: the disk is full or read-only.
    StorageUnavailable,
    /// The container engine cannot do it now.
    EngineUnavailable,
    /// A module or version does not exist, was retracted, or is refused by the module proxy.
    ModuleRefused,
    /// A module's content is not what the checksum database says.
    ChecksumMismatch,
    /// The program does not compile.
    CompileFailed,
    /// The compiled program is not what was asked for: it does not run, or a plugin is missing.
    BuildUnusable,
    /// A step of a build took longer than allowed.
    BuildTimeout,
    /// A step of a build took more memory or disk than allowed.
    BuildTooLarge,
    /// Somebody did not want it any more.
    Cancelled,
    /// Our bug.
    Internal,
}

impl FailureCode {
    /// The word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FetchRefused => "fetch_refused",
            Self::FetchStatus => "fetch_status",
            Self::FetchFailed => "fetch_failed",
            Self::FetchTimeout => "fetch_timeout",
            Self::FetchTooLarge => "fetch_too_large",
            Self::ReleaseNotReady => "release_not_ready",
            Self::NoSuchRelease => "no_such_release",
            Self::NoSuchImage => "no_such_image",
            Self::NothingToStart => "nothing_to_start",
            Self::StorageUnavailable => "storage_unavailable",
            Self::EngineUnavailable => "engine_unavailable",
            Self::ModuleRefused => "module_refused",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::CompileFailed => "compile_failed",
            Self::BuildUnusable => "build_unusable",
            Self::BuildTimeout => "build_timeout",
            Self::BuildTooLarge => "build_too_large",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

//! An event: what happened, for ever. Append-only; audit, tests and timelines read it.

use serde::{Deserialize, Serialize};

use crate::{Micros, ProjectName};

/// Something that happened to a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it happened to: `service/<id>`, `build/<id>`, `task/<id>`, `token/<id>`, `image/<project>/<name>`.
    pub subject: String,
    /// Counts from 1 within the subject and never skips, so a cursor never misses one.
    pub seq: u64,
    /// Who owns the subject.
    pub project: ProjectName,
    /// When, by the database's clock.
    pub at: Micros,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A change of a service was asked for and accepted.
    ChangeRequested {
        /// The task's kind.
        change: String,
        /// Who asked: a token's id, `local`, or `system`.
        actor: String,
    },
    /// A release was made.
    ReleaseCreated {
        /// Its number.
        release: u32,
    },
    /// Visitors reach this release from here on.
    ReleaseLive {
        /// Its number.
        release: u32,
    },
    /// A release did not become ready.
    ReleaseFailed {
        /// Its number.
        release: u32,
        /// What the probe saw.
        reason: String,
    },
    /// The container of the live release ended when nobody asked it to.
    ContainerDied {
        /// Its release.
        release: u32,
        /// Exit status or signal, in words.
        exit: String,
        /// Deaths in a row.
        failures: u32,
    },
    /// A new container of the same release answers.
    ContainerRestarted {
        /// Its release.
        release: u32,
    },
    /// Containers keep dying; the last log lines say why.
    CrashLoop {
        /// Its release.
        release: u32,
        /// Exit and last log lines.
        reason: String,
    },
    /// A service's state changed in a way that no other event tells.
    StateChanged {
        /// What it was, in [`ServiceState::word`](crate::ServiceState::word)s.
        from: String,
        /// What it is now.
        to: String,
        /// For the user, where the new state has a reason.
        #[serde(default)]
        reason: Option<String>,
    },
    /// A change ended as asked.
    ChangeDone {
        /// The task's kind.
        change: String,
    },
    /// A change could not be done.
    ChangeFailed {
        /// The task's kind.
        change: String,
        /// The failure's code.
        code: String,
        /// In a sentence.
        detail: String,
    },
    /// Stopped, as asked.
    Stopped,
    /// Forgotten, as asked.
    Deleted,
    /// A name of an image was given a meaning, or taken away.
    Image {
        /// `imported` or `removed`.
        change: String,
        /// What the name means now, or meant.
        digest: String,
        /// Who asked.
        actor: String,
    },
    /// A build was asked for, for the first time or anew.
    BuildRequested {
        /// Which build of its key.
        generation: u32,
        /// Who asked.
        actor: String,
    },
    /// A worker has begun it.
    BuildBegan {
        /// Which worker.
        worker: String,
        /// How often it was begun.
        attempt: u32,
    },
    /// A step of it began, or came to an end.
    BuildStep {
        /// The step's name.
        step: String,
        /// None when it began; its end in words otherwise: `done`, `failed`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<String>,
        /// How long it took, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ms: Option<u64>,
    },
    /// Lines that a step said.
    BuildOutput {
        /// The step's name.
        step: String,
        /// In their order.
        lines: Vec<String>,
    },
    /// Its worker was lost or could not go on; another one goes on from the beginning.
    BuildReturned {
        /// Why.
        cause: String,
    },
    /// There is an artifact.
    BuildSucceeded {
        /// Its digest.
        digest: String,
        /// Its size.
        size_bytes: u64,
    },
    /// There will be none.
    BuildFailed {
        /// The failure's code.
        code: String,
        /// In a sentence.
        detail: String,
    },
    /// Somebody did not want it any more.
    BuildCancelled {
        /// Who.
        actor: String,
    },
    /// A task went from one state to another: the history by which it can be checked that
    /// nothing was lost or done twice.
    Task {
        /// `queued`, `claimed`, `given_back`, `done` or `failed`.
        change: String,
        /// The lease under which it happened; 0 before the first.
        token: i64,
        /// How often it has been claimed and charged.
        attempt: u32,
        /// The worker that claimed it, or why it was given back.
        #[serde(default)]
        note: Option<String>,
    },
    /// An API token was made or revoked.
    Token {
        /// `created` or `revoked`.
        change: String,
        /// Who asked.
        actor: String,
    },
}

//! The queue and its workers, for operators.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A unit of work in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// A UUID.
    pub id: String,
    /// Whose.
    pub project: String,
    /// Id of the service it changes, which may be gone.
    pub service: String,
    /// The service's name, while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// What it does: `deploy`, `rollback`, `start`, `stop`, `restart`, `delete`, `repair`.
    pub kind: String,
    /// How far it has come.
    pub state: TaskState,
    /// Who asked for it: a token's id, `local` or `system`.
    pub actor: String,
    /// How often a worker has begun it and was charged for that.
    pub attempts: u64,
    /// As often it may be, before it is given up.
    pub attempts_max: u64,
    /// How often it was given back without being charged: a worker was drained or taken away.
    pub given_back: u64,
    /// The last worker that had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The engine it belongs to: only a worker of that engine takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// What its worker must offer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// When it was asked for, RFC 3339.
    pub created_at: String,
    /// When its time comes or came, RFC 3339, while it is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
    /// When it was last begun, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<String>,
    /// While it runs: it is given to another if its worker is not heard of until then, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<String>,
    /// When it ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Why it failed or was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TaskFailure>,
    /// Everything that is in its way while it is queued; nothing when it is taken next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for a worker, or for its time.
    Queued,
    /// A worker is at it.
    Running,
    /// Ended as asked.
    Done,
    /// Ended with a failure that was the user's to hear.
    Failed,
    /// Nobody could do it; an operator may have it done anew.
    GivenUp,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::GivenUp];

    /// The word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
        }
    }
}

/// Why a task did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskFailure {
    /// A problem's code.
    pub code: String,
    /// What happened, in a sentence.
    pub detail: String,
}

/// One thing that is in the way of a queued task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// What kind of thing: `not_due`, `behind`, `no_workers`, `no_engine`, `no_labels`,
    /// `unavailable`, `project_full`, `all_busy`.
    pub reason: String,
    /// In a sentence.
    pub detail: String,
    /// Until when, RFC 3339, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The task that goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The workers it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<String>,
}

/// A task with everything that happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// What happened to it, oldest first; of very many steps the first ones.
    pub history: Vec<TaskStep>,
}

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskStep {
    /// When, RFC 3339.
    pub at: String,
    /// What: `queued`, `claimed`, `given_back`, `done`, `failed`.
    pub change: String,
    /// How often it had been begun and charged then.
    pub attempt: u32,
    /// The lease under which it happened; 0 before the first.
    pub lease: i64,
    /// The worker that claimed it, or why it was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A process that works on tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its name.
    pub id: String,
    /// Whether it takes tasks.
    pub state: WorkerState,
    /// The host it runs on.
    pub host: String,
    /// The engine root it has; what runs there is its alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Its version.
    pub version: String,
    /// What it offers.
    pub labels: Vec<String>,
    /// Tasks it works on at once.
    pub capacity: u32,
    /// Tasks it has now.
    pub running: u64,
    /// When it registered, RFC 3339.
    pub started_at: String,
    /// How long nobody has heard of it.
    pub silent_for_ms: u64,
    /// So long that its tasks are given to others.
    pub silent: bool,
}

/// Whether a worker takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It does.
    Active,
    /// An operator said no more for now; what it has it finishes.
    Cordoned,
    /// It finishes or gives back what it has, and ends.
    Draining,
    /// Its machine is about to be taken away: it has given everything back.
    Leaving,
}

impl WorkerState {
    /// The word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
        }
    }
}

//! The queue as an operator sees it: tasks of any state, with what they are and what they
//! wait for; the workers beside them.
//!
//! Rows are shown as they are stored: one that this version cannot read is shown too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shipway_model::waiting::{Ahead, Facts, Hand};
use shipway_model::{Micros, Outcome, ProjectName, ServiceId, TaskId, Waiting, waiting};
use sqlx::FromRow;

use crate::claims::UNREAD_UNTIL;
use crate::query::query;
use crate::values::{cursor, from_json, number, page, parse};
use crate::workers::{LIST_WORKERS, WorkerRow};
use crate::{Store, StoreError, Worker};

/// How far a task has come, as an operator names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waits for a worker, or for its time.
    Queued,
    /// Held under a lease.
    Running,
    /// Ended as asked.
    Done,
    /// Ended with a failure that is the user's to hear.
    Failed,
    /// Ended because nobody could do it; waits for an operator.
    GivenUp,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::GivenUp];

    /// The word, as in the API.
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

    /// Which rows they are, by indexes where there are some.
    const fn condition(self) -> &'static str {
        match self {
            Self::Queued => "t.state = 'queued'",
            Self::Running => "t.state = 'running'",
            Self::Done => "t.state = 'done'",
            Self::Failed => "t.state = 'failed' AND t.given_up_at IS NULL",
            Self::GivenUp => "t.given_up_at IS NOT NULL",
        }
    }
}

/// Which tasks to show; all that is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only this one.
    pub id: Option<TaskId>,
    /// Whose.
    pub project: Option<ProjectName>,
    /// How far.
    pub stage: Option<Stage>,
    /// Of which service; one that is gone too.
    pub service: Option<ServiceId>,
    /// What they do: a word as `deploy`.
    pub kind: Option<String>,
    /// The last worker that had them.
    pub worker: Option<String>,
}

/// A task, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    /// Larger for what was asked for later; for paging.
    pub number: u64,
    /// Its id.
    pub id: TaskId,
    /// Whose.
    pub project: ProjectName,
    /// The id of the service it is about.
    pub subject: String,
    /// Its name, if it is still there.
    pub service: Option<String>,
    /// What it does.
    pub kind: String,
    /// How far it has come.
    pub stage: Stage,
    /// Who asked for it.
    pub actor: String,
    /// How often it was claimed and charged.
    pub attempts: u64,
    /// How often it may be.
    pub attempts_max: u64,
    /// How often it was given back without being charged.
    pub released: u64,
    /// The last worker that had it.
    pub worker: Option<String>,
    /// The engine it belongs to, itself or by its service.
    pub engine: Option<String>,
    /// What its worker must offer.
    pub labels: BTreeSet<String>,
    /// Not to be begun before.
    pub not_before: Micros,
    /// When it was asked for.
    pub created_at: Micros,
    /// When it was last claimed.
    pub claimed_at: Option<Micros>,
    /// Until when its lease lasts unless renewed, while it runs.
    pub lease_until: Option<Micros>,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// How it ended; `None` also when this version cannot read it.
    pub outcome: Option<Outcome>,
    /// What stands before it, while it is queued.
    pub ahead: Option<Ahead>,
}

/// Tasks, and what it takes to say why they wait, read in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePage {
    /// By the database's clock.
    pub now: Micros,
    /// The tasks, what was asked for last first.
    pub tasks: Vec<TaskRecord>,
    /// Everybody who has registered.
    pub workers: Vec<Worker>,
    /// Tasks at work, by project.
    pub running: BTreeMap<String, u64>,
}

/// What is configured, not stored, and matters for who gets what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTerms {
    /// Tasks of one project that may be at work at once, see
    /// [`Claimant::project_max`](crate::Claimant::project_max).
    pub project_max: Option<u32>,
    /// A worker that was not heard of for so long counts as silent.
    pub silent_after: Duration,
}

impl QueuePage {
    /// What is in the way of a task of this page; nothing, when it is taken next or is not
    /// queued.
    #[must_use]
    pub fn why(&self, task: &TaskRecord, terms: WaitTerms) -> Vec<Waiting> {
        if task.stage != Stage::Queued {
            return Vec::new();
        }
        waiting::why(&Facts {
            now: self.now,
            not_before: task.not_before,
            ahead: task.ahead.clone(),
            engine: task.engine.clone(),
            labels: task.labels.clone(),
            project_running: self.running.get(task.project.as_str()).copied().unwrap_or(0),
            project_max: terms.project_max,
            workers: self.workers.iter().map(hand).collect(),
            silent_after: terms.silent_after,
        })
    }
}

fn hand(worker: &Worker) -> Hand {
    Hand {
        worker: worker.facts.id.clone(),
        engine: worker.facts.engine.clone(),
        labels: worker.facts.labels.clone(),
        state: worker.state.word().to_owned(),
        silent_for: worker.silent_for,
        capacity: u64::from(worker.facts.capacity),
        running: worker.running,
    }
}

#[derive(FromRow)]
struct RecordRow {
    number: i64,
    id: String,
    project: String,
    subject: String,
    service: Option<String>,
    kind: String,
    state: String,
    given_up: bool,
    actor: String,
    attempt: i64,
    attempts_max: i64,
    released: i64,
    worker: Option<String>,
    engine: Option<String>,
    labels: Option<String>,
    not_before: i64,
    created_at: i64,
    claimed_at: Option<i64>,
    lease_until: Option<i64>,
    ended_at: Option<i64>,
    outcome: Option<String>,
    ahead_id: Option<String>,
    ahead_kind: Option<String>,
    ahead_state: Option<String>,
}

impl RecordRow {
    fn read(self) -> Result<TaskRecord, StoreError> {
        let ahead = match (&self.ahead_id, self.ahead_kind) {
            (Some(id), Some(kind)) => Some(Ahead {
                task: parse("a task's id", id)?,
                kind,
                running: self.ahead_state.as_deref() == Some("running"),
            }),
            _ => None,
        };
        let labels = self.labels.as_deref().map(|labels| from_json("a task's labels", labels)).transpose()?;
        Ok(TaskRecord {
            number: number("a task's number", self.number)?,
            id: parse("a task's id", &self.id)?,
            project: parse("a task's project", &self.project)?,
            subject: self.subject,
            service: self.service,
            kind: self.kind,
            stage: stage(&self.state, self.given_up)?,
            actor: self.actor,
            attempts: number("a task's attempts", self.attempt)?,
            attempts_max: number("a task's attempts", self.attempts_max)?,
            released: number("a task's attempts", self.released)?,
            worker: self.worker,
            engine: self.engine,
            labels: labels.unwrap_or_default(),
            not_before: self.not_before,
            created_at: self.created_at,
            claimed_at: self.claimed_at,
            lease_until: self.lease_until.filter(|_| self.state == "running"),
            ended_at: self.ended_at,
            outcome: self.outcome.and_then(|outcome| serde_json::from_str(&outcome).ok()),
            ahead,
        })
    }
}

fn stage(state: &str, given_up: bool) -> Result<Stage, StoreError> {
    match (state, given_up) {
        (_, true) => Ok(Stage::GivenUp),
        ("queued", _) => Ok(Stage::Queued),
        ("running", _) => Ok(Stage::Running),
        ("done", _) => Ok(Stage::Done),
        ("failed", _) => Ok(Stage::Failed),
        (word, _) => Err(StoreError::Corrupt(format!("a task cannot be {word:?}"))),
    }
}

/// What stands before a queued task is what the claim looks at: one at work, or the first
/// in line. What rests because versions like this one could not read it, waits for its time.
fn tasks_sql(filter: &TaskFilter, known: i64) -> String {
    let condition = filter.stage.map_or("1 = 1", Stage::condition);
    // One task is found by its index; others by walking them from the newest.
    let id = if filter.id.is_some() { "$2" } else { "coalesce($2, t.id)" };
    format!(
        "SELECT t.number, t.id, t.project, t.subject, s.name AS service, t.kind, t.state,
             t.given_up_at IS NOT NULL AS given_up, t.actor, t.attempt, t.attempts_max, t.released, t.worker,
             coalesce(t.engine, s.engine) AS engine, t.labels, t.created_at, t.claimed_at,
             CASE WHEN t.unread_by >= {known} AND {UNREAD_UNTIL} > t.not_before THEN {UNREAD_UNTIL}
                  ELSE t.not_before END AS not_before,
             t.lease_until, t.ended_at, t.outcome, a.id AS ahead_id, a.kind AS ahead_kind, a.state AS ahead_state
         FROM task t
         LEFT JOIN service s ON s.id = t.subject
         LEFT JOIN task a ON t.state = 'queued' AND a.id = coalesce(
             (SELECT r.id FROM task r WHERE r.subject = t.subject AND r.state = 'running'),
             (SELECT e.id FROM task e
              WHERE e.subject = t.subject AND e.state = 'queued' AND e.number < t.number
                AND (e.kind <> 'repair' OR e.not_before <= {{now}})
              ORDER BY e.number LIMIT 1))
         WHERE {condition} AND t.number < $1
           AND t.id = {id} AND t.project = coalesce($3, t.project)
           AND t.subject = coalesce($4, t.subject) AND t.kind = coalesce($5, t.kind)
           AND ($6 = '' OR t.worker = $6)
         ORDER BY t.number DESC LIMIT $7"
    )
}

impl Store {
    /// Tasks of any state, what was asked for last first, below number `before`, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX); with what it takes to say why they wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_tasks(
        &self,
        filter: &TaskFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<QueuePage, StoreError> {
        let (now, rows, workers, running) = self
            .read(async |db| {
                let now: i64 = query("SELECT {now}").scalar(db).await?;
                let rows: Vec<RecordRow> = query(tasks_sql(filter, self.0.schema.known))
                    .bind(before.map_or(i64::MAX, cursor))
                    .bind(filter.id.map(|id| id.to_string()))
                    .bind(filter.project.as_ref().map(ProjectName::as_str))
                    .bind(filter.service.map(|id| id.to_string()))
                    .bind(filter.kind.as_deref())
                    .bind(filter.worker.as_deref().unwrap_or_default())
                    .bind(page(limit))
                    .fetch_all(db)
                    .await?;
                let workers: Vec<WorkerRow> = query(LIST_WORKERS).fetch_all(db).await?;
                let running: Vec<(String, i64)> =
                    query("SELECT project, count(*) FROM task WHERE state = 'running' GROUP BY project")
                        .fetch_all(db)
                        .await?;
                Ok((now, rows, workers, running))
            })
            .await?;
        let counted = |(project, count): (String, i64)| Ok((project, number("a count", count)?));
        Ok(QueuePage {
            now,
            tasks: rows.into_iter().map(RecordRow::read).collect::<Result<_, _>>()?,
            workers: workers.into_iter().map(WorkerRow::read).collect::<Result<_, _>>()?,
            running: running.into_iter().map(counted).collect::<Result<_, StoreError>>()?,
        })
    }
}

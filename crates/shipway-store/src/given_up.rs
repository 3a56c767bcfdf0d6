//! Tasks that were given up: each was tried as often as it may be, or cannot be read. They
//! are kept as they are until an operator has looked.

use shipway_model::task::BUILD;
use shipway_model::{EventKind, Micros, ProjectName, TaskId};
use sqlx::FromRow;
use uuid::Uuid;

use crate::door::Tx;
use crate::events::Step;
use crate::query::query;
use crate::values::{cursor, number, page, parse, subject_lock, timeline};
use crate::{Store, StoreError};

/// A task that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Larger for what was asked for later; for paging.
    pub number: u64,
    /// Its id.
    pub id: TaskId,
    /// Whose.
    pub project: ProjectName,
    /// The service it was to change, or the build it was to make.
    pub subject: String,
    /// What it was to do.
    pub kind: String,
    /// How often it was tried.
    pub attempts: u64,
    /// The last worker that had it.
    pub worker: Option<String>,
    /// How it ended, as JSON: the row may be one that this version cannot read.
    pub outcome: String,
    /// When.
    pub given_up_at: Micros,
}

#[derive(FromRow)]
struct GivenUpRow {
    number: i64,
    id: String,
    project: String,
    subject: String,
    kind: String,
    attempt: i64,
    worker: Option<String>,
    outcome: Option<String>,
    given_up_at: i64,
}

impl GivenUpRow {
    fn read(self) -> Result<GivenUp, StoreError> {
        Ok(GivenUp {
            number: number("a task's number", self.number)?,
            id: parse("a task's id", &self.id)?,
            project: parse("a task's project", &self.project)?,
            subject: self.subject,
            kind: self.kind,
            attempts: u64::try_from(self.attempt).unwrap_or(0),
            worker: self.worker,
            outcome: self.outcome.unwrap_or_default(),
            given_up_at: self.given_up_at,
        })
    }
}

impl Store {
    /// Tasks that were given up, in the order of asking, after `after`, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_given_up(&self, after: u64, limit: u32) -> Result<Vec<GivenUp>, StoreError> {
        let rows: Vec<GivenUpRow> = self
            .read(async |db| {
                let sql = "SELECT number, id, project, subject, kind, attempt, worker, outcome, given_up_at
                     FROM task WHERE given_up_at IS NOT NULL AND number > $1 ORDER BY number LIMIT $2";
                Ok(query(sql).bind(cursor(after)).bind(page(limit)).fetch_all(db).await?)
            })
            .await?;
        rows.into_iter().map(GivenUpRow::read).collect()
    }

    /// Has a task that was given up done anew: a new task with the same payload, as it is
    /// stored, with all its attempts before it. The old one is no longer listed.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when there is no such task, when it was not given up or is
    /// asked for anew already, or when its service or build is gone; [`StoreError::Deleting`],
    /// [`StoreError::Unavailable`].
    pub async fn requeue(&self, task: TaskId, actor: &str) -> Result<TaskId, StoreError> {
        let actor = actor.to_owned();
        self.write(move |tx| Box::pin(tx.requeue(task, actor))).await
    }
}

#[derive(FromRow)]
struct OldRow {
    project: String,
    subject: String,
    kind: String,
}

impl Tx {
    async fn requeue(&mut self, task: TaskId, actor: String) -> Result<TaskId, StoreError> {
        let subject: Option<String> =
            query("SELECT subject FROM task WHERE id = $1").bind(task.to_string()).scalar_optional(self.db()).await?;
        let subject = subject.ok_or(StoreError::NotFound("task"))?;
        self.lock(subject_lock(&subject)).await?;
        let old: Option<OldRow> = query(
            "UPDATE task SET given_up_at = NULL WHERE id = $1 AND given_up_at IS NOT NULL
             RETURNING project, subject, kind",
        )
        .bind(task.to_string())
        .fetch_optional(self.db())
        .await?;
        let old = old.ok_or(StoreError::NotFound("task"))?;
        if old.kind != BUILD {
            self.may_be_changed(&old.subject).await?;
        }
        let new = self.copy_task(task, &actor).await?;
        if old.kind == BUILD {
            self.reopen_build(&old.subject, new).await?;
        }
        let (task, project) = (&new.to_string(), old.project.as_str());
        self.step(Step { task, project, change: "queued", token: 0, attempt: 0, note: None }).await?;
        let timeline = timeline(&old.kind, &old.subject);
        let event = EventKind::ChangeRequested { change: old.kind, actor };
        self.event(&timeline, &old.project, &event).await?;
        Ok(new)
    }

    async fn may_be_changed(&mut self, subject: &str) -> Result<(), StoreError> {
        let there: bool =
            query("SELECT EXISTS (SELECT 1 FROM service WHERE id = $1)").bind(subject).scalar(self.db()).await?;
        if !there {
            return Err(StoreError::NotFound("service"));
        }
        let deleting = self.is_being_deleted(parse("a task's subject", subject)?).await?;
        if deleting { Err(StoreError::Deleting) } else { Ok(()) }
    }

    async fn copy_task(&mut self, task: TaskId, actor: &str) -> Result<TaskId, StoreError> {
        let new = TaskId(Uuid::new_v4());
        query(
            "INSERT INTO task (id, project, subject, kind, priority, payload, actor, state, attempt, attempts_max,
                 lease_token, not_before, created_at, engine, labels)
             SELECT $2, project, subject, kind, priority, payload, $3, 'queued', 0, attempts_max,
                 0, {now}, {now}, engine, labels
             FROM task WHERE id = $1",
        )
        .bind(task.to_string())
        .bind(new.to_string())
        .bind(actor)
        .execute(self.db())
        .await?;
        self.changed.tasks = true;
        Ok(new)
    }
}

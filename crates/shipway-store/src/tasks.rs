//! Tasks as others see them: finding one, waiting for its end.

use std::time::Duration;

use shipway_model::{Outcome, Subject, Task, TaskId, TaskPayload, TaskState};
use sqlx::FromRow;

#[cfg(feature = "next-version")]
use crate::next_version::readable;
use crate::query::query;
use crate::values::{from_json, number, parse, present};
use crate::{Store, StoreError};

/// A task is looked at again after this long even when no notice came. Shorter
/// only costs reads; longer, and a lost notice is felt.
const REREAD: Duration = Duration::from_secs(1);

#[derive(FromRow)]
pub(crate) struct TaskRow {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) subject: String,
    payload: String,
    state: String,
    pub(crate) not_before: i64,
    outcome: Option<String>,
    pub(crate) attempt: i64,
}

impl TaskRow {
    pub(crate) fn read(self) -> Result<Task, StoreError> {
        let payload = from_json("a task's payload", readable(&self.payload))?;
        let subject = match payload {
            TaskPayload::Build => Subject::Build(parse("a task's subject", &self.subject)?),
            _ => Subject::Service(parse("a task's subject", &self.subject)?),
        };
        Ok(Task {
            id: parse("a task's id", &self.id)?,
            project: parse("a task's project", &self.project)?,
            subject,
            payload,
            state: read_state(&self.state, self.not_before, self.outcome.as_deref())?,
            attempt: number("a task's attempt", self.attempt)?,
        })
    }
}

/// A payload is read as it is written; only the torture suite has versions to come.
#[cfg(not(feature = "next-version"))]
const fn readable(payload: &str) -> &str {
    payload
}

fn read_state(word: &str, not_before: i64, outcome: Option<&str>) -> Result<TaskState, StoreError> {
    match word {
        "queued" => Ok(TaskState::Queued { not_before }),
        "running" => Ok(TaskState::Running),
        "done" | "failed" => {
            let outcome = present("an ended task's outcome", outcome)?;
            Ok(TaskState::Ended(from_json("a task's outcome", outcome)?))
        }
        _ => Err(StoreError::Corrupt(format!("a task cannot be {word:?}"))),
    }
}

impl Store {
    /// Finds a task, ended or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let row: Option<TaskRow> = self
            .read(async |db| {
                Ok(query(
                    "SELECT id, project, subject, payload, state, not_before, outcome, attempt
                     FROM task WHERE id = $1",
                )
                .bind(id.to_string())
                .fetch_optional(db)
                .await?)
            })
            .await?;
        row.map(TaskRow::read).transpose()
    }

    /// Waits until the task has ended, at most `limit`; `None` when it has not.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when there is no such task,
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn wait_task(&self, id: TaskId, limit: Duration) -> Result<Option<Outcome>, StoreError> {
        // Listening before looking: an end in between is noticed.
        let mut notices = self.notices();
        let until_ended = async {
            loop {
                let seen = notices.borrow_and_update().ended;
                let task = self.find_task(id).await?;
                match task.ok_or(StoreError::NotFound("task"))?.state {
                    TaskState::Ended(outcome) => return Ok(outcome),
                    TaskState::Queued { .. } | TaskState::Running => {}
                }
                let more_ended = notices.wait_for(|notice| notice.ended != seen);
                drop(tokio::time::timeout(REREAD, more_ended).await);
            }
        };
        tokio::time::timeout(limit, until_ended).await.map_or(Ok(None), |result| result.map(Some))
    }
}

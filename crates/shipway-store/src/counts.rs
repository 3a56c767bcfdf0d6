//! Counts for metrics and for health, cheap enough to be asked every second.

use shipway_model::Micros;
use sqlx::FromRow;

use crate::query::query;
use crate::values::number;
use crate::{Store, StoreError};

/// How much work is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Waiting, those that wait for their time included.
    pub queued: u64,
    /// Of those, the ones whose time has come.
    pub due: u64,
    /// Held under a lease.
    pub running: u64,
    /// How long the longest of the due ones has been due, in microseconds; zero
    /// when none is.
    pub oldest_due_age: Micros,
}

/// Open tasks of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindCount {
    /// What they do, as `deploy`.
    pub kind: String,
    /// `queued` or `running`.
    pub state: String,
    /// How many.
    pub tasks: u64,
}

/// How many services are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCount {
    /// The state, as [`ServiceState::word`](shipway_model::ServiceState::word) has it.
    pub state: String,
    /// How many.
    pub services: u64,
}

#[derive(FromRow)]
struct TaskCountsRow {
    queued: i64,
    due: i64,
    running: i64,
    oldest_due_age: Option<i64>,
}

impl Store {
    /// Counts open tasks. Ended ones are not counted: they only grow.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn task_counts(&self) -> Result<TaskCounts, StoreError> {
        let row: TaskCountsRow = self
            .read(async |db| {
                Ok(query("SELECT count(*) AS queued,
                         count(CASE WHEN not_before <= {now} THEN 1 END) AS due,
                         (SELECT count(*) FROM task WHERE state = 'running') AS running, {now} - min(not_before) AS oldest_due_age
                     FROM task WHERE state = 'queued'")
                .fetch_one(db)
                .await?)
            })
            .await?;
        Ok(TaskCounts {
            queued: number("a count", row.queued)?,
            due: number("a count", row.due)?,
            running: number("a count", row.running)?,
            oldest_due_age: row.oldest_due_age.unwrap_or(0).max(0),
        })
    }

    /// Counts open tasks by kind and state; those of which there are none are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn open_tasks_by_kind(&self) -> Result<Vec<KindCount>, StoreError> {
        let rows: Vec<(String, String, i64)> = self
            .read(async |db| {
                // Two halves, each by an index that holds nothing else.
                let sql =
                    "SELECT kind, 'queued' AS state, count(*) AS tasks FROM task WHERE state = 'queued' GROUP BY kind
                     UNION ALL
                     SELECT kind, 'running', count(*) FROM task WHERE state = 'running' GROUP BY kind";
                Ok(query(sql).fetch_all(db).await?)
            })
            .await?;
        let read = |(kind, state, tasks)| Ok(KindCount { kind, state, tasks: number("a count", tasks)? });
        rows.into_iter().map(read).collect()
    }

    /// Counts the tasks that were given up and that nobody has looked at.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn count_given_up(&self) -> Result<u64, StoreError> {
        let count: i64 = self
            .read(async |db| Ok(query("SELECT count(*) FROM task WHERE given_up_at IS NOT NULL").scalar(db).await?))
            .await?;
        number("a count", count)
    }

    /// Counts services by state, of all projects; states nobody is in are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn service_counts(&self) -> Result<Vec<ServiceCount>, StoreError> {
        let rows: Vec<(String, i64)> = self
            .read(async |db| {
                Ok(query("SELECT state, count(*) FROM service GROUP BY state ORDER BY state").fetch_all(db).await?)
            })
            .await?;
        rows.into_iter()
            .map(|(state, services)| Ok(ServiceCount { state, services: number("a count", services)? }))
            .collect()
    }
}

//! Taking the next task, and knowing when there will be one.

use shipway_model::task::Failure;
use shipway_model::{FailureCode, Micros, Outcome, Task};
use sqlx::FromRow;

use crate::door::Tx;
use crate::held::Held;
use crate::tasks::TaskRow;
use crate::values::micros;
use crate::{Lease, LeaseTerms, Store, StoreError, sqlite};

/// Tasks that make no sense and are put aside in one call of `claim`, before it
/// answers that there is nothing: it must not hold the write lock for long.
const PUT_ASIDE_MAX: u32 = 16;

#[derive(FromRow)]
struct ClaimedRow {
    #[sqlx(flatten)]
    task: TaskRow,
    attempts_max: i64,
    lease_token: i64,
    lease_until: i64,
    deadline_at: i64,
}

impl Store {
    /// Takes the next task that is due and whose subject is free: by priority,
    /// then in the order of asking. Tasks of one subject go strictly in that
    /// order, except that a `repair` waiting for its time lets others pass.
    ///
    /// A row that cannot be read is ended as failed, so that it does not stand
    /// before all others for ever.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn claim(&self, worker: &str, terms: LeaseTerms) -> Result<Option<Lease>, StoreError> {
        let worker = worker.to_owned();
        self.write(move |tx| Box::pin(tx.claim(worker, terms))).await
    }

    /// When the next task can be claimed at the earliest: a time that has passed
    /// when one can be right now, `None` when there is none but those that wait
    /// for another task of their subject. Asked after [`claim`](Self::claim) said
    /// no, to know how long to sleep unless a notice comes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn next_due(&self) -> Result<Option<Micros>, StoreError> {
        self.read(async |db| {
            Ok(sqlx::query_scalar(concat!("SELECT min(t.not_before) FROM task t WHERE ", sqlite::unblocked!()))
                .fetch_one(db)
                .await?)
        })
        .await
    }
}

impl Tx {
    async fn claim(&mut self, worker: String, terms: LeaseTerms) -> Result<Option<Lease>, StoreError> {
        for _ in 0..PUT_ASIDE_MAX {
            let Some(row) = self.claim_row(&worker, terms).await? else {
                return Ok(None);
            };
            let held = row.held();
            match row.read() {
                Ok(lease) => return Ok(Some(lease)),
                Err(error) => self.put_aside(held, &error).await?,
            }
        }
        Ok(None)
    }

    async fn claim_row(&mut self, worker: &str, terms: LeaseTerms) -> Result<Option<ClaimedRow>, StoreError> {
        let deadline = micros(terms.deadline);
        let row: Option<ClaimedRow> = sqlx::query_as(sqlite::CLAIM)
            .bind(worker)
            .bind(micros(terms.heartbeat).min(deadline))
            .bind(deadline)
            .fetch_optional(self.db())
            .await?;
        if row.is_some() {
            sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'lease'").execute(self.db()).await?;
        }
        Ok(row)
    }

    async fn put_aside(&mut self, held: Held, error: &StoreError) -> Result<(), StoreError> {
        tracing::error!(task.id = %held.id, %error, "task put aside: it cannot be read");
        let failure = Failure {
            code: FailureCode::Internal,
            detail: "this change was recorded in a form that cannot be read".to_owned(),
            hint: Some("ask for it again".to_owned()),
            log_tail: Vec::new(),
        };
        held.end(self, &Outcome::Failed(failure)).await
    }
}

impl ClaimedRow {
    fn held(&self) -> Held {
        Held {
            id: self.task.id.clone(),
            project: self.task.project.clone(),
            subject: self.task.subject.clone(),
            kind: self.task.kind.clone(),
            attempt: self.task.attempt,
            attempts_max: self.attempts_max,
        }
    }

    fn read(self) -> Result<Lease, StoreError> {
        let task: Task = self.task.read()?;
        Ok(Lease { task, token: self.lease_token, until: self.lease_until, deadline: self.deadline_at })
    }
}

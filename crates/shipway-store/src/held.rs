//! Proof of holding a task, and what may only be done with it: ending the task,
//! or putting it back into the queue.
//!
//! A worker may lose its lease without noticing: it slept, its host hung, its
//! clock stood. So nothing here trusts what the caller believes. Every write
//! first makes a [`Held`] of the lease, in its own transaction.

use std::time::Duration;

use shipway_model::task::{BUILD, Failure};
use shipway_model::{EventKind, FailureCode, Outcome, Service};
use sqlx::FromRow;

use crate::door::Tx;
use crate::events::Step;
use crate::query::query;
use crate::values::{micros, number, subject_lock, timeline, to_json};
use crate::{Lease, StoreError, measure, services};

/// How a task ends whose service is gone.
pub(crate) const NOTHING_LEFT: Outcome = Outcome::Done { release: None, changed: true };

/// What it takes to prove that a lease is held.
#[derive(Debug, Clone)]
pub(crate) struct LeaseKey {
    pub(crate) task: String,
    pub(crate) subject: String,
    pub(crate) token: i64,
}

impl Lease {
    pub(crate) fn key(&self) -> LeaseKey {
        LeaseKey { task: self.task.id.to_string(), subject: self.task.subject.to_string(), token: self.token }
    }
}

/// Proof that, in this transaction, a task is running and the caller may end it.
/// All columns are as they are stored, so that even a row that makes no sense
/// can be ended.
#[derive(Debug, FromRow)]
pub(crate) struct Held {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) subject: String,
    pub(crate) kind: String,
    pub(crate) attempt: i64,
    pub(crate) attempts_max: i64,
    pub(crate) lease_token: i64,
}

impl Held {
    /// Proves that a lease is held: the task runs, under this very token, and
    /// its deadline has not passed. A lease that has merely missed its heartbeat
    /// is still held as long as nobody has been given the task.
    ///
    /// It also locks the subject: all that changes a running task, and all that a lease
    /// may write, waits for that lock, so the proof holds until the transaction ends.
    pub(crate) async fn by(tx: &mut Tx, lease: LeaseKey) -> Result<Self, StoreError> {
        tx.lock(subject_lock(&lease.subject)).await?;
        query(
            "SELECT id, project, subject, kind, attempt, attempts_max, lease_token FROM task
             WHERE id = $1 AND lease_token = $2 AND state = 'running' AND deadline_at > {now}",
        )
        .bind(&lease.task)
        .bind(lease.token)
        .fetch_optional(tx.db())
        .await?
        .ok_or(StoreError::Stale)
    }

    /// The subject of the events of what the task is about.
    pub(crate) fn event_subject(&self) -> String {
        timeline(&self.kind, &self.subject)
    }

    /// The task's service, which exists unless somebody edited the file.
    pub(crate) async fn service(&self, tx: &mut Tx) -> Result<Service, StoreError> {
        services::find(tx.db(), &self.subject).await?.ok_or(StoreError::NotFound("service"))
    }

    /// Ends the task, with its event. A release that is still `starting` was left
    /// by this task or by an attempt that was cut off: it can no longer become
    /// live, and says so.
    pub(crate) async fn end(self, tx: &mut Tx, outcome: &Outcome) -> Result<(), StoreError> {
        let word = match outcome {
            Outcome::Done { .. } => "done",
            Outcome::Failed(_) => "failed",
        };
        query("UPDATE task SET state = $2, outcome = $3, ended_at = {now} WHERE id = $1")
            .bind(&self.id)
            .bind(word)
            .bind(to_json("an outcome", outcome)?)
            .later(tx.db())
            .await?;
        #[cfg(feature = "next-version")]
        crate::next_version::note_end(tx, &self).await?;
        self.step(tx, word, self.attempt, None).await?;
        measure::ended(&self.kind, word, self.attempt);
        // The next task of the subject may now be claimed.
        tx.changed.tasks = true;
        tx.changed.ended = true;
        self.tell_end(tx, outcome).await
    }

    async fn tell_end(&self, tx: &mut Tx, outcome: &Outcome) -> Result<(), StoreError> {
        if self.kind == BUILD {
            return tx.end_build(self, outcome).await;
        }
        let change = self.kind.clone();
        match outcome {
            Outcome::Done { changed, .. } => {
                tx.give_up_releases(self, "its deploy was cut off and done anew").await?;
                if change == "repair" && !changed {
                    // Every start of the platform looks at every service; that
                    // nothing was wrong is no news.
                    return Ok(());
                }
                let done = EventKind::ChangeDone { change };
                tx.event(&self.event_subject(), &self.project, &done).await
            }
            Outcome::Failed(failure) => {
                tx.give_up_releases(self, &failure.detail).await?;
                tx.fail_starting_service(self, &failure.detail).await?;
                let failed = EventKind::ChangeFailed {
                    change,
                    code: failure.code.word().to_owned(),
                    detail: failure.detail.clone(),
                };
                tx.event(&self.event_subject(), &self.project, &failed).await
            }
        }
    }

    /// Ends the task as one that nobody could do: an operator may look at it and have it
    /// done anew.
    pub(crate) async fn give_up(self, tx: &mut Tx, failure: Failure) -> Result<(), StoreError> {
        query("UPDATE task SET given_up_at = {now} WHERE id = $1").bind(&self.id).later(tx.db()).await?;
        measure::given_up(&self.kind);
        self.end(tx, &Outcome::Failed(failure)).await
    }

    /// Puts the task back into the queue, or ends it when it has been tried often
    /// enough: a task that kills its worker must not do so for ever.
    pub(crate) async fn put_back(
        self,
        tx: &mut Tx,
        delay: Duration,
        charge: bool,
        cause: &str,
    ) -> Result<(), StoreError> {
        if charge && self.attempt >= self.attempts_max {
            let failure = Failure {
                code: FailureCode::Internal,
                detail: format!("given up after {} attempts: {cause} every time", self.attempt),
                hint: None,
                log_tail: Vec::new(),
            };
            return self.give_up(tx, failure).await;
        }
        self.let_go_of_engine(tx).await?;
        query("UPDATE task SET state = 'queued', worker = NULL, lease_until = NULL,
                 deadline_at = NULL, attempt = attempt - $2, released = released + $2, not_before = {now} + $3 WHERE id = $1")
        .bind(&self.id)
        .bind(i64::from(!charge))
        .bind(micros(delay))
        .later(tx.db())
        .await?;
        if self.kind == BUILD {
            tx.return_build(&self, charge, cause).await?;
        }
        let left = self.attempt - i64::from(!charge);
        self.step(tx, "given_back", left, Some(cause)).await?;
        tx.changed.tasks = true;
        Ok(())
    }

    /// A service that has never been live has nothing on the engine of the worker that
    /// could not do it: any may try next.
    async fn let_go_of_engine(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let sql = "UPDATE service SET engine = NULL WHERE id = $1 AND engine IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM release r WHERE r.service = $1 AND r.state = 'live')";
        Ok(query(sql).bind(&self.subject).later(tx.db()).await?)
    }

    async fn step(&self, tx: &mut Tx, change: &str, attempt: i64, note: Option<&str>) -> Result<(), StoreError> {
        let (task, project, token) = (&self.id, &self.project, self.lease_token);
        tx.step(Step { task, project, change, token, attempt, note }).await
    }
}

impl Tx {
    /// Fails every release that is still `starting`, with an event for each.
    async fn give_up_releases(&mut self, held: &Held, reason: &str) -> Result<(), StoreError> {
        let numbers: Vec<i64> = query(
            "UPDATE release SET state = 'failed', reason = $2
             WHERE service = $1 AND state = 'starting' RETURNING number",
        )
        .bind(&held.subject)
        .bind(reason)
        .scalars(self.db())
        .await?;
        for released in numbers {
            let event = EventKind::ReleaseFailed {
                release: number("a release's number", released)?,
                reason: reason.to_owned(),
            };
            self.event(&held.event_subject(), &held.project, &event).await?;
        }
        Ok(())
    }

    /// Nothing else would ever bring such a service out of `starting`.
    async fn fail_starting_service(&mut self, held: &Held, reason: &str) -> Result<(), StoreError> {
        let changed = query(
            "UPDATE service SET state = 'failed', release = NULL, reason = $2,
                 version = version + 1, updated_at = {now} WHERE id = $1 AND state = 'starting'",
        )
        .bind(&held.subject)
        .bind(reason)
        .execute(self.db())
        .await?;
        if changed == 0 {
            return Ok(());
        }
        self.changed.services = true;
        let event = EventKind::StateChanged {
            from: "starting".to_owned(),
            to: "failed".to_owned(),
            reason: Some(reason.to_owned()),
        };
        self.event(&held.event_subject(), &held.project, &event).await
    }

    /// Ends what is queued for a subject that is no more.
    pub(crate) async fn end_queued_of(&mut self, subject: &str) -> Result<(), StoreError> {
        let ended: Vec<Held> = query(
            "UPDATE task SET state = 'done', outcome = $2, ended_at = {now} WHERE subject = $1 AND state = 'queued'
             RETURNING id, project, subject, kind, attempt, attempts_max, lease_token",
        )
        .bind(subject)
        .bind(to_json("an outcome", &NOTHING_LEFT)?)
        .fetch_all(self.db())
        .await?;
        for held in ended {
            held.step(self, "done", held.attempt, None).await?;
        }
        Ok(())
    }
}

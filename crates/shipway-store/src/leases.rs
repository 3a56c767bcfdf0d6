//! Working under a lease: renewing it, ending its task, giving it back, and
//! taking it away from a worker that is gone.

use std::time::Duration;

use shipway_model::Outcome;

use crate::door::Tx;
use crate::held::{Held, LeaseKey};
use crate::values::micros;
use crate::{Lease, LeaseTerms, Store, StoreError, sqlite};

impl Store {
    /// Renews a lease, up to its deadline.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`] when it is no longer held: stop at once.
    /// [`StoreError::Unavailable`]: try again, it may still be held.
    pub async fn heartbeat(&self, lease: &Lease, terms: LeaseTerms) -> Result<(), StoreError> {
        let (lease, heartbeat) = (lease.key(), micros(terms.heartbeat));
        self.write(move |tx| Box::pin(tx.heartbeat(lease, heartbeat))).await
    }

    /// Ends a task, with its event. When it failed and the service is still
    /// `starting`, that is `failed` too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`], [`StoreError::Unavailable`].
    pub async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<(), StoreError> {
        let (lease, outcome) = (lease.key(), outcome.clone());
        self.write(move |tx| Box::pin(async move { Held::by(tx, lease).await?.end(tx, &outcome).await })).await
    }

    /// Gives a task back, to be claimed again after `delay`; `charge` counts it as
    /// an attempt. One that has been charged its last attempt ends as failed,
    /// with code `internal`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`], [`StoreError::Unavailable`].
    pub async fn give_back(&self, lease: &Lease, delay: Duration, charge: bool) -> Result<(), StoreError> {
        let lease = lease.key();
        self.write(move |tx| {
            Box::pin(async move {
                let held = Held::by(tx, lease).await?;
                held.put_back(tx, delay, charge, "its worker gave it back every time").await
            })
        })
        .await
    }

    /// Gives back every running task whose lease has run out, or (at the start of
    /// the only process, which has no leases yet) every running task. It counts
    /// as an attempt. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; then none was given back.
    pub async fn rescue(&self, all: bool) -> Result<u64, StoreError> {
        self.write(move |tx| Box::pin(tx.rescue(all))).await
    }
}

impl Tx {
    async fn heartbeat(&mut self, lease: LeaseKey, heartbeat: i64) -> Result<(), StoreError> {
        let held = Held::by(self, lease).await?;
        sqlx::query(concat!(
            "UPDATE task SET lease_until = CASE WHEN ",
            sqlite::now!(),
            " + $2 < deadline_at THEN ",
            sqlite::now!(),
            " + $2 ELSE deadline_at END WHERE id = $1"
        ))
        .bind(&held.id)
        .bind(heartbeat)
        .execute(self.db())
        .await?;
        Ok(())
    }

    async fn rescue(&mut self, all: bool) -> Result<u64, StoreError> {
        let lost: Vec<Held> = sqlx::query_as(concat!(
            "SELECT id, project, subject, kind, attempt, attempts_max FROM task
             WHERE state = 'running' AND ($1 OR lease_until <= ",
            sqlite::now!(),
            " OR deadline_at <= ",
            sqlite::now!(),
            ") ORDER BY number"
        ))
        .bind(all)
        .fetch_all(self.db())
        .await?;
        let mut count = 0;
        for held in lost {
            tracing::warn!(task.id = %held.id, task.kind = %held.kind, "lease lost, task given back");
            held.put_back(self, Duration::ZERO, true, "its worker was lost every time").await?;
            count += 1;
        }
        Ok(count)
    }
}

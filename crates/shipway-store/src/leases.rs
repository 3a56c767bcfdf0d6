//! Working under a lease: renewing it, ending its task, giving it back, and
//! taking it away from a worker that is gone.

use std::time::Duration;

use shipway_model::Outcome;
use sqlx::FromRow;

use crate::door::{Durability, Tx};
use crate::held::{Held, LeaseKey};
use crate::query::{Query, query};
use crate::values::{micros, subject_lock};
use crate::{Lease, LeaseTerms, Store, StoreError, measure};

/// Half the longest rest of a task whose worker was lost for the second time.
const REST_FIRST: Duration = Duration::from_millis(100);

/// No rest is longer. Ten attempts take half a minute at most.
const REST_MOST: Duration = Duration::from_secs(5);

/// `$1` all, `$2` those of this worker; those that have run out always.
macro_rules! lost {
    () => {
        "state = 'running' AND ($1 OR worker = $2 OR lease_until <= {now} OR deadline_at <= {now})"
    };
}
impl Store {
    /// Renews a lease, up to its deadline.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`] when it is no longer held: stop at once.
    /// [`StoreError::Unavailable`]: try again, it may still be held.
    pub async fn heartbeat(&self, lease: &Lease, terms: LeaseTerms) -> Result<(), StoreError> {
        let (lease, heartbeat) = (lease.key(), micros(terms.heartbeat));
        // One that is lost makes the lease shorter, and the next one comes soon.
        self.write_surviving(Durability::Process, move |tx| Box::pin(tx.heartbeat(lease, heartbeat))).await
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
        // One that is charged may be the last, and then it is an end. What a power cut takes
        // of the others, the rescue at the next start gives back.
        let durability = if charge { Durability::Power } else { Durability::Host };
        self.write_surviving(durability, move |tx| {
            Box::pin(async move {
                let held = Held::by(tx, lease).await?;
                held.put_back(tx, delay, charge, "its worker gave it back").await
            })
        })
        .await
    }

    /// Gives back every running task whose lease has run out, or (at the start of
    /// the only process, which has no leases yet) every running task. It counts
    /// as an attempt; from the second loss on a task rests a little before it can be
    /// claimed again. Returns how many there were. Any number of processes may do it at
    /// once: each task is given back by one of them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; some may have been given back before.
    pub async fn rescue(&self, all: bool) -> Result<u64, StoreError> {
        self.rescue_lost(if all { Lost::All } else { Lost::RunOut }).await
    }

    /// Gives back what a worker of this name held in a life before: at its start, when it
    /// knows that it holds nothing. It counts as an attempt. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; some may have been given back before.
    pub async fn rescue_worker(&self, worker: &str) -> Result<u64, StoreError> {
        self.rescue_lost(Lost::Of(worker.to_owned())).await
    }

    async fn rescue_lost(&self, lost: Lost) -> Result<u64, StoreError> {
        self.forget_the_future().await?;
        let rows: Vec<LostRow> = self
            .read(async |db| {
                let sql = concat!("SELECT id, subject, lease_token FROM task WHERE ", lost!(), " ORDER BY number");
                Ok(lost.bind(query(sql)).fetch_all(db).await?)
            })
            .await?;
        let mut count = 0;
        for row in rows {
            let (key, lost) = (LeaseKey { task: row.id, subject: row.subject, token: row.lease_token }, lost.clone());
            // A transaction each: two that rescue the same tasks must not wait for each
            // other crosswise.
            count += u64::from(self.write(move |tx| Box::pin(tx.rescue(key, lost))).await?);
        }
        Ok(count)
    }
}

/// Running tasks that nobody works on any more.
#[derive(Debug, Clone)]
enum Lost {
    RunOut,
    All,
    Of(String),
}

impl Lost {
    fn bind(&self, query: Query) -> Query {
        let worker = if let Self::Of(worker) = self { Some(worker.as_str()) } else { None };
        query.bind(matches!(self, Self::All)).bind(worker)
    }
}

#[derive(FromRow)]
struct LostRow {
    id: String,
    subject: String,
    lease_token: i64,
}

#[derive(FromRow)]
struct LostHeld {
    #[sqlx(flatten)]
    held: Held,
    late: bool,
    overdue: i64,
}

impl Tx {
    /// One statement is enough: who takes the lease away writes the same row.
    async fn heartbeat(&mut self, lease: LeaseKey, heartbeat: i64) -> Result<(), StoreError> {
        let renewed = query(
            "UPDATE task SET lease_until = CASE WHEN {now} + $3 < deadline_at THEN {now} + $3 ELSE deadline_at END
             WHERE id = $1 AND lease_token = $2 AND state = 'running' AND deadline_at > {now}",
        )
        .bind(lease.task)
        .bind(lease.token)
        .bind(heartbeat)
        .execute(self.db())
        .await?;
        if renewed == 0 { Err(StoreError::Stale) } else { Ok(()) }
    }

    /// Gives one lost task back, unless its worker was heard of meanwhile.
    async fn rescue(&mut self, lease: LeaseKey, lost: Lost) -> Result<bool, StoreError> {
        self.lock(subject_lock(&lease.subject)).await?;
        let sql = concat!(
            "SELECT id, project, subject, kind, attempt, attempts_max, lease_token, deadline_at <= {now} AS late,
                 {now} - CASE WHEN lease_until < deadline_at THEN lease_until ELSE deadline_at END AS overdue
             FROM task WHERE id = $3 AND lease_token = $4 AND ",
            lost!()
        );
        let found: Option<LostHeld> =
            lost.bind(query(sql)).bind(&lease.task).bind(lease.token).fetch_optional(self.db()).await?;
        let Some(LostHeld { held, late, overdue }) = found else { return Ok(false) };
        measure::rescued(late, overdue);
        let cause = if late { "it took longer than allowed" } else { "its worker was lost" };
        tracing::warn!(task.id = %held.id, task.kind = %held.kind, late, "lease lost, task given back");
        let rest = rest(held.attempt, held.lease_token);
        held.put_back(self, rest, true, cause).await?;
        Ok(true)
    }
}

/// How long a task rests whose worker was lost, at its `attempt`th time: not at all the first
/// time, and then about twice as long each time. Among those that were lost together may be
/// one that kills its worker; without a rest they would come back together, and be lost
/// together, until all of them are given up.
fn rest(attempt: i64, token: i64) -> Duration {
    let Ok(lost_before @ 1..) = u32::try_from(attempt - 1) else { return Duration::ZERO };
    let most = REST_FIRST.saturating_mul(1 << lost_before.min(16)).min(REST_MOST);
    // Tokens count up; this spreads neighbours far apart (Fibonacci hashing).
    let [dice, ..] = token.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    most * u32::from(dice) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_costs_no_rest_and_later_ones_more_each() {
        assert_eq!(rest(1, 7), Duration::ZERO);
        for (attempt, most) in [(2, 200), (3, 400), (6, 3200), (7, 5000), (10, 5000), (100, 5000)] {
            let longest = (0..1000).map(|token| rest(attempt, token)).max();
            assert_eq!(longest, Some(Duration::from_millis(most)), "attempt {attempt}");
        }
    }

    #[test]
    fn neighbours_do_not_rest_equally_long() {
        let rests: std::collections::BTreeSet<Duration> = (100..108).map(|token| rest(3, token)).collect();
        assert_eq!(rests.len(), 8);
    }
}

//! What is counted where it happens. Names are `shipway_queue_<noun>_<unit>`, labels few.
//!
//! It is counted when it is decided, a moment before the commit: a transaction that then
//! fails was counted too. For figures that is near enough.

use metrics::{counter, histogram};
use shipway_model::Micros;

use crate::values::micros;
use crate::{Lease, LeaseTerms};

/// Microseconds in a second.
const SECOND: f64 = 1_000_000.0;

/// A task was claimed that had been due since then.
pub(crate) fn claimed(lease: &Lease, due: Micros, terms: LeaseTerms) {
    let claimed_at = lease.until - micros(terms.heartbeat).min(micros(terms.deadline));
    let tries = if lease.task.attempt > 1 { "again" } else { "first" };
    histogram!("shipway_queue_wait_seconds", "kind" => lease.task.payload.kind(), "try" => tries)
        .record(seconds(claimed_at - due));
}

/// A task ended.
pub(crate) fn ended(kind: &str, state: &'static str, attempts: i64) {
    let attempts = f64::from(i32::try_from(attempts).unwrap_or(i32::MAX));
    histogram!("shipway_queue_attempts", "kind" => kind.to_owned(), "state" => state).record(attempts);
}

/// A task was given up.
pub(crate) fn given_up(kind: &str) {
    counter!("shipway_queue_given_up_total", "kind" => kind.to_owned()).increment(1);
}

/// A task was taken from a worker that was lost, or `late`, so long after its lease ended.
/// From there to its next claim is its wait.
pub(crate) fn rescued(late: bool, overdue: Micros) {
    let cause = if late { "deadline" } else { "worker_lost" };
    counter!("shipway_queue_rescued_total", "cause" => cause).increment(1);
    if overdue >= 0 {
        histogram!("shipway_queue_rescue_seconds", "cause" => cause).record(seconds(overdue));
    }
}

#[expect(clippy::cast_precision_loss, reason = "to the microsecond for 285 years")]
fn seconds(micros: Micros) -> f64 {
    micros.max(0) as f64 / SECOND
}

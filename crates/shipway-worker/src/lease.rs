//! Keeping a lease while working under it.

use std::future::Future;

use shipway_store::{Lease, LeaseTerms, Store, StoreError};
use tokio::time::{Instant, sleep, timeout};

/// Runs `work` while renewing the lease; `None` when the lease was lost first,
/// and then `work` has been dropped where it stood.
pub(crate) async fn hold<T>(
    store: &Store,
    lease: &Lease,
    terms: LeaseTerms,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        // A task that has just ended itself has no lease any more, and is done.
        biased;
        out = work => Some(out),
        () = lost(store, lease, terms) => None,
    }
}

/// Returns when the lease is not ours any more, or may not be: the store said so,
/// or could not be asked for as long as a lease lasts.
async fn lost(store: &Store, lease: &Lease, terms: LeaseTerms) {
    let pause = terms.heartbeat / 3;
    let mut sure_at = Instant::now();
    while sure_at.elapsed() < terms.heartbeat {
        sleep(pause).await;
        let asked_at = Instant::now();
        match timeout(pause, store.heartbeat(lease, terms)).await {
            Ok(Ok(())) => sure_at = asked_at,
            Ok(Err(StoreError::Stale)) => return,
            Ok(Err(error)) => tracing::warn!(task.id = %lease.task.id, %error, "no heartbeat"),
            Err(_) => tracing::warn!(task.id = %lease.task.id, "no heartbeat: the store is slow"),
        }
    }
}

//! Many who wait for one build, at the price of one.
//!
//! Each wait looks at the store whenever something has ended; a thousand clients that wait
//! for one binary share one such wait. It is gone when the last of them is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use shipway_model::{Build, BuildId};
use shipway_store::{Store, StoreError};

use crate::reply::Reject;

/// Longest one look at the store lasts.
const LOOK: Duration = Duration::from_secs(60);
/// Between two tries when the store is away: who waits for minutes outlasts its restart.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

type Waiting = BoxFuture<'static, Result<Build, Reject>>;

/// The waits there are.
#[derive(Default)]
pub(crate) struct Waits(Mutex<HashMap<BuildId, WeakShared<Waiting>>>);

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waits")
    }
}

impl Waits {
    /// Waits until a build has ended, for at most `limit`; `None` when it has not.
    pub(crate) async fn ended(&self, store: &Store, id: BuildId, limit: Duration) -> Result<Option<Build>, Reject> {
        tokio::time::timeout(limit, self.join(store, id)).await.ok().transpose()
    }

    fn join(&self, store: &Store, id: BuildId) -> Shared<Waiting> {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waits.get(&id).and_then(WeakShared::upgrade);
        // One that is over says how the build was then, which may not hold any more.
        if let Some(waiting) = waiting.filter(|waiting| waiting.peek().is_none()) {
            return waiting;
        }
        waits.retain(|_, waiting| waiting.upgrade().is_some());
        let waiting = wait(store.clone(), id).boxed().shared();
        if let Some(weak) = waiting.downgrade() {
            waits.insert(id, weak);
        }
        waiting
    }
}

async fn wait(store: Store, id: BuildId) -> Result<Build, Reject> {
    loop {
        match store.wait_build(id, LOOK).await {
            Ok(build) if build.state.is_final() => return Ok(build),
            Ok(_) => {}
            Err(StoreError::Unavailable { .. }) => tokio::time::sleep(AGAIN_AFTER).await,
            Err(error) => return Err(error.into()),
        }
    }
}

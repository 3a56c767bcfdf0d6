//! The tasks a worker has in its hands.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::work::Work;

/// Tasks at work. Dropping it abandons them: their leases run out.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    running: JoinSet<()>,
    give_back: CancellationToken,
}

impl Jobs {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn start(&mut self, work: Work) {
        let give_back = self.give_back.clone();
        self.running.spawn(async move { work.run(give_back).await });
    }

    /// Waits until one has ended; for ever when there is none.
    pub(crate) async fn one_ended(&mut self) {
        match self.running.join_next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "a task of the worker ended badly"),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended, or until `limit`, or until `hurry`; what has not ended
    /// then is given back.
    pub(crate) async fn finish(&mut self, limit: Duration, hurry: impl Future<Output = ()>) {
        let ended = timeout(limit, self.all_ended());
        tokio::select! {
            _ = ended => {}
            () = hurry => {}
        }
        self.give_back().await;
    }

    /// Gives all back now, to be claimed again by whoever comes first.
    pub(crate) async fn give_back(&mut self) {
        self.give_back.cancel();
        self.all_ended().await;
        self.give_back = CancellationToken::new();
    }

    async fn all_ended(&mut self) {
        while !self.running.is_empty() {
            self.one_ended().await;
        }
    }
}

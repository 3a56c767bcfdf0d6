//! One question, asked again and again.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use shipway_stdx::backoff::Backoff;
use tokio::time::{Instant, sleep_until};

use crate::metadata::MetadataError;
use crate::{Preempted, Preemption};

/// Asked seldom while nobody answers: a machine outside that cloud must not fill its log
/// and network with it.
const LONGEST: Duration = Duration::from_secs(60);

/// A cloud that can be asked.
#[async_trait]
pub(crate) trait Cloud: Debug + Send + Sync {
    /// What is in store for this machine.
    async fn ask(&mut self) -> Result<Option<Preempted>, MetadataError>;

    /// See [`Preemption::ready`].
    async fn tell_ready(&mut self, _preempted: &Preempted) -> Result<(), MetadataError> {
        Ok(())
    }
}

/// A cloud that is asked every so often.
#[derive(Debug)]
pub(crate) struct Watch<C> {
    cloud: C,
    every: Duration,
    next: Instant,
    failures: u32,
}

impl<C> Watch<C> {
    pub(crate) fn new(cloud: C, every: Duration) -> Self {
        Self { cloud, every, next: Instant::now(), failures: 0 }
    }

    fn after_failure(&mut self, error: &MetadataError) -> Duration {
        if self.failures == 0 {
            tracing::warn!(%error, "the metadata service cannot be asked whether this machine will be taken away");
        }
        self.failures = self.failures.saturating_add(1);
        Backoff { first: self.every, longest: LONGEST.max(self.every) }.wait_after(self.failures)
    }

    fn after_answer(&mut self) -> Duration {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the metadata service answers again");
        }
        self.every
    }
}

#[async_trait]
impl<C: Cloud> Preemption for Watch<C> {
    async fn foreseen(&mut self) -> Preempted {
        loop {
            sleep_until(self.next).await;
            let asked = self.cloud.ask().await;
            let pause = match &asked {
                Ok(_) => self.after_answer(),
                Err(error) => self.after_failure(error),
            };
            self.next = Instant::now() + pause;
            if let Ok(Some(preempted)) = asked {
                return preempted;
            }
        }
    }

    async fn ready(&mut self, preempted: &Preempted) {
        if let Err(error) = self.cloud.tell_ready(preempted).await {
            tracing::warn!(%error, "the cloud could not be told that this machine is free to go");
        }
    }
}

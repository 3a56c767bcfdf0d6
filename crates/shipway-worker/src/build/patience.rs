//! The end of a build, when what it needs is away: the binary is there, and waits.
//!
//! To give the build back would be to make it all over again. So it is offered again and
//! again, until it is taken, or until the lease or its deadline ends the whole build; then
//! another worker, or a later try, begins from the beginning.

use std::path::Path;
use std::time::Duration;

use shipway_artifacts::{ArtifactError, Stored};
use shipway_model::{EventKind, Made};
use shipway_store::StoreError;
use tokio::time::sleep;

use super::{BuildJob, Farming};
use crate::trouble::Trouble;

/// Before the first try again; each pause is twice the one before, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The step's name, in what the build says.
const STEP: &str = "keep";

impl BuildJob {
    /// Keeps the binary where artifacts are, however long that place is away. What is wrong
    /// with a setting is not waited for.
    pub(super) async fn keep(&self, farming: &Farming, file: &Path) -> Result<Stored, Trouble> {
        #[cfg(feature = "mutants")]
        if crate::mutants::is_left_out() {
            return crate::mutants::keep_later(farming, file).await;
        }
        let mut pause = PAUSE_FIRST;
        loop {
            match farming.artifacts.put(file).await {
                Ok(stored) => return Ok(stored),
                Err(error @ ArtifactError::Unavailable { .. }) => {
                    self.say(&format!("{error}; trying again")).await;
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Publishes it, however long the store is away.
    pub(super) async fn publish(&self, made: &Made) -> Result<(), Trouble> {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.core.store.publish_build(&self.lease, made).await {
                Ok(()) => return Ok(()),
                Err(error @ StoreError::Unavailable { .. }) => {
                    tracing::warn!(build.id = %self.build, %error, "made, and cannot be published yet");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn say(&self, line: &str) {
        tracing::warn!(build.id = %self.build, line, "made, and cannot be kept yet");
        let output = EventKind::BuildOutput { step: STEP.to_owned(), lines: vec![format!("[farm] {line}")] };
        // That the store cannot hear it either changes nothing.
        drop(self.core.store.append_event(&self.lease, &output).await);
    }
}

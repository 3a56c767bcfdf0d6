//! What lies on one host's disk and nothing needs any more.
//!
//! It belongs to the processes that put something into the state directory; where there are
//! several, to come second is to find nothing. The places it looks after are [`Place`]s:
//! content, trees of images, host images. All go the same way:
//!
//! ```text
//! 1. list      what is there, and when each was last touched
//! 2. ask       the store for every digest that it has a use for
//! 3. plan      unneeded, untouched for an hour, and too old, too many or too much
//! 4. remove    each, unless it was touched since the list was made
//! ```
//!
//! # The race with those who make use of a file
//!
//! Somebody uploads a file, or finds that it is there, and then writes a row that needs it.
//! In between, no row speaks for it. So whoever is about to need a file touches it, and
//! hears at that moment whether it is there; step 4 and the touch exclude each other (the
//! place sees to it). Then either
//!
//! * the touch came before step 4: step 4 sees a file that is younger than its list, and
//!   leaves it; the row comes within the hour (an upload waits for its deploy so long, a
//!   deploy has less time than that); or
//! * it came after: the file is gone and the toucher hears so: "upload it again", before
//!   anything was written.
//!
//! A row that was written before step 2 is seen by it. A whole file goes by one unlink or
//! rename, so nobody finds half of one.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shipway_model::Micros;
use shipway_stdx::clock::Clock;
use shipway_stdx::shutdown::Shutdown;
use shipway_store::{Store, StoreError};

use crate::janitor::pause;
use crate::keep::Unused;
use crate::measure;
use crate::plan::{YOUNG, unused};

/// Configures housekeeping for life.
#[derive(Debug, Clone)]
pub struct HousekeepingConfig {
    /// Between two rounds.
    pub every: Duration,
    /// How much of what nothing needs is kept, in each place.
    pub unused: Unused,
}

impl Default for HousekeepingConfig {
    fn default() -> Self {
        Self { every: Duration::from_secs(600), unused: Unused::default() }
    }
}

/// What housekeeping is made of.
#[derive(Debug)]
pub struct HousekeepingParts {
    /// What knows what is needed.
    pub store: Store,
    /// This host's clock, by which files are old.
    pub clock: Arc<dyn Clock>,
    /// What is looked after.
    pub places: Vec<Arc<dyn Place>>,
}

/// Something that lies in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its digest, as the store writes it.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it came, or somebody last was about to need it, by this host's clock.
    pub touched_at: Micros,
}

/// Why a place could not be looked after.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlaceError(pub String);

/// A folder of things named by their digests.
#[async_trait]
pub trait Place: Debug + Send + Sync {
    /// One word, for logs and metrics.
    fn word(&self) -> &'static str;

    /// What is there now.
    ///
    /// # Errors
    ///
    /// [`PlaceError`]: it cannot be read now.
    async fn list(&self) -> Result<Vec<Kept>, PlaceError>;

    /// What this host itself has a use for, beside what the store knows of. Asked after
    /// [`list`](Self::list).
    ///
    /// # Errors
    ///
    /// [`PlaceError`]: it cannot be told now.
    async fn needed_here(&self) -> Result<BTreeSet<String>, PlaceError> {
        Ok(BTreeSet::new())
    }

    /// Removes a thing, whole, unless it was touched after `untouched_since`. Returns
    /// whether it was removed.
    ///
    /// # Errors
    ///
    /// [`PlaceError`]: it stays.
    async fn remove(&self, name: &str, untouched_since: Micros) -> Result<bool, PlaceError>;
}

/// What was removed from a place in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleared {
    /// Things.
    pub things: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// Why a round came to no good end in one place.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks after the disk of this host.
#[derive(Debug)]
pub struct Housekeeping {
    config: HousekeepingConfig,
    parts: HousekeepingParts,
}

impl Housekeeping {
    /// Makes it; nothing happens before [`run`](Self::run) or [`tick`](Self::tick).
    #[must_use]
    pub const fn new(config: HousekeepingConfig, parts: HousekeepingParts) -> Self {
        Self { config, parts }
    }

    /// Works until told to stop; a removal under way is finished by whoever removes.
    pub async fn run(self, mut shutdown: Shutdown) {
        while pause(&mut shutdown, self.config.every).await {
            tokio::select! {
                _ = self.tick() => {}
                () = shutdown.requested() => return,
            }
        }
    }

    /// One round through all places. What fails is logged, and stays for the next.
    pub async fn tick(&self) -> Cleared {
        let mut sum = Cleared::default();
        for place in &self.parts.places {
            match self.clear(place.as_ref()).await {
                Ok(cleared) => {
                    measure::cleared(place.word(), cleared.things, cleared.bytes);
                    sum.things += cleared.things;
                    sum.bytes += cleared.bytes;
                }
                Err(error) => {
                    measure::failed(place.word());
                    tracing::warn!(place = place.word(), %error, "what nothing needs stays for now");
                }
            }
        }
        sum
    }

    async fn clear(&self, place: &dyn Place) -> Result<Cleared, Trouble> {
        let now = self.parts.clock.now();
        let there = place.list().await?;
        let Some(digests) = self.parts.store.needed_digests().await? else {
            return Ok(Cleared::default());
        };
        let mut needed = place.needed_here().await?;
        needed.extend(digests.iter().map(ToString::to_string));
        let mut cleared = Cleared::default();
        for one in unused(&there, &needed, &self.config.unused, now) {
            match place.remove(&one.name, now.saturating_sub(YOUNG)).await {
                Ok(true) => {
                    cleared.things += 1;
                    cleared.bytes += one.size_bytes;
                }
                Ok(false) => {}
                // One that cannot be removed must not keep the others.
                Err(error) => {
                    measure::failed(place.word());
                    tracing::warn!(place = place.word(), name = one.name, %error, "it stays");
                }
            }
        }
        Ok(cleared)
    }
}

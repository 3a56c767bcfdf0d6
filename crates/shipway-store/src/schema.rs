//! Which versions of this program work with a database, and which must not touch it.
//!
//! A database says two numbers: its schema, and the oldest schema whose versions still work
//! with it (`least`). A migration that only adds leaves `least` where it was: versions from
//! before go on beside newer ones, and an operator may go back to one. One that takes away
//! raises it, and comes a release after the last version that used what goes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::door::Tx;
#[cfg(feature = "next-version")]
pub(crate) use crate::next_version::{POSTGRES as TO_COME_POSTGRES, SQLITE as TO_COME_SQLITE, known, said};
use crate::{OpenError, Store, StoreError};

/// The schema that this version brings a database to, whichever it is.
pub const SCHEMA: i64 = 5;

/// The oldest schema whose versions work with a database that this one has migrated.
pub const SCHEMA_LEAST: i64 = 4;

/// The first schema that says its `least`. Whoever knows an older one works with no newer.
const FIRST_WITH_LEAST: i64 = 4;

/// A process that writes looks this often whether a newer version has been here.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The newest schema that this process knows; only the torture suite has another.
#[cfg(not(feature = "next-version"))]
pub(crate) const fn known() -> i64 {
    SCHEMA
}

#[cfg(not(feature = "next-version"))]
const fn said(least: i64) -> i64 {
    least
}

/// A step from one schema to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) version: i64,
    /// The oldest schema whose versions work with what it leaves.
    pub(crate) least: i64,
    pub(crate) sql: &'static str,
}

impl Migration {
    /// What notes that it was made: `$1` its version, and `$2` its least if that has a place.
    pub(crate) const fn note(&self) -> &'static str {
        if self.version < FIRST_WITH_LEAST {
            return "INSERT INTO schema_version (version, applied_at) VALUES ($1, {now})";
        }
        "INSERT INTO schema_version (version, applied_at, least) VALUES ($1, {now}, $2)"
    }

    pub(crate) fn least(&self) -> Option<i64> {
        if self.version < FIRST_WITH_LEAST { None } else { Some(said(self.least)) }
    }
}

/// The migrations of versions to come, on either database; only the torture suite has any.
#[cfg(not(feature = "next-version"))]
pub(crate) const TO_COME_SQLITE: [Migration; 0] = [];
#[cfg(not(feature = "next-version"))]
pub(crate) const TO_COME_POSTGRES: [Migration; 0] = [];

/// What a database lacks, in order.
pub(crate) fn missing<'m>(
    there: &'m [Migration],
    to_come: &'m [Migration],
    found: i64,
) -> impl Iterator<Item = &'m Migration> {
    let known = known();
    there.iter().chain(to_come).filter(move |migration| migration.version > found && migration.version <= known)
}

/// The newest schema there is; 0 before the first.
pub(crate) const FOUND: &str = "SELECT coalesce(max(version), 0) FROM schema_version";

/// Its least: none of its migrations may have taken away what is used. Only for a schema
/// newer than [`FIRST_WITH_LEAST`].
pub(crate) const LEAST: &str = "SELECT max(coalesce(least, version)) FROM schema_version";

/// Both, of a database that is open.
const BOTH: &str = "SELECT coalesce(max(version), 0), coalesce(max(coalesce(least, version)), 0) FROM schema_version";

/// What an open store knows of its schema.
#[derive(Debug)]
pub(crate) struct Schema {
    /// What this version knows.
    pub(crate) known: i64,
    found: AtomicI64,
    /// When it looked last; none: it should look now.
    looked: Mutex<Option<Instant>>,
    /// Its least, once that is more than we know.
    outgrown: watch::Sender<Option<i64>>,
}

impl Schema {
    pub(crate) fn new(found: i64) -> Self {
        let looked = Mutex::new(Some(Instant::now()));
        Self { known: known(), found: AtomicI64::new(found), looked, outgrown: watch::Sender::new(None) }
    }

    pub(crate) fn found(&self) -> i64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Whether it is time to look again.
    pub(crate) fn is_due(&self) -> bool {
        self.looked.lock().is_ok_and(|looked| looked.is_none_or(|at| at.elapsed() > LOOK_EVERY))
    }

    /// Something was not as expected: the next write looks first.
    pub(crate) fn doubt(&self) {
        if let Ok(mut looked) = self.looked.lock() {
            *looked = None;
        }
    }

    fn note(&self, found: i64, least: i64) -> Result<(), OpenError> {
        let before = self.found.swap(found, Ordering::Relaxed);
        if self.known < least {
            self.outgrown.send_replace(Some(least));
            return Err(OpenError::Newer { found, least, known: self.known });
        }
        if before < found {
            may_use(found, least, self.known)?;
        }
        if let Ok(mut looked) = self.looked.lock() {
            *looked = Some(Instant::now());
        }
        Ok(())
    }
}

/// Whether this version may use a database, and says so when it is a newer one's. `least`
/// is of no matter where it is not.
///
/// # Errors
///
/// [`OpenError::Newer`].
pub(crate) fn may_use(found: i64, least: i64, known: i64) -> Result<(), OpenError> {
    if known >= found {
        return Ok(());
    }
    if known < least {
        return Err(OpenError::Newer { found, least, known });
    }
    tracing::info!(found, known, "a newer version has migrated the database; this one works with it as well");
    Ok(())
}

impl Tx {
    /// Looks whether a newer version has been here. Returns the schema found.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when this version must not touch the database any more.
    pub(crate) async fn look_at_schema(&mut self) -> Result<i64, StoreError> {
        let (found, least) = self.db().numbers(BOTH).await?;
        match self.schema().note(found, least) {
            Ok(()) => Ok(found),
            Err(newer) => Err(StoreError::Unavailable { reason: newer.to_string(), source: None }),
        }
    }
}

impl Store {
    /// The schema of the database as it was seen last: larger than [`SCHEMA`] when a newer
    /// version has migrated it.
    #[must_use]
    pub fn schema_found(&self) -> i64 {
        self.0.schema.found()
    }

    /// Waits until a newer version has taken away what this one needs. Every write is
    /// refused from then on (which is noticed by writing, within a second or so); the
    /// process should end, and say why.
    pub async fn outgrown(&self) -> OpenError {
        let mut outgrown = self.0.schema.outgrown.subscribe();
        let least = outgrown.wait_for(Option::is_some).await.map(|least| *least);
        let least = least.ok().flatten().expect("its sender lives as long as this store");
        OpenError::Newer { found: self.schema_found(), least, known: self.0.schema.known }
    }
}

//! Which versions of this program work with a database, and which must not touch it.
//!
//! A database says two numbers: its schema, and the oldest schema whose versions still work
//! with it (`least`). A migration that only adds leaves `least` where it was: versions from
//! before go on beside newer ones, and an operator may go back to one. One that takes away
//! raises it, and comes a release after the last version that used what goes.

use crate::OpenError;

/// The schema that this version brings a database to, whichever it is.
pub const SCHEMA: i64 = 5;

/// The oldest schema whose versions work with a database that this one has migrated.
pub const SCHEMA_LEAST: i64 = 4;

/// The first schema that says its `least`. Whoever knows an older one works with no newer.
const FIRST_WITH_LEAST: i64 = 4;

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

    pub(crate) const fn least(&self) -> Option<i64> {
        if self.version < FIRST_WITH_LEAST { None } else { Some(self.least) }
    }
}

/// The newest schema there is; 0 before the first.
pub(crate) const FOUND: &str = "SELECT coalesce(max(version), 0) FROM schema_version";

/// Its least: none of its migrations may have taken away what is used. Only for a schema
/// newer than [`FIRST_WITH_LEAST`].
pub(crate) const LEAST: &str = "SELECT max(coalesce(least, version)) FROM schema_version";

/// Whether a version that knows `known` works with a newer schema.
///
/// # Errors
///
/// [`OpenError::Newer`].
pub(crate) fn may_use(found: i64, least: i64, known: i64) -> Result<(), OpenError> {
    if known < least {
        return Err(OpenError::Newer { found, least, known });
    }
    tracing::info!(found, known, "a newer version has migrated the database; this one works with it as well");
    Ok(())
}

//! Why the store could not do something, by what the caller does about it.

use shipway_model::{NameError, ServiceState};

use crate::{postgres, sqlite};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The lease is no longer held: stop, and kill what was started under it.
    #[error("the lease on this task is no longer held")]
    Stale,
    /// There is no such service, release, image or task.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// `If-Match` names another version.
    #[error("the service has changed: its version is {now}")]
    VersionMismatch {
        /// Its version now.
        now: u64,
    },
    /// The service is being deleted.
    #[error("the service is being deleted")]
    Deleting,
    /// A release that can still run is on the image.
    #[error("a release of `{service}` is on the image")]
    ImageInUse {
        /// The service's name.
        service: String,
    },
    /// The state machine has no such arrow.
    #[error("a service cannot go from {from:?} to {to:?}")]
    Illegal {
        /// What it is.
        from: Box<ServiceState>,
        /// What was asked for.
        to: Box<ServiceState>,
    },
    /// The database cannot be used now: locked, full, read-only, damaged. It may
    /// recover, and the store with it.
    #[error("the database cannot be used now: {reason}")]
    Unavailable {
        /// In words, safe to show.
        reason: String,
        /// What the library said.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// A row holds what this version does not understand.
    #[error("the database holds a row this version cannot read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the database did its work and this is what it says, so that its
    /// connection is as good as before.
    pub(crate) const fn is_an_answer(&self) -> bool {
        match self {
            Self::Stale
            | Self::NotFound(_)
            | Self::VersionMismatch { .. }
            | Self::Deleting
            | Self::ImageInUse { .. }
            | Self::Illegal { .. } => true,
            Self::Unavailable { source, .. } => source.is_none(),
            Self::Corrupt(_) => false,
        }
    }

    /// Whether the file or the server failed, so that no connection to it is above doubt.
    pub(crate) fn is_about_the_connection(&self) -> bool {
        matches!(self, Self::Unavailable { source: Some(cause), .. }
            if sqlite::is_about_the_file(cause) || postgres::is_about_the_connection(cause))
    }
}

impl From<NameError> for StoreError {
    fn from(error: NameError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The bundled SQLite is one that can corrupt a WAL.
    #[error("SQLite {found} is too old: at least {least} is needed")]
    LibraryTooOld {
        /// What is linked in.
        found: String,
        /// What is needed.
        least: &'static str,
    },
    /// A newer Shipway has been here, and has taken away what this one needs.
    #[error(
        "the database has schema {found}, for versions that know schema {least} or a newer one; this one knows up to \
         {known}: run the newer version again, or restore a backup from before its migration"
    )]
    Newer {
        /// What it has.
        found: i64,
        /// The oldest schema whose versions work with it.
        least: i64,
        /// What we know.
        known: i64,
    },
    /// Another process has to migrate it first, and this one may not.
    #[error("the database has schema {found}, this version needs {needed}: wait for the process that migrates it")]
    Older {
        /// What it has.
        found: i64,
        /// What we need.
        needed: i64,
    },
    /// The server is one that lacks what we use.
    #[error("PostgreSQL {found} is too old: at least {least} is needed")]
    ServerTooOld {
        /// What it says it is.
        found: String,
        /// What is needed.
        least: u32,
    },
    /// It could not be opened or migrated.
    #[error("cannot open the database {path}")]
    Open {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let reason = match &error {
            sqlx::Error::Database(_) => match postgres::classify(&error) {
                None => return sqlite::classify(error),
                Some(Err(broken)) => return Self::Corrupt(broken),
                Some(Ok(reason)) => reason,
            },
            sqlx::Error::PoolTimedOut => "it cannot be reached, or too many are waiting for it",
            sqlx::Error::PoolClosed => "it is closed",
            sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut => "it does not answer",
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => "it cannot be reached",
            sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => "its connection was lost",
            _ => return Self::Corrupt(error.to_string()),
        };
        Self::Unavailable { reason: reason.to_owned(), source: Some(error) }
    }
}

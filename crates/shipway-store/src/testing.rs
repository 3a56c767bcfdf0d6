//! For tests, behind the feature `testing`: a throwaway store, and a way to make
//! its disk look full. Never in a release build.

use crate::db::Pools;
use crate::{OpenError, Store, StoreError, sqlite};

impl Store {
    /// Opens a new store in a folder that is deleted when the second value is
    /// dropped.
    ///
    /// # Errors
    ///
    /// Like [`open`](Self::open).
    pub async fn open_temporary() -> Result<(Self, tempfile::TempDir), OpenError> {
        let folder = tempfile::tempdir().map_err(|error| OpenError::Open {
            path: std::env::temp_dir().display().to_string(),
            source: sqlx::Error::Io(error),
        })?;
        let store = Self::open(&folder.path().join("shipway.sqlite")).await?;
        Ok((store, folder))
    }

    /// Lets the database grow to `pages` of 4 KiB at most, as on a disk that is
    /// full; `None` lifts it again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn limit_pages(&self, pages: Option<u32>) -> Result<(), StoreError> {
        let options = self.writer().connect_options();
        let path = options.get_filename().to_owned();
        let mut options = sqlite::writer(&path);
        if let Some(pages) = pages {
            options = options.pragma("max_page_count", pages.to_string());
        }
        self.writer().set_connect_options(options);
        // The next writer gets a new connection, with the new limit.
        let connection = self.writer().acquire().await?;
        connection.close().await?;
        Ok(())
    }

    fn writer(&self) -> &sqlx::SqlitePool {
        match &self.0.pools {
            Pools::Sqlite { writer, .. } => writer,
            Pools::Postgres { .. } => panic!("only SQLite has pages and pragmas"),
        }
    }

    /// Reads a setting (`PRAGMA`) of the writing connection.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`] when it is no number.
    pub async fn setting(&self, name: &'static str) -> Result<i64, StoreError> {
        let mut connection = self.writer().acquire().await?;
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
        Ok(sqlx::query_scalar(sql).fetch_one(&mut *connection).await?)
    }
}

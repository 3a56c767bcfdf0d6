//! For tests and benches, behind the feature `testing`: a throwaway store, a way to make
//! its disk look full, and a look at the statements it sends. Never in a release build.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::json;

use crate::db::Pools;
use crate::query::Value;
use crate::{OpenError, Store, StoreError, postgres, sqlite};

/// A statement as it went to the database.
#[derive(Debug, Clone, Serialize)]
pub struct Statement {
    /// Its text, with `$1`, `$2` … where the values go.
    pub sql: String,
    /// Its values: numbers, texts, truths, nulls.
    pub values: Vec<serde_json::Value>,
}

static RECORDING: AtomicBool = AtomicBool::new(false);
static RECORDED: Mutex<Vec<Statement>> = Mutex::new(Vec::new());

/// Called for each statement.
pub(crate) fn note_statement(sql: &str, values: &[Value]) {
    if !RECORDING.load(Ordering::Relaxed) {
        return;
    }
    let values = values.iter().map(|value| match value {
        Value::Number(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Truth(truth) => json!(truth),
        Value::Bytes(bytes) => json!(bytes),
    });
    if let Ok(mut recorded) = RECORDED.lock() {
        recorded.push(Statement { sql: sql.to_owned(), values: values.collect() });
    }
}

/// Runs `work` and returns what it came to, and every statement that any store of this
/// process sent meanwhile.
pub async fn statements_of<T>(work: impl Future<Output = T>) -> (T, Vec<Statement>) {
    RECORDING.store(true, Ordering::Relaxed);
    let result = work.await;
    RECORDING.store(false, Ordering::Relaxed);
    let recorded = RECORDED.lock().map(|mut recorded| std::mem::take(&mut *recorded));
    (result, recorded.unwrap_or_default())
}

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
        // There is one; the next writer gets a new one, with the new limit.
        self.0.pools.writer().await?.close_on_drop();
        Ok(())
    }

    /// How the server is told to behave when a session begins that writes.
    #[must_use]
    pub fn session_settings(&self) -> &'static [(&'static str, &'static str)] {
        match &self.0.pools {
            Pools::Sqlite { .. } => &[],
            Pools::Postgres { .. } => postgres::OF_WRITERS,
        }
    }

    /// The pool, with all its connections.
    fn writer(&self) -> &sqlx::SqlitePool {
        match &self.0.pools {
            Pools::Sqlite { writer, .. } => {
                writer.clear();
                writer.pool()
            }
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

//! The two doors to the database: one for reading, one for writing.
//!
//! A write is one transaction on the only writing connection: [`Store::write`]
//! begins it, runs the caller's work, and commits when the work succeeded. What
//! the work changed is told to sleeping loops after the commit, never before.
//!
//! A connection whose state is not known for certain is closed, and the next
//! caller gets a new one. That is how the store recovers by itself: SQLite rolls
//! some transactions back on its own (a full disk, a failed read), and a closed
//! connection has neither a transaction nor a doubt. When the file itself failed, all
//! connections are replaced: the disk may have been repaired and mounted anew,
//! and the old ones would go on reading what is no longer there.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shipway_model::{Micros, TokenId};
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::watch;
use tracing::Instrument;

use crate::{Notice, Store, StoreError, sqlite};

/// A commit this young proves that the database takes writes.
const PROOF_AGE_MAX: Duration = Duration::from_secs(1);

/// When the file failed last: connections from before are not used again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doubt(Arc<Mutex<Option<Instant>>>);

impl Doubt {
    /// Whether a connection of this age was opened after the last failure.
    pub(crate) fn trusts(&self, age: Duration) -> bool {
        let Ok(failed) = self.0.lock() else { return false };
        failed.is_none_or(|failed| failed.elapsed() > age)
    }

    fn raise(&self) {
        if let Ok(mut failed) = self.0.lock() {
            *failed = Some(Instant::now());
        }
    }
}

/// What all clones of a store share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    doubt: Doubt,
    notices: watch::Sender<Notice>,
    stale_writes: AtomicU64,
    last_commit: Mutex<Option<Instant>>,
    /// When each token's use was last noted, so that a token that is used a
    /// thousand times a second costs one write a minute.
    pub(crate) uses_noted: Mutex<HashMap<TokenId, Micros>>,
}

impl Inner {
    pub(crate) fn new(writer: SqlitePool, readers: SqlitePool, doubt: Doubt) -> Self {
        Self {
            writer,
            readers,
            doubt,
            notices: watch::Sender::new(Notice::default()),
            stale_writes: AtomicU64::new(0),
            last_commit: Mutex::new(None),
            uses_noted: Mutex::new(HashMap::new()),
        }
    }

    fn tell(&self, changed: Changed) {
        if changed == Changed::default() {
            return;
        }
        self.notices.send_modify(|notice| {
            notice.tasks += u64::from(changed.tasks);
            notice.ended += u64::from(changed.ended);
            notice.services += u64::from(changed.services);
            notice.events += u64::from(changed.events);
        });
    }

    fn note_result<T>(&self, result: &Result<T, StoreError>) {
        match result {
            Ok(_) => {}
            Err(StoreError::Stale) => drop(self.stale_writes.fetch_add(1, Ordering::Relaxed)),
            Err(error) => self.note_failure(error),
        }
    }

    fn note_failure(&self, error: &StoreError) {
        if error.is_about_the_file() {
            self.doubt.raise();
        }
    }

    fn note_commit(&self) {
        if let Ok(mut last) = self.last_commit.lock() {
            *last = Some(Instant::now());
        }
    }

    fn committed_lately(&self) -> bool {
        self.last_commit.lock().is_ok_and(|last| last.is_some_and(|at| at.elapsed() < PROOF_AGE_MAX))
    }
}

/// What a transaction changed, to be told after its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changed {
    pub(crate) tasks: bool,
    pub(crate) ended: bool,
    pub(crate) services: bool,
    pub(crate) events: bool,
}

/// A writing transaction under way. Dropping it undoes it.
#[derive(Debug)]
pub(crate) struct Tx {
    store: Store,
    connection: Option<PoolConnection<Sqlite>>,
    pub(crate) changed: Changed,
}

/// What is done inside a writing transaction.
pub(crate) type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>;

impl Tx {
    async fn begin(store: Store) -> Result<Self, StoreError> {
        let connection = Some(store.0.writer.acquire().await?);
        let mut tx = Self { store, connection, changed: Changed::default() };
        let begun = sqlx::query(sqlite::BEGIN_WRITE).execute(tx.db()).await;
        if begun.as_ref().is_err_and(sqlite::is_busy) {
            // It waited and got nothing; there is nothing to doubt.
            drop(tx.connection.take());
        }
        begun?;
        Ok(tx)
    }

    /// The connection, inside the transaction.
    pub(crate) fn db(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("a transaction has its connection until it ends")
    }

    async fn end<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match result {
            Ok(value) => {
                sqlx::query("COMMIT").execute(self.db()).await?;
                drop(self.connection.take());
                self.store.0.note_commit();
                self.store.0.tell(self.changed);
                Ok(value)
            }
            Err(error) => {
                if error.is_an_answer() && sqlx::query("ROLLBACK").execute(self.db()).await.is_ok() {
                    drop(self.connection.take());
                }
                Err(error)
            }
        }
    }

    async fn probe(&mut self) -> Result<(), StoreError> {
        sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'probe'").execute(self.db()).await?;
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.close_on_drop();
        }
    }
}

impl Store {
    /// Runs `work` in one writing transaction.
    ///
    /// It runs in a task of its own, and goes on to its end when the caller stops
    /// waiting. There is one writing connection: a caller that is polled no more
    /// but still there (the other branch of a `select!`) must not keep it.
    pub(crate) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
    {
        let store = self.clone();
        let writing = async move {
            let result = match Tx::begin(store.clone()).await {
                Ok(mut tx) => {
                    let result = work(&mut tx).await;
                    tx.end(result).await
                }
                Err(error) => Err(error),
            };
            store.0.note_result(&result);
            result
        };
        match tokio::spawn(writing.in_current_span()).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::Unavailable { reason: "the process is stopping".to_owned(), source: None }),
        }
    }

    /// Runs `work` on a reading connection. Each statement sees all that was
    /// committed before it began.
    pub(crate) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.0.readers.acquire().await?;
        let result = work(&mut connection).await;
        if let Err(error) = &result
            && !error.is_an_answer()
        {
            connection.close_on_drop();
            self.0.note_failure(error);
        }
        result
    }

    /// The database's clock.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn now(&self) -> Result<Micros, StoreError> {
        self.read(async |db| Ok(sqlx::query_scalar(concat!("SELECT ", sqlite::now!())).fetch_one(db).await?)).await
    }

    /// Whether the database takes writes now: a small write is committed, unless
    /// another one was within the last second. (One that is rolled back would
    /// never reach the disk, and not notice that it is full.)
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with the reason.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        if self.0.committed_lately() {
            return Ok(());
        }
        self.write(|tx| Box::pin(tx.probe())).await
    }

    /// Wakes loops. Level-triggered: compare the numbers, then re-read.
    #[must_use]
    pub fn notices(&self) -> watch::Receiver<Notice> {
        self.0.notices.subscribe()
    }

    /// How many writes under a lease that was no longer held have been refused
    /// since this process started, for metrics.
    #[must_use]
    pub fn stale_writes(&self) -> u64 {
        self.0.stale_writes.load(Ordering::Relaxed)
    }
}

//! The two doors to the database: one for reading, one for writing.
//!
//! A write is one transaction: [`Store::write`] begins it, runs the caller's work, and
//! commits when the work succeeded. What the work changed is told to sleeping loops after
//! the commit, never before. On SQLite a writer has the whole database to itself; on
//! PostgreSQL it has what it named with [`Tx::lock`].
//!
//! Every write survives `kill -9`. What else it survives is said where it is made, by its
//! [`Durability`]. Whatever is lost, it is the last of what was committed, never something
//! in between: both databases write one log, in the order of the commits.
//!
//! A connection whose state is not known for certain is closed, and the next
//! caller gets a new one. That is how the store recovers by itself: SQLite rolls
//! some transactions back on its own (a full disk, a failed read), and a closed
//! connection has neither a transaction nor a doubt. When the file or the server failed,
//! all connections are replaced: the disk may have been repaired and mounted anew, the
//! server started again, and the old ones would go on with what is no longer there.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use shipway_model::{Micros, TokenId};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::Instrument;
use uuid::Uuid;

use crate::db::{Db, Pools};
use crate::postgres::Link;
use crate::query::query;
use crate::schema::Schema;
use crate::{Notice, Store, StoreError, postgres, sqlite};

/// What a write survives beside `kill -9` of this process. The less, the fewer times a
/// disk is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A power cut, and with it all that was committed before. For what somebody was
    /// answered, or was told by a number that must not get a second meaning: a task, an
    /// end, a release, an event that is read by cursor.
    Power,
    /// All but a power cut of the host that it is about. For what is of no use without the
    /// processes and containers that end with that host: a claim, a candidate's row. SQLite
    /// is always on that host. PostgreSQL may crash while they live on, so there it is as
    /// safe as `Power`.
    Host,
    /// All but a crash of the database. For what is said again in a moment, or may be
    /// forgotten: a heartbeat.
    Process,
}

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

    pub(crate) fn raise(&self) {
        if let Ok(mut failed) = self.0.lock() {
            *failed = Some(Instant::now());
        }
    }
}

/// What all clones of a store share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) pools: Pools,
    doubt: Doubt,
    notices: watch::Sender<Notice>,
    /// Which of the processes on this database we are, in notices.
    pub(crate) origin: Uuid,
    /// What hears the others' notices, where there are others.
    pub(crate) listener: OnceLock<AbortHandle>,
    pub(crate) schema: Schema,
    stale_writes: AtomicU64,
    last_commit: Mutex<Option<Instant>>,
    /// Whether the last claim found tasks of several projects: a guess what the next will.
    projects_take_turns: AtomicBool,
    /// When each token's use was last noted, so that a token that is used a
    /// thousand times a second costs one write a minute.
    pub(crate) uses_noted: Mutex<HashMap<TokenId, Micros>>,
}

impl Inner {
    pub(crate) fn new(pools: Pools, doubt: Doubt, schema: Schema) -> Self {
        Self {
            pools,
            doubt,
            notices: watch::Sender::new(Notice::default()),
            origin: Uuid::new_v4(),
            listener: OnceLock::new(),
            schema,
            stale_writes: AtomicU64::new(0),
            last_commit: Mutex::new(None),
            projects_take_turns: AtomicBool::new(false),
            uses_noted: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn tell(&self, changed: Changed) {
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
        if error.is_about_the_connection() {
            self.doubt.raise();
        }
        if matches!(error, StoreError::Corrupt(_)) {
            // Perhaps what it names has been taken away.
            self.schema.doubt();
        }
    }

    /// Only what reached the disk proves anything of it.
    fn note_commit(&self, durability: Durability) {
        if durability != Durability::Power {
            return;
        }
        if let Ok(mut last) = self.last_commit.lock() {
            *last = Some(Instant::now());
        }
    }

    fn committed_lately(&self) -> bool {
        self.last_commit.lock().is_ok_and(|last| last.is_some_and(|at| at.elapsed() < PROOF_AGE_MAX))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
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

impl Changed {
    /// What may have changed while nobody listened.
    pub(crate) const ALL: Self = Self { tasks: true, ended: true, services: true, events: true };

    /// As other processes are told of it: a letter for each.
    fn letters(self) -> String {
        let all = [(self.tasks, 't'), (self.ended, 'x'), (self.services, 's'), (self.events, 'e')];
        all.iter().filter(|(changed, _)| *changed).map(|(_, letter)| letter).collect()
    }

    /// The same, read. Letters of a later version say nothing to us.
    pub(crate) fn of_letters(letters: &str) -> Self {
        let has = |letter| letters.contains(letter);
        Self { tasks: has('t'), ended: has('x'), services: has('s'), events: has('e') }
    }
}

/// A writing transaction under way. Dropping it undoes it.
#[derive(Debug)]
pub(crate) struct Tx {
    store: Store,
    connection: Option<Db>,
    durability: Durability,
    locked: HashSet<String>,
    pub(crate) changed: Changed,
    /// Undo everything, although the work comes to a good end.
    pub(crate) undo: bool,
}

/// What is done inside a writing transaction.
pub(crate) type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>;

impl Tx {
    async fn begin(store: Store, durability: Durability) -> Result<Self, StoreError> {
        match Self::begin_once(store.clone(), durability).await {
            // A server that was started again has forgotten all its connections; nothing
            // is lost yet, and the next connection is new.
            Err(error) if error.is_about_the_connection() && store.is_postgres() => {
                store.0.note_failure(&error);
                Self::begin_once(store, durability).await
            }
            begun => begun,
        }
    }

    async fn begin_once(store: Store, durability: Durability) -> Result<Self, StoreError> {
        let connection = Some(store.0.pools.writer().await?);
        let (locked, changed) = (HashSet::new(), Changed::default());
        let mut tx = Self { store, connection, durability, locked, changed, undo: false };
        let begin = tx.beginning();
        let begun = tx.db().run(begin).await;
        if begun.as_ref().is_err_and(sqlite::is_busy) {
            // It waited and got nothing; there is nothing to doubt.
            drop(tx.connection.take());
        }
        begun?;
        if tx.schema().is_due() {
            tx.look_at_schema().await?;
        }
        Ok(tx)
    }

    fn beginning(&self) -> Cow<'static, str> {
        match self.store.0.pools {
            Pools::Postgres { link, .. } => postgres::begin(link, self.durability),
            Pools::Sqlite { .. } => sqlite::begin(self.durability).into(),
        }
    }

    /// What this transaction will survive.
    pub(crate) const fn durability(&self) -> Durability {
        self.durability
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.store.0.schema
    }

    /// The connection, inside the transaction.
    pub(crate) fn db(&mut self) -> &mut Db {
        self.connection.as_mut().expect("a transaction has its connection until it ends")
    }

    /// What [`note_turns`](Self::note_turns) was told last.
    pub(crate) fn projects_take_turns(&self) -> bool {
        self.store.0.projects_take_turns.load(Ordering::Relaxed)
    }

    pub(crate) fn note_turns(&self, several: bool) {
        self.store.0.projects_take_turns.store(several, Ordering::Relaxed);
    }

    /// Names what is going to be changed: until the end nobody else changes what has the
    /// same name. Returns whether others may have changed it since this transaction began,
    /// so that what was read before must be read again. (On SQLite nobody can.)
    ///
    /// To be taken in this order, or two that wait for each other fail: a service's name,
    /// a service or an image's name, an image's digest.
    pub(crate) async fn lock(&mut self, name: String) -> Result<bool, StoreError> {
        if !self.store.is_postgres() || self.locked.contains(&name) {
            return Ok(false);
        }
        postgres::lock(self.db(), &name).await?;
        self.locked.insert(name);
        Ok(true)
    }

    async fn end<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match result {
            Ok(value) if self.undo => {
                self.roll_back().await?;
                self.give_back();
                Ok(value)
            }
            Ok(value) => {
                let commit = self.commit();
                self.db().run(commit).await?;
                self.give_back();
                self.store.0.note_commit(self.durability);
                self.store.0.tell(self.changed);
                Ok(value)
            }
            Err(error) => {
                if error.is_an_answer() && self.roll_back().await.is_ok() {
                    self.give_back();
                }
                Err(error)
            }
        }
    }

    /// The transaction has ended.
    fn give_back(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.is_good();
        }
    }

    async fn roll_back(&mut self) -> sqlx::Result<()> {
        self.db().forget_batch();
        self.db().run("ROLLBACK").await
    }

    /// The end, with one notice for other processes if there is anything to tell.
    fn commit(&self) -> Cow<'static, str> {
        if self.changed == Changed::default() || !self.store.is_postgres() {
            return "COMMIT".into();
        }
        postgres::notify_and_commit(self.store.0.origin, &self.changed.letters()).into()
    }

    /// Commits what was done so far and begins anew, which no rule of this store allows.
    #[cfg(feature = "mutants")]
    pub(crate) async fn split(&mut self) -> Result<(), StoreError> {
        let commit = self.commit();
        self.db().run(commit).await?;
        self.locked.clear();
        let begin = self.beginning();
        Ok(self.db().run(begin).await?)
    }

    async fn probe(&mut self) -> Result<(), StoreError> {
        query("UPDATE counter SET value = value + 1 WHERE name = 'probe'").execute(self.db()).await?;
        Ok(())
    }
}

/// A reading transaction under way. One that is dropped in the middle is closed.
struct Reading(Option<Db>);

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(mut connection) = self.0.take() {
            connection.close_on_drop();
        }
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
    /// Runs `work` in one writing transaction that survives a power cut.
    ///
    /// It runs in a task of its own, and goes on to its end when the caller stops
    /// waiting. There is one writing connection: a caller that is polled no more
    /// but still there (the other branch of a `select!`) must not keep it.
    pub(crate) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
    {
        self.write_within(postgres::ANSWER_WAIT, Durability::Power, work).await
    }

    /// The same for what need not survive one.
    pub(crate) async fn write_surviving<T, W>(&self, durability: Durability, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
    {
        self.write_within(postgres::ANSWER_WAIT, durability, work).await
    }

    /// The same for what takes long by nature.
    pub(crate) async fn write_long<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
    {
        self.write_within(postgres::LONG_WAIT, Durability::Power, work).await
    }

    async fn write_within<T, W>(&self, limit: Duration, durability: Durability, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Tx) -> Work<'t, T> + Send + 'static,
    {
        let store = self.clone();
        let writing = async move {
            let whole = async {
                let mut tx = Tx::begin(store.clone(), durability).await?;
                let result = work(&mut tx).await;
                tx.end(result).await
            };
            let result = store.answered(limit, whole).await;
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
        work: impl AsyncFnOnce(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let whole = async {
            let mut connection = self.0.pools.reader().await?;
            if let Db::Postgres(_, Link::Pooled) = connection {
                return self.read_pooled(connection, work).await;
            }
            let result = work(&mut connection).await;
            match &result {
                Err(error) if !error.is_an_answer() => connection.close_on_drop(),
                _ => connection.is_good(),
            }
            result
        };
        // On the heap: callers hold many of these inside each other.
        let result = self.answered(postgres::ANSWER_WAIT, Box::pin(whole)).await;
        if let Err(error) = &result {
            self.0.note_failure(error);
        }
        result
    }

    /// Two statements in a row may reach two servers' sessions, unless in a transaction.
    async fn read_pooled<T>(
        &self,
        connection: Db,
        work: impl AsyncFnOnce(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tx = Reading(Some(connection));
        let db = tx.0.as_mut().expect("put there just now");
        db.run(postgres::BEGIN_READ).await?;
        let result = work(db).await;
        let over = db.run("COMMIT").await;
        if over.is_ok()
            && result.as_ref().err().is_none_or(StoreError::is_an_answer)
            && let Some(mut connection) = tx.0.take()
        {
            connection.is_good();
        }
        result
    }

    /// Waits for what a server does, which may hang; a file answers in its own time.
    async fn answered<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.is_postgres() {
            return work.await;
        }
        timeout(limit, work).await.unwrap_or_else(|_| Err(postgres::no_answer()))
    }

    /// Whether other processes may be at work on the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_postgres()
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.0.pools, Pools::Postgres { .. })
    }

    /// The database's clock.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn now(&self) -> Result<Micros, StoreError> {
        self.read(async |db| Ok(query("SELECT {now}").scalar(db).await?)).await
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

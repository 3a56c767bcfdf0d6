//! Opening: the file, the connections, the migrations, the checks.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::db::Pools;
use crate::door::{Doubt, Inner};
use crate::query::worded;
use crate::schema::{self, Migration, Schema};
use crate::shelf::Shelf;
use crate::{OpenError, Store, sqlite};

/// Connections for reading. More would not read faster on a small machine, and
/// each has a thread and a cache of its own.
const READERS: u32 = 4;

/// How long a caller queues for a connection before it is told to come back.
/// With the two seconds a locked database may take, an answer is never further
/// away than seven.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// Between two attempts to open a database that another process is opening.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Every schema there has been, oldest first. A file is never changed once
/// released; the next one is added below it.
const MIGRATIONS: [Migration; 5] = [
    Migration { version: 1, least: 1, sql: include_str!("../../migrations/sqlite/0001_services_and_tasks.sql") },
    Migration { version: 2, least: 2, sql: include_str!("../../migrations/sqlite/0002_images.sql") },
    Migration { version: 3, least: 3, sql: include_str!("../../migrations/sqlite/0003_workers.sql") },
    Migration { version: 4, least: 4, sql: include_str!("../../migrations/sqlite/0004_several_machines.sql") },
    Migration { version: 5, least: 4, sql: include_str!("../../migrations/sqlite/0005_builds.sql") },
];

impl Store {
    /// Opens or makes the database at `path`, migrates it, and checks it.
    ///
    /// The file is readable by its owner alone. Its folder must exist.
    ///
    /// # Errors
    ///
    /// [`OpenError::LibraryTooOld`], [`OpenError::Newer`] (nothing is changed
    /// then; nor is a newer schema that this version works with), and [`OpenError::Open`] with the cause.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Open { path: path.display().to_string(), source };
        make_private_file(path).map_err(|error| failed(sqlx::Error::Io(error)))?;
        let options = sqlite::writer(path);
        let found = prepare(&options).await.map_err(failed)??;

        let doubt = Doubt::default();
        let writer = Shelf::new(pool(1, &doubt).connect_lazy_with(options), doubt.clone(), None);
        let readers = pool(READERS, &doubt).connect_lazy_with(sqlite::reader(path));
        let readers = Shelf::new(readers, doubt.clone(), None);
        let store = Self(Arc::new(Inner::new(Pools::Sqlite { writer, readers }, doubt, Schema::new(found))));
        tracing::debug!(path = %path.display(), "store opened");
        Ok(store)
    }

    /// Closes all connections; later calls fail. Waits for writes under way.
    pub async fn close(&self) {
        if let Some(listener) = self.0.listener.get() {
            listener.abort();
        }
        self.0.pools.close().await;
    }
}

fn pool(connections: u32, doubt: &Doubt) -> PoolOptions<sqlx::Sqlite> {
    let doubt = doubt.clone();
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECTION_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        // A connection that failed is closed where it failed.
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            let trusted = doubt.trusts(connection.age);
            Box::pin(async move { Ok(trusted) })
        })
}

/// SQLite gives the WAL and its index the mode of the database's own file. The file
/// is not opened here: closing it would drop every lock that another connection of
/// this process has on it (<https://www.sqlite.org/howtocorrupt.html>, 2.2).
fn make_private_file(path: &Path) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::mknodat(CWD, path, FileType::RegularFile, mode, 0) {
        Err(Errno::EXIST) => return fs::set_permissions(path, Permissions::from_mode(mode.as_raw_mode())),
        made => made?,
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The schema found, or why not.
type Checked<T = i64> = Result<Result<T, OpenError>, sqlx::Error>;

/// Checks and migrates. SQLite does not wait for others while it changes the mode of
/// the journal or recovers it, so who finds it locked then asks again.
async fn prepare(options: &SqliteConnectOptions) -> Checked {
    let began = tokio::time::Instant::now();
    loop {
        match prepare_once(options).await {
            Err(error) if sqlite::is_busy(&error) && began.elapsed() < sqlite::BUSY_WAIT => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            done => return done,
        }
    }
}

async fn prepare_once(options: &SqliteConnectOptions) -> Checked {
    let mut first = SqliteConnection::connect_with(options).await?;
    let done = match check_library(&mut first).await? {
        Ok(()) => migrate(&mut first).await?,
        Err(refused) => Err(refused),
    };
    first.close().await?;
    Ok(done)
}

async fn check_library(db: &mut SqliteConnection) -> Checked<()> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(db).await?;
    if sqlite::is_new_enough(&found) {
        return Ok(Ok(()));
    }
    let least = sqlite::LIBRARY_LEAST;
    Ok(Err(OpenError::LibraryTooOld { found, least }))
}

/// Brings the schema up to date in one transaction: a crash leaves the old one.
async fn migrate(db: &mut SqliteConnection) -> Checked {
    let known = schema::known();
    sqlx::query(sqlite::BEGIN_WRITE).execute(&mut *db).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_version (
             version INTEGER NOT NULL PRIMARY KEY,
             applied_at INTEGER NOT NULL
         ) STRICT",
    )
    .execute(&mut *db)
    .await?;
    let found: i64 = sqlx::query_scalar(schema::FOUND).fetch_one(&mut *db).await?;
    if found > known {
        let least: i64 = sqlx::query_scalar(schema::LEAST).fetch_one(&mut *db).await?;
        sqlx::query("ROLLBACK").execute(db).await?;
        return Ok(schema::may_use(found, least, known).map(|()| found));
    }
    for migration in schema::missing(&MIGRATIONS, &schema::TO_COME_SQLITE, found) {
        apply(db, migration).await?;
    }
    #[cfg(feature = "next-version")]
    crate::next_version::before_commit().await?;
    sqlx::query("COMMIT").execute(db).await?;
    Ok(Ok(known))
}

async fn apply(db: &mut SqliteConnection, migration: &Migration) -> sqlx::Result<()> {
    sqlx::raw_sql(migration.sql).execute(&mut *db).await?;
    let note = worded(migration.note().into(), sqlite::WORDS);
    let note = sqlx::query(AssertSqlSafe(note)).bind(migration.version);
    let note = if let Some(least) = migration.least() { note.bind(least) } else { note };
    note.execute(db).await?;
    tracing::info!(version = migration.version, "database schema migrated");
    Ok(())
}

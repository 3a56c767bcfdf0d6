//! Opening: the URL, the connections, the migrations.

use std::cmp::Ordering;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres};

use super::{Link, WORDS, listen};
use crate::db::Pools;
use crate::door::{Doubt, Inner};
use crate::query::worded;
use crate::schema::{self, Migration, Schema};
use crate::shelf::Shelf;
use crate::{OpenError, Store};

/// Connections for writing and for reading, of each process. A server takes a hundred
/// unless told otherwise, and a platform may well be ten processes.
const WRITERS: u32 = 4;
const READERS: u32 = 4;

/// How long a caller queues for a connection before it is told to come back.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// A connection that nobody needed for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// One that rested longer than this is asked whether it still lives, before it is used.
const REST_MAX: Duration = Duration::from_secs(1);

/// The oldest server that has all we use, and is still maintained.
const SERVER_LEAST: u32 = 13;

/// Every schema there has been here, oldest first. The numbers are SQLite's, which began
/// earlier. A file is never changed once released; the next one is added below it.
const MIGRATIONS: [Migration; 3] = [
    Migration { version: 3, least: 3, sql: include_str!("../../migrations/postgres/0003_services_tasks_workers.sql") },
    Migration { version: 4, least: 4, sql: include_str!("../../migrations/postgres/0004_several_machines.sql") },
    Migration { version: 5, least: 4, sql: include_str!("../../migrations/postgres/0005_builds.sql") },
];

/// Who waits for a table makes all others wait that want it: rather the whole again, later.
/// An end that the server does not hear of is one that says nothing: a killed process's work is
/// undone after as long.
const PATIENCE: &str = "SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '15s'";

/// What processes lock that migrate one database; any number will do.
const MIGRATION_LOCK: i64 = 0x7368_6970_7761_7901;

/// Whether a process may change the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// It brings the schema up to date. Any number may do so at once.
    Yes,
    /// It fails with [`OpenError::Older`] when the schema is not up to date: another
    /// process has to see to it first, perhaps under another user.
    No,
}

impl Store {
    /// Connects to the PostgreSQL database that `url` names
    /// (`postgres://user:password@host:port/name?sslmode=verify-full`), and migrates it
    /// if this process is to.
    ///
    /// `statement-cache-capacity=0` in the URL says that a pooler in transaction mode may
    /// be in between. The password is in no error.
    ///
    /// # Errors
    ///
    /// [`OpenError::Newer`], [`OpenError::Older`], [`OpenError::ServerTooOld`] (nothing is
    /// changed then), and [`OpenError::Open`] with the cause.
    pub async fn connect(url: &str, migrate: Migrate) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(|_| OpenError::Open {
            path: "named by `database.url`".to_owned(),
            source: sqlx::Error::Configuration("it must look like postgres://user@host:5432/name".into()),
        })?;
        let (options, link) = linked(options, url);
        let failed = |source| OpenError::Open { path: shown(&options), source };
        let prepared = tokio::time::timeout(super::ANSWER_WAIT * 3, prepare(&options, migrate)).await;
        let late = |_| failed(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
        let found = prepared.map_err(late)?.map_err(failed)??;

        let doubt = Doubt::default();
        let pools = Pools::Postgres {
            writers: pool(WRITERS, &doubt, &for_writing(&options, link)),
            readers: pool(READERS, &doubt, &options),
            link,
        };
        let store = Self(Arc::new(Inner::new(pools, doubt, Schema::new(found))));
        listen::begin(&store, &options, link).await;
        tracing::debug!(database = shown(&options), "store opened");
        Ok(store)
    }
}

/// How every connection is set up.
fn linked(options: PgConnectOptions, url: &str) -> (PgConnectOptions, Link) {
    let options = options.application_name("shipway");
    if url.contains("statement-cache-capacity=0") {
        // Poolers refuse settings at the start of a connection that they do not know.
        return (options.extra_float_digits(None), Link::Pooled);
    }
    (options.options([("statement_timeout", "10s"), ("TimeZone", "UTC"), ("jit", "off")]), Link::Direct)
}

/// How those that write are set up. Behind a pooler each transaction says it itself.
fn for_writing(options: &PgConnectOptions, link: Link) -> PgConnectOptions {
    let options = options.clone();
    if link == Link::Direct { options.options(super::OF_WRITERS.iter().copied()) } else { options }
}

/// The database without its password.
fn shown(options: &PgConnectOptions) -> String {
    let place = options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    let (user, name) = (options.get_username(), options.get_database().unwrap_or_else(|| options.get_username()));
    format!("{name} of {user} at {place}:{}", options.get_port())
}

fn pool(connections: u32, doubt: &Doubt, options: &PgConnectOptions) -> Arc<Shelf<Postgres>> {
    let trust = doubt.clone();
    let pool = PoolOptions::<Postgres>::new()
        .max_connections(connections)
        .acquire_timeout(CONNECTION_WAIT)
        .idle_timeout(IDLE_MAX)
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let trusted = trust.trusts(meta.age);
            Box::pin(async move { Ok(trusted && (meta.idle_for < REST_MAX || connection.ping().await.is_ok())) })
        })
        .connect_lazy_with(options.clone());
    Shelf::new(pool, doubt.clone(), Some(REST_MAX))
}

/// The schema found, or why not.
type Checked = Result<Result<i64, OpenError>, sqlx::Error>;

async fn prepare(options: &PgConnectOptions, migrate: Migrate) -> Checked {
    let mut first = PgConnection::connect_with(options).await?;
    let done = match check_server(&first) {
        Ok(()) => check_schema(&mut first, migrate).await?,
        Err(refused) => Err(refused),
    };
    first.close().await?;
    Ok(done)
}

fn check_server(db: &PgConnection) -> Result<(), OpenError> {
    match db.server_version_num() {
        Some(number) if number < SERVER_LEAST * 10_000 => {
            let found = format!("{}.{}", number / 10_000, number % 10_000);
            Err(OpenError::ServerTooOld { found, least: SERVER_LEAST })
        }
        _ => Ok(()),
    }
}

/// A process that has nothing to migrate needs no right to.
async fn check_schema(db: &mut PgConnection, migrate: Migrate) -> Checked {
    let known = schema::known();
    let mut tx = db.begin().await?;
    let there: bool = scalar(&mut tx, "SELECT to_regclass('schema_version') IS NOT NULL").await?;
    let found = if there { scalar(&mut tx, schema::FOUND).await? } else { 0 };
    let least = if found > known { scalar(&mut tx, schema::LEAST).await? } else { found };
    // A pooler wants every statement in a transaction.
    tx.commit().await?;
    match found.cmp(&known) {
        Ordering::Equal => Ok(Ok(found)),
        Ordering::Greater => Ok(schema::may_use(found, least, known).map(|()| found)),
        Ordering::Less if migrate == Migrate::No => Ok(Err(OpenError::Older { found, needed: known })),
        Ordering::Less => self::migrate(db).await,
    }
}

async fn scalar<T: crate::query::Scalar>(db: &mut PgConnection, sql: &'static str) -> sqlx::Result<T> {
    sqlx::query_scalar(sql).persistent(false).fetch_one(db).await
}

/// Brings the schema up to date in one transaction: a crash leaves the old one. Of two
/// that do it at once the second waits, and finds it done.
async fn migrate(db: &mut PgConnection) -> Checked {
    let known = schema::known();
    let mut tx = db.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").persistent(false).bind(MIGRATION_LOCK).execute(&mut *tx).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::raw_sql(PATIENCE).execute(&mut *tx).await?;
    let found: i64 = scalar(&mut tx, schema::FOUND).await?;
    if found > known {
        let least = scalar(&mut tx, schema::LEAST).await?;
        return Ok(schema::may_use(found, least, known).map(|()| found));
    }
    for migration in schema::missing(&MIGRATIONS, &schema::TO_COME_POSTGRES, found) {
        apply(&mut tx, migration).await?;
    }
    #[cfg(feature = "next-version")]
    crate::next_version::before_commit().await?;
    tx.commit().await?;
    Ok(Ok(known))
}

async fn apply(db: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    sqlx::raw_sql(migration.sql).execute(&mut *db).await?;
    let note = worded(migration.note().into(), WORDS);
    let note = sqlx::query(AssertSqlSafe(note)).persistent(false).bind(migration.version);
    let note = if let Some(least) = migration.least() { note.bind(least) } else { note };
    note.execute(db).await?;
    tracing::info!(version = migration.version, "database schema migrated");
    Ok(())
}

//! Versions that do not exist yet, behind the feature `next-version`: the torture suite has
//! two versions at once, and a first release has no other. Never in a release build; and this
//! is the version there is until a process says otherwise ([`be`]).
//!
//! The next one adds a column and a table, writes both when it ends a task, and writes
//! restarts in a form that nobody before it can read. The one after it takes a column away,
//! by renaming it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use shipway_model::TaskPayload;

use crate::door::Tx;
use crate::held::Held;
use crate::query::query;
use crate::schema::{Migration, SCHEMA};
use crate::{Store, StoreError};

/// Which version a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// The one that is built.
    This,
    /// The next, which only adds.
    Next,
    /// The one after it, which takes away what this one uses.
    AfterNext,
    /// The same with a mistake: its migration does not say that it takes away.
    AfterNextUnsaid,
}

impl Version {
    const fn schema(self) -> i64 {
        match self {
            Self::This => SCHEMA,
            Self::Next => NEXT,
            Self::AfterNext | Self::AfterNextUnsaid => AFTER_NEXT,
        }
    }
}

const NEXT: i64 = SCHEMA + 1;
const AFTER_NEXT: i64 = SCHEMA + 2;

pub(crate) const SQLITE: [Migration; 2] = [
    Migration { version: NEXT, least: SCHEMA, sql: include_str!("../migrations/next/added.sqlite.sql") },
    Migration { version: AFTER_NEXT, least: NEXT, sql: TAKEN_AWAY },
];

pub(crate) const POSTGRES: [Migration; 2] = [
    Migration { version: NEXT, least: SCHEMA, sql: include_str!("../migrations/next/added.postgres.sql") },
    Migration { version: AFTER_NEXT, least: NEXT, sql: TAKEN_AWAY },
];

const TAKEN_AWAY: &str = include_str!("../migrations/next/taken_away.sql");

/// How the next version writes a restart.
const RESTART: &str = r#"{"task":"renew"}"#;

static KNOWN: AtomicI64 = AtomicI64::new(SCHEMA);
static UNSAID: AtomicBool = AtomicBool::new(false);

/// Makes this process another version. Stores that are open already stay what they are.
pub fn be(version: Version) {
    KNOWN.store(version.schema(), Ordering::Relaxed);
    UNSAID.store(version == Version::AfterNextUnsaid, Ordering::Relaxed);
}

pub(crate) fn known() -> i64 {
    KNOWN.load(Ordering::Relaxed)
}

/// What a migration says of its least.
pub(crate) fn said(least: i64) -> i64 {
    if UNSAID.load(Ordering::Relaxed) { least.min(SCHEMA) } else { least }
}

static HALT: OnceLock<PathBuf> = OnceLock::new();

/// Lets a migration of this process go no further once all its statements were executed and
/// before any of them is committed: it makes a file, and waits to be killed.
pub fn halt_in_migration(told: PathBuf) {
    HALT.get_or_init(|| told);
}

pub(crate) async fn before_commit() -> sqlx::Result<()> {
    let Some(told) = HALT.get() else { return Ok(()) };
    std::fs::File::create(told)?;
    std::future::pending().await
}

/// A statement in the words of the version after the next.
pub(crate) fn renamed(sql: String) -> String {
    if known() < AFTER_NEXT { sql } else { sql.replace("released", "given_back_uncharged") }
}

/// A payload's JSON as this version reads it.
pub(crate) fn readable(payload: &str) -> &str {
    if known() >= NEXT && payload == RESTART { r#"{"task":"restart"}"# } else { payload }
}

/// A payload's JSON as the next version writes it.
pub(crate) fn written(payload: &TaskPayload, json: String) -> String {
    if known() >= NEXT && *payload == TaskPayload::Restart { RESTART.to_owned() } else { json }
}

/// What the next version notes when a task ends.
pub(crate) async fn note_end(tx: &mut Tx, held: &Held) -> Result<(), StoreError> {
    let known = tx.schema().known;
    if known < NEXT {
        return Ok(());
    }
    query("UPDATE task SET ended_by = worker WHERE id = $1").bind(&held.id).later(tx.db()).await?;
    query("INSERT INTO task_end (task, version) VALUES ($1, $2)").bind(&held.id).bind(known).later(tx.db()).await?;
    Ok(())
}

impl Store {
    /// How many tasks a next version has ended, by what it has noted in its own table and
    /// column; a store of a next version answers.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn ends_noted(&self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM task t JOIN task_end e ON e.task = t.id
             WHERE t.ended_by IS NOT NULL AND e.version >= $1";
        self.read(async |db| Ok(query(sql).bind(NEXT).scalar(db).await?)).await
    }

    /// How many open tasks there are that only a next version can read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn open_for_next(&self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM task WHERE payload = $1 AND state IN ('queued', 'running')";
        self.read(async |db| Ok(query(sql).bind(RESTART).scalar(db).await?)).await
    }

    /// How many tasks somebody has left to a newer version.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn left_to_newer(&self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM task WHERE unread_by IS NOT NULL";
        self.read(async |db| Ok(query(sql).scalar(db).await?)).await
    }
}

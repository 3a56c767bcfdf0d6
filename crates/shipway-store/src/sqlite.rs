//! What is SQLite's own: its words in the shared SQL, its errors, how a connection is
//! set up.

mod open;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteError, SqliteJournalMode, SqliteSynchronous};

use crate::StoreError;
use crate::door::Durability;

/// The oldest library that is safe: those before 3.51.3 can corrupt a WAL when a
/// checkpoint meets a commit.
pub(crate) const LIBRARY_LEAST: &str = "3.51.3";

/// How long a statement waits for another process that holds the write lock.
/// Longer, and an API call hangs where it should say 503; shorter, and somebody
/// looking into the database with the `sqlite3` shell fails our writes.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(2);

/// The largest database, in pages of 4 KiB: 16 GiB. Past it writes fail like on a
/// full disk, before the disk is full for everybody else.
const PAGES_MAX: u32 = 4 << 20;

/// The WAL file is cut back to this after a checkpoint, in bytes.
const WAL_BYTES_KEPT: u32 = 16 << 20;

/// Statements that the writer keeps prepared. It sends about a hundred different ones, and
/// some of them in several company; preparing takes longer than most of them do.
const STATEMENTS_KEPT: usize = 300;

/// What the words in braces of the shared SQL are here.
///
/// The clock is in microseconds, to the millisecond: SQLite keeps no finer time. One
/// statement sees one time. The half rounds away what the fraction lost as a
/// floating-point number.
pub(crate) const WORDS: &[(&str, &str)] = &[
    ("now", "(CAST(unixepoch('subsec') * 1000 + 0.5 AS INTEGER) * 1000)"),
    ("next_token", "(SELECT value + 1 FROM counter WHERE name = 'lease')"),
    // The writer holds the only write lock: nothing comes between choice and change.
    ("skip_locked", ""),
    ("each_label", "json_each(t.labels) AS label"),
    ("place_of", "instr"),
    ("json_object", "json_object"),
    ("secret_hex", "lower(hex(secret_sha256))"),
];

/// Counts what `{next_token}` gave away.
pub(crate) const TOKEN_TAKEN: &str = "UPDATE counter SET value = value + 1 WHERE name = 'lease'";

/// Starts a writing transaction: the lock is taken now, not at the first write,
/// so that what was read inside still holds when it is written.
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// The same, saying what its commit survives. `FULL` is one `fsync` of the WAL a commit,
/// and of all that commits before it have put there; `NORMAL` leaves that to the next one,
/// and never damages the file. The setting lasts until it is changed, and cannot be changed
/// inside a transaction: so each begins with its own, and none relies on the one before.
pub(crate) const fn begin(durability: Durability) -> &'static str {
    match durability {
        Durability::Power => "PRAGMA main.synchronous = FULL; BEGIN IMMEDIATE",
        Durability::Host | Durability::Process => "PRAGMA main.synchronous = NORMAL; BEGIN IMMEDIATE",
    }
}

/// How the writer's connection is set up.
pub(crate) fn writer(path: &Path) -> SqliteConnectOptions {
    common(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("max_page_count", PAGES_MAX.to_string())
        .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string())
        .statement_cache_capacity(STATEMENTS_KEPT)
}

/// How a reader's connection is set up: it cannot write even by mistake.
pub(crate) fn reader(path: &Path) -> SqliteConnectOptions {
    common(path).pragma("query_only", "ON")
}

fn common(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_WAIT)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
}

/// Whether the library's version is at least [`LIBRARY_LEAST`].
pub(crate) fn is_new_enough(version: &str) -> bool {
    parts(version) >= parts(LIBRARY_LEAST)
}

fn parts(version: &str) -> Vec<u32> {
    version.split('.').map(|part| u32::from_str(part).unwrap_or(0)).collect()
}

/// Whether the write lock was held by somebody else all the time.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(kind(error), Some(5 | 6))
}

/// Whether the file failed, not the statement: read-only, a failed read or write,
/// damage, not to be opened, no database.
pub(crate) fn is_about_the_file(error: &sqlx::Error) -> bool {
    matches!(kind(error), Some(8 | 10 | 11 | 14 | 26))
}

/// The kind of an error of the library's: the low byte of its code
/// (<https://www.sqlite.org/rescode.html>).
fn kind(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.try_downcast_ref::<SqliteError>()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Says what the library's error means to the caller.
pub(crate) fn classify(error: sqlx::Error) -> StoreError {
    let reason = match kind(&error).unwrap_or(0) {
        5 | 6 => "it is locked by another process",
        7 => "there is no memory left",
        8 => "it is read-only",
        10 => "the disk failed to read or write",
        13 => "the disk is full, or the database has reached its largest size",
        14 => "its file cannot be opened",
        11 | 26 => "its file is damaged",
        19 => return StoreError::Corrupt(format!("a rule of the tables refused a row: {error}")),
        _ => return StoreError::Corrupt(error.to_string()),
    };
    StoreError::Unavailable { reason: reason.to_owned(), source: Some(error) }
}

#[cfg(test)]
mod tests;

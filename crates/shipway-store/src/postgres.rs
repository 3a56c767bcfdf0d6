//! What is PostgreSQL's own: its words in the shared SQL, its locks, its errors, how a
//! connection is set up.
//!
//! Writers run side by side here. What keeps them apart is said by the code that writes:
//! [`Tx::lock`](crate::door::Tx::lock) names what it is about to change, and waits for
//! whoever named the same. Beside that, unique indexes refuse what must never be.
//!
//! No state of a session is relied on, so that a pooler in transaction mode may stand in
//! between: locks and settings are the transaction's, and with `statement-cache-capacity=0`
//! in the URL nothing is prepared, nothing is asked for at the start of a connection,
//! even reading happens in a transaction, and nobody listens.

mod listen;
pub(crate) mod open;

use std::borrow::Cow;
use std::time::Duration;

use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;

use crate::StoreError;
use crate::db::Db;
use crate::door::Durability;
use crate::query::{Value, query};

/// What the words in braces of the shared SQL are here.
///
/// The clock is the statement's start: one statement sees one time, and a transaction that
/// waited for a lock does not go on with the time before.
pub(crate) const WORDS: &[(&str, &str)] = &[
    ("now", "((extract(epoch FROM statement_timestamp()) * 1000000)::bigint)"),
    ("next_token", "nextval('lease_token')"),
    ("skip_locked", "FOR UPDATE OF t SKIP LOCKED"),
    ("each_label", "json_array_elements_text(t.labels::json) AS label(value)"),
    ("place_of", "strpos"),
    ("json_object", "json_build_object"),
    ("secret_hex", "encode(secret_sha256, 'hex')"),
];

/// What holds in a writing transaction, by PostgreSQL's names.
///
/// The limits keep a caller from hanging: on a lock, in one statement, and (when this
/// process is paused inside) the others from hanging on us. What is written is found by an
/// index, or by walking one in its order: the planner, which expects next to nothing of a
/// claim's conditions, would rather sort all that is queued, or read the table with all that
/// ever was. And what then looks dear to it is not worth compiling: that takes a hundred
/// times as long as the statement.
macro_rules! for_writing {
    ($each:ident) => {
        $each! {
            "synchronous_commit" = "on",
            "lock_timeout" = "2s",
            "statement_timeout" = "10s",
            "idle_in_transaction_session_timeout" = "15s",
            "enable_seqscan" = "off",
            "enable_bitmapscan" = "off",
            "enable_sort" = "off",
            "enable_hashjoin" = "off",
            "enable_mergejoin" = "off",
            "jit" = "off",
        }
    };
}

macro_rules! as_pairs {
    ($($name:literal = $value:literal,)*) => {
        &[$(($name, $value)),*]
    };
}

macro_rules! as_statements {
    ($($name:literal = $value:literal,)*) => {
        concat!("BEGIN ISOLATION LEVEL READ COMMITTED", $("; SET LOCAL ", $name, " = '", $value, "'"),*)
    };
}

/// The same for a session of our own, at its start: so many settings, each a statement, take
/// longer than a claim.
pub(crate) const OF_WRITERS: &[(&str, &str)] = for_writing!(as_pairs);

/// The same for a session that is ours for this transaction only.
const BEGIN_POOLED: &str = for_writing!(as_statements);

/// Begins a writing transaction, in one message.
///
/// What may be lost is lost when the server crashes within 0.6 s (three times its
/// `wal_writer_delay`), unless a commit that is safe came after it.
pub(crate) fn begin(link: Link, durability: Durability) -> Cow<'static, str> {
    let begin = match link {
        Link::Direct => "BEGIN ISOLATION LEVEL READ COMMITTED",
        Link::Pooled => BEGIN_POOLED,
    };
    match durability {
        Durability::Power | Durability::Host => begin.into(),
        Durability::Process => format!("{begin}; SET LOCAL synchronous_commit = off").into(),
    }
}

/// Begins a transaction of a reader behind a pooler.
pub(crate) const BEGIN_READ: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '10s'";

/// Whatever a server that hangs does, a caller hears within this.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// The same for what is long by nature: filling a database from a file.
pub(crate) const LONG_WAIT: Duration = Duration::from_secs(3600);

/// The channel of notices.
pub(crate) const CHANNEL: &str = "shipway";

/// What is between us and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// A session of our own: statements are prepared once.
    Direct,
    /// Perhaps a pooler, which may give each transaction another session.
    Pooled,
}

impl Link {
    pub(crate) const fn keeps_statements(self) -> bool {
        matches!(self, Self::Direct)
    }
}

/// PostgreSQL's text has no zero byte. What a program printed may: it is shown as what
/// cannot be shown.
pub(crate) fn storable(value: Value) -> Value {
    match value {
        Value::Text(Some(text)) if text.contains('\0') => Value::Text(Some(text.replace('\0', "\u{fffd}"))),
        other => other,
    }
}

/// Waits until nobody else changes what has this name, until the transaction's end.
pub(crate) async fn lock(db: &mut Db, name: &str) -> sqlx::Result<()> {
    query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(name).execute(db).await.map(drop)
}

/// Ends a transaction, and tells other processes what it changed: one message. There is
/// nobody else's word in the text.
pub(crate) fn notify_and_commit(origin: Uuid, letters: &str) -> String {
    format!("NOTIFY {CHANNEL}, '{origin} {letters}'; COMMIT")
}

/// Tells other processes something at once.
pub(crate) async fn notify(db: &mut Db, payload: &str) -> sqlx::Result<()> {
    query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(db).await.map(drop)
}

/// Whether two claims met on one subject, and this one came second.
pub(crate) fn is_claim_conflict(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.constraint() == Some("task_running"))
}

/// Whether the connection failed, not the statement, so that others may have failed too.
pub(crate) fn is_about_the_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        _ => code(error).is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == "25006"),
    }
}

/// The SQLSTATE of an error, if it is PostgreSQL's
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn code(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// Says what the server's error means to the caller; `None` when it is not the server's.
pub(crate) fn classify(error: &sqlx::Error) -> Option<Result<&'static str, String>> {
    let code = code(error)?;
    Some(Ok(match code {
        "55P03" => "it is locked by another process",
        "57014" => "it took too long",
        "40001" | "40P01" => "too much changed at once",
        "25006" => "it is read-only",
        "53100" | "54000" => "the disk is full, or the database has reached its largest size",
        "53200" => "there is no memory left",
        "53300" => "it has too many connections",
        "57P01" | "57P02" | "57P03" => "it is starting or stopping",
        "58030" => "the disk failed to read or write",
        "XX001" | "XX002" => "its file is damaged",
        "3D000" => "there is no database of this name",
        "42501" => "its user may not do this",
        _ if code.starts_with("08") => "its connection was lost",
        _ if code.starts_with("28") => "it does not know us: user or password is wrong",
        _ if code.starts_with("23") => return Some(Err(format!("a rule of the tables refused a row: {error}"))),
        _ => return Some(Err(error.to_string())),
    }))
}

/// An answer that did not come.
pub(crate) fn no_answer() -> StoreError {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()
}

#[cfg(test)]
mod tests;

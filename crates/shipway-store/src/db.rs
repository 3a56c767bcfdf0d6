//! A connection, of either kind, and where connections come from.
//!
//! A statement costs a message: on SQLite to the thread that has the file and back, which
//! takes longer than most statements do; on PostgreSQL to the server and back.
//!
//! SQLite has one connection that writes and a few that read. PostgreSQL has the same two
//! groups, so that readers never queue behind writers that wait for each other's locks.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Postgres, Sqlite};

use crate::postgres;
use crate::query::Batch;
use crate::shelf::{Shelf, Taken};

/// A connection taken from its pool.
#[derive(Debug)]
pub(crate) enum Db {
    /// With what is to be sent together with the next statement.
    Sqlite(Taken<Sqlite>, Batch),
    Postgres(Taken<Postgres>, postgres::Link),
}

impl Db {
    /// Closes the connection instead of giving it back: nobody knows what state it is in.
    pub(crate) fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(db, _) => db.close_on_drop(),
            Self::Postgres(db, _) => db.close_on_drop(),
        }
    }

    /// Says that its last statement came to its end, and that no transaction is open.
    pub(crate) const fn is_good(&mut self) {
        match self {
            Self::Sqlite(db, _) => db.is_good(),
            Self::Postgres(db, _) => db.is_good(),
        }
    }

    /// What waits to be sent never is.
    pub(crate) fn forget_batch(&mut self) {
        if let Self::Sqlite(_, batch) = self {
            *batch = Batch::default();
        }
    }

    /// Reads the two numbers of a row, beside what the statement's author asked for: it is in
    /// no batch, and not among the statements that tests count.
    pub(crate) async fn numbers(&mut self, sql: &'static str) -> sqlx::Result<(i64, i64)> {
        match self {
            Self::Sqlite(db, _) => sqlx::query_as(sql).fetch_one(&mut **db).await,
            Self::Postgres(db, link) => {
                sqlx::query_as(sql).persistent(link.keeps_statements()).fetch_one(&mut **db).await
            }
        }
    }

    /// Runs text as it stands, without values: several statements in one message.
    pub(crate) async fn run(&mut self, sql: impl Into<Cow<'static, str>>) -> sqlx::Result<()> {
        let sql = sql.into();
        #[cfg(feature = "testing")]
        crate::testing::note_statement(&sql, &[]);
        if let Self::Sqlite(db, batch) = self
            && !batch.is_empty()
        {
            return batch.send_with(&sql, db).await;
        }
        // Written here, or made of words that are.
        let sql = AssertSqlSafe(sql.into_owned());
        match self {
            Self::Sqlite(db, _) => sqlx::raw_sql(sql).execute(&mut **db).await.map(drop),
            Self::Postgres(db, _) => sqlx::raw_sql(sql).execute(&mut **db).await.map(drop),
        }
    }
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Pools {
    Sqlite { writer: Arc<Shelf<Sqlite>>, readers: Arc<Shelf<Sqlite>> },
    Postgres { writers: Arc<Shelf<Postgres>>, readers: Arc<Shelf<Postgres>>, link: postgres::Link },
}

impl Pools {
    /// A connection for a writing transaction.
    pub(crate) async fn writer(&self) -> sqlx::Result<Db> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Db::Sqlite(writer.take().await?, Batch::default()),
            Self::Postgres { writers, link, .. } => Db::Postgres(writers.take().await?, *link),
        })
    }

    /// A connection for reading.
    pub(crate) async fn reader(&self) -> sqlx::Result<Db> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Db::Sqlite(readers.take().await?, Batch::default()),
            Self::Postgres { readers, link, .. } => Db::Postgres(readers.take().await?, *link),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { writers, readers, .. } => {
                readers.close().await;
                writers.close().await;
            }
        }
    }
}

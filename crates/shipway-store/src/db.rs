//! A connection, of either kind, and where connections come from.
//!
//! SQLite has one connection that writes and a few that read. PostgreSQL has the same two
//! groups, so that readers never queue behind writers that wait for each other's locks.

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

use crate::postgres;

/// A connection taken from its pool.
#[derive(Debug)]
pub(crate) enum Db {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>, postgres::Link),
}

impl Db {
    /// Closes the connection instead of giving it back: nobody knows what state it is in.
    pub(crate) fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(db) => db.close_on_drop(),
            Self::Postgres(db, _) => db.close_on_drop(),
        }
    }

    /// Runs text as it stands, without values: several statements in one message.
    pub(crate) async fn run(&mut self, sql: &'static str) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(db) => sqlx::raw_sql(sql).execute(&mut **db).await.map(drop),
            Self::Postgres(db, _) => sqlx::raw_sql(sql).execute(&mut **db).await.map(drop),
        }
    }
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Pools {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres { writers: PgPool, readers: PgPool, link: postgres::Link },
}

impl Pools {
    /// A connection for a writing transaction.
    pub(crate) async fn writer(&self) -> sqlx::Result<Db> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Db::Sqlite(writer.acquire().await?),
            Self::Postgres { writers, link, .. } => Db::Postgres(writers.acquire().await?, *link),
        })
    }

    /// A connection for reading.
    pub(crate) async fn reader(&self) -> sqlx::Result<Db> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Db::Sqlite(readers.acquire().await?),
            Self::Postgres { readers, link, .. } => Db::Postgres(readers.acquire().await?, *link),
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

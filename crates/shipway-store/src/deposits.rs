//! Deposits: content that one process has received and another one needs.
//!
//! An upload arrives at some api; the worker it is for may be on another machine. It rests
//! here, in parts, until that worker has it. Only whole deposits can be found: a writer that
//! is killed leaves parts that nobody sees, and [`Store::collect_deposits`] takes them away.

use std::io::Read;
use std::time::Duration;

use shipway_model::{Digest, Micros};
use sqlx::FromRow;
use uuid::Uuid;

use crate::door::Tx;
use crate::query::query;
use crate::values::{micros, number};
use crate::{Store, StoreError};

/// Bytes of one part: small enough for one message, large enough to be few.
const PART_BYTES: usize = 1 << 20;

/// Deposits removed in one transaction.
const COLLECTED_AT_ONCE: i64 = 16;

/// Content that rests in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    id: String,
    /// What its reader will find it to be.
    pub digest: Digest,
    /// Of all parts together.
    pub size_bytes: u64,
    /// How many parts there are, the first of which is 0.
    pub parts: u64,
}

/// Why content could not be put down.
#[derive(Debug, thiserror::Error)]
pub enum DepositError {
    /// The content could not be read where it came from.
    #[error("the content cannot be read")]
    Content(#[source] std::io::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(FromRow)]
struct DepositRow {
    id: String,
    size_bytes: i64,
    parts: i64,
}

impl Store {
    /// Puts content down under a digest, unless it is there already: then it rests as long as
    /// if it had just come. It is there for everybody when this returns. What the digest is of
    /// (these bytes, or the tree that they unpack to) is between the writer and the reader, who
    /// checks it.
    ///
    /// # Errors
    ///
    /// [`DepositError`]; nothing can be found then.
    pub async fn put_deposit(
        &self,
        digest: &Digest,
        mut content: impl Read + Send + 'static,
    ) -> Result<(), DepositError> {
        if self.renew_deposit(digest).await?.is_some() {
            return Ok(());
        }
        let id = Uuid::new_v4().to_string();
        let (mut parts, mut size_bytes) = (0_i64, 0_i64);
        self.begin_deposit(&id).await?;
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::with_capacity(PART_BYTES);
                let read = content.by_ref().take(PART_BYTES as u64).read_to_end(&mut bytes);
                read.map(|_| (bytes, content))
            });
            let bytes;
            (bytes, content) = read.await.map_err(std::io::Error::other).flatten().map_err(DepositError::Content)?;
            if bytes.is_empty() {
                break;
            }
            size_bytes += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            self.add_part(&id, parts, bytes).await?;
            parts += 1;
        }
        let digest = digest.to_string();
        Ok(self.write(move |tx| Box::pin(tx.end_deposit(id, digest, size_bytes, parts))).await?)
    }

    async fn begin_deposit(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        let begun = self.write(move |tx| {
            Box::pin(async move {
                query("INSERT INTO deposit (id, size_bytes, parts, created_at) VALUES ($1, 0, 0, {now})")
                    .bind(id)
                    .execute(tx.db())
                    .await?;
                Ok(())
            })
        });
        begun.await
    }

    async fn add_part(&self, id: &str, part: i64, bytes: Vec<u8>) -> Result<(), StoreError> {
        let id = id.to_owned();
        let added = self.write(move |tx| {
            Box::pin(async move {
                query("INSERT INTO deposit_part (deposit, part, bytes) VALUES ($1, $2, $3)")
                    .bind(id)
                    .bind(part)
                    .bind(bytes)
                    .execute(tx.db())
                    .await?;
                Ok(())
            })
        });
        added.await
    }

    /// Finds what was put down under a digest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_deposit(&self, digest: &Digest) -> Result<Option<Deposit>, StoreError> {
        let row: Option<DepositRow> = self
            .read(async |db| {
                let sql = "SELECT id, size_bytes, parts FROM deposit WHERE digest = $1";
                Ok(query(sql).bind(digest.to_string()).fetch_optional(db).await?)
            })
            .await?;
        let read = |row: DepositRow| {
            Ok(Deposit {
                id: row.id,
                digest: digest.clone(),
                size_bytes: number("a deposit's size", row.size_bytes)?,
                parts: number("a deposit's parts", row.parts)?,
            })
        };
        row.map(read).transpose()
    }

    /// The size of what was put down under a digest, if it is there; from now on it counts as
    /// put down now, because somebody is about to need it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn renew_deposit(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let digest = digest.to_string();
        let renewed = self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE deposit SET created_at = {now} WHERE digest = $1 RETURNING size_bytes";
                Ok(query(sql).bind(digest).scalar_optional::<i64>(tx.db()).await?)
            })
        });
        renewed.await?.map(|size| number("a deposit's size", size)).transpose()
    }

    /// Reads one part, counted from 0.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when it has been collected meanwhile,
    /// [`StoreError::Unavailable`].
    pub async fn read_deposit(&self, deposit: &Deposit, part: u64) -> Result<Vec<u8>, StoreError> {
        let part: i64 = part.try_into().unwrap_or(i64::MAX);
        let bytes: Option<Vec<u8>> = self
            .read(async |db| {
                let sql = "SELECT bytes FROM deposit_part WHERE deposit = $1 AND part = $2";
                Ok(query(sql).bind(&deposit.id).bind(part).scalar_optional(db).await?)
            })
            .await?;
        bytes.ok_or(StoreError::NotFound("deposit"))
    }

    /// Removes what was not touched for `age` and that no open or given-up task, release or
    /// name of an image speaks of, and what a killed writer left. Returns how many there were;
    /// any number of processes may do it at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; some may have been removed before.
    pub async fn collect_deposits(&self, age: Duration) -> Result<u64, StoreError> {
        let age = micros(age);
        let mut all = 0;
        loop {
            let removed = self.write(move |tx| Box::pin(tx.collect_deposits(age))).await?;
            all += removed;
            if removed == 0 {
                return Ok(all);
            }
        }
    }
}

impl Tx {
    async fn end_deposit(&mut self, id: String, digest: String, size_bytes: i64, parts: i64) -> Result<(), StoreError> {
        self.lock(format!("deposit/{digest}")).await?;
        let there: bool =
            query("SELECT EXISTS (SELECT 1 FROM deposit WHERE digest = $1)").bind(&digest).scalar(self.db()).await?;
        let ended = if there {
            // Somebody else was quicker.
            query("DELETE FROM deposit WHERE id = $1").bind(id)
        } else {
            query("UPDATE deposit SET digest = $2, size_bytes = $3, parts = $4 WHERE id = $1")
                .bind(id)
                .bind(digest)
                .bind(size_bytes)
                .bind(parts)
        };
        match ended.execute(self.db()).await? {
            // Collected in the middle: it took longer than anything may.
            0 => Err(StoreError::NotFound("deposit")),
            _ => Ok(()),
        }
    }

    /// The payload of a task and the spec of a release name a digest as it is written here.
    async fn collect_deposits(&mut self, age: Micros) -> Result<u64, StoreError> {
        let sql = "DELETE FROM deposit WHERE id IN (
                 SELECT d.id FROM deposit d WHERE d.created_at < {now} - $1
                 AND (d.digest IS NULL OR NOT (
                     EXISTS (SELECT 1 FROM task t
                         WHERE (t.state IN ('queued', 'running') OR t.given_up_at IS NOT NULL)
                         AND {place_of}(t.payload, d.digest) > 0)
                     OR EXISTS (SELECT 1 FROM image i WHERE i.digest = d.digest)
                     OR EXISTS (SELECT 1 FROM release r WHERE r.image = d.digest)))
                 LIMIT $2)
             AND created_at < {now} - $1"; // once more: it may have been touched while we waited
        Ok(query(sql).bind(age).bind(COLLECTED_AT_ONCE).execute(self.db()).await?)
    }
}

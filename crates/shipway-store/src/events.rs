//! Events: appended in the transaction of what they tell, read by cursor.

use shipway_model::{Event, EventKind};
use sqlx::FromRow;

use crate::door::Tx;
use crate::held::{Held, LeaseKey};
use crate::query::query;
use crate::values::{cursor, from_json, number, page, parse, to_json};
use crate::{Lease, Store, StoreError};

#[derive(FromRow)]
struct EventRow {
    subject: String,
    seq: i64,
    project: String,
    at: i64,
    kind: String,
}

impl EventRow {
    fn read(self) -> Result<Event, StoreError> {
        Ok(Event {
            seq: number("an event's number", self.seq)?,
            project: parse("an event's project", &self.project)?,
            at: self.at,
            kind: from_json("an event", &self.kind)?,
            subject: self.subject,
        })
    }
}

impl Tx {
    async fn append_event(&mut self, lease: LeaseKey, kind: EventKind) -> Result<(), StoreError> {
        let held = Held::by(self, lease).await?;
        self.event(&held.event_subject(), &held.project, &kind).await
    }

    /// Appends an event. The number is right because this transaction holds the
    /// subject's lock: nobody else appends to it until this is over, so that whoever
    /// reads number 7 has already been able to read number 6.
    pub(crate) async fn event(&mut self, subject: &str, project: &str, kind: &EventKind) -> Result<(), StoreError> {
        self.lock(subject.to_owned()).await?;
        query(
            "INSERT INTO event (subject, seq, project, at, kind)
             SELECT $1, coalesce(max(seq), 0) + 1, $2, {now}, $3 FROM event WHERE subject = $1",
        )
        .bind(subject)
        .bind(project)
        .bind(to_json("an event", kind)?)
        .execute(self.db())
        .await?;
        self.changed.events = true;
        Ok(())
    }
}

impl Store {
    /// Appends an event of the lease's service that is no change of its row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`], [`StoreError::Unavailable`].
    pub async fn append_event(&self, lease: &Lease, kind: &EventKind) -> Result<(), StoreError> {
        let (lease, kind) = (lease.key(), kind.clone());
        self.write(move |tx| Box::pin(tx.append_event(lease, kind))).await
    }

    /// Events of a subject after `after_seq`, oldest first, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_events(&self, subject: &str, after_seq: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let rows: Vec<EventRow> = self
            .read(async |db| {
                Ok(query(
                    "SELECT subject, seq, project, at, kind FROM event
                     WHERE subject = $1 AND seq > $2 ORDER BY seq LIMIT $3",
                )
                .bind(subject)
                .bind(cursor(after_seq))
                .bind(page(limit))
                .fetch_all(db)
                .await?)
            })
            .await?;
        rows.into_iter().map(EventRow::read).collect()
    }
}

//! Events: appended in the transaction of what they tell, read by cursor.

use shipway_model::{Event, EventKind};
use sqlx::FromRow;

use crate::door::{Durability, Tx};
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
    ///
    /// Only in a transaction that survives a power cut: a reader whose cursor stands at an
    /// event that was lost would miss the one that gets its number.
    pub(crate) async fn event(&mut self, subject: &str, project: &str, kind: &EventKind) -> Result<(), StoreError> {
        debug_assert_eq!(self.durability(), Durability::Power, "an event of {subject} could be lost");
        self.lock(subject.to_owned()).await?;
        self.append(subject, project, kind).await?;
        self.changed.events = true;
        Ok(())
    }
}

/// What happened to a task.
pub(crate) struct Step<'a> {
    pub(crate) task: &'a str,
    pub(crate) project: &'a str,
    pub(crate) change: &'a str,
    pub(crate) token: i64,
    pub(crate) attempt: i64,
    pub(crate) note: Option<&'a str>,
}

impl Tx {
    /// Appends to a task's history, in the transaction of what it tells. The row of the
    /// task was changed by this transaction and is locked by it, so the number is right;
    /// and nobody waits for these, so nobody is woken.
    pub(crate) async fn step(&mut self, step: Step<'_>) -> Result<(), StoreError> {
        let kind = EventKind::Task {
            change: step.change.to_owned(),
            token: step.token,
            attempt: u32::try_from(step.attempt).unwrap_or(0),
            note: step.note.map(str::to_owned),
        };
        self.append(&format!("task/{}", step.task), step.project, &kind).await
    }

    async fn append(&mut self, subject: &str, project: &str, kind: &EventKind) -> Result<(), StoreError> {
        query(
            "INSERT INTO event (subject, seq, project, at, kind)
             SELECT $1, coalesce(max(seq), 0) + 1, $2, {now}, $3 FROM event WHERE subject = $1",
        )
        .bind(subject)
        .bind(project)
        .bind(to_json("an event", kind)?)
        .later(self.db())
        .await?;
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

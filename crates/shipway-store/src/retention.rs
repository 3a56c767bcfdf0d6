//! Forgetting what has been kept long enough: ended tasks with their histories, old events,
//! expired tokens.
//!
//! What is old is the caller's to say; that nothing is taken which is still needed is seen
//! to here, in the transaction that takes it. Each call removes a bounded number of rows,
//! so that the queue never waits long for one; the caller calls again. Any number of
//! processes may do it at once: a row is taken by one of them.

use std::time::Duration;

use shipway_model::{EventKind, Micros};
use sqlx::FromRow;

use crate::door::Tx;
use crate::query::query;
use crate::values::{cursor, micros, number, page};
use crate::{Store, StoreError};

/// A task that ended a shorter time ago than this stays, whatever else is said: somebody
/// may be about to hear of its end.
const ENDED_LEAST: Duration = Duration::from_secs(3600);

/// Which ended tasks are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldTasks {
    /// Those that were given up, or all others.
    pub given_up: bool,
    /// Those that ended longer ago than this.
    pub age: Duration,
    /// And those with this number or a smaller one, see [`Store::find_ended_beyond`].
    pub up_to: Option<u64>,
}

/// The events of one subject, from afar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Whose: `service/<id>`, `build/<id>`, `token/<id>`, `image/<project>/<name>`.
    pub subject: String,
    /// The number of the first one that is kept.
    pub first: u64,
    /// The number of the last one.
    pub last: u64,
    /// How long ago the last one was, in microseconds.
    pub quiet_for: Micros,
    /// The service or the token is no more, and no event will follow.
    pub gone: bool,
}

/// Whether the subject in this column can have no more events. What has a name instead of
/// an id may come again.
macro_rules! gone {
    ($subject:literal) => {
        concat!(
            "CASE WHEN ",
            $subject,
            " LIKE 'service/%' THEN NOT EXISTS (SELECT 1 FROM service WHERE id = substr(",
            $subject,
            ", 9)) WHEN ",
            $subject,
            " LIKE 'build/%' THEN NOT EXISTS (SELECT 1 FROM build WHERE id = substr(",
            $subject,
            ", 7)) WHEN ",
            $subject,
            " LIKE 'token/%' THEN NOT EXISTS (SELECT 1 FROM token WHERE id = substr(",
            $subject,
            ", 7)) ELSE 1 = 0 END"
        )
    };
}

#[derive(FromRow)]
struct TimelineRow {
    subject: String,
    first: i64,
    last: i64,
    quiet_for: i64,
    gone: bool,
}

impl TimelineRow {
    fn read(self) -> Result<Timeline, StoreError> {
        Ok(Timeline {
            subject: self.subject,
            first: number("an event's number", self.first)?,
            last: number("an event's number", self.last)?,
            quiet_for: self.quiet_for.max(0),
            gone: self.gone,
        })
    }
}

impl Store {
    /// The number of the newest ended task that has `newer` newer ones of its sort (given
    /// up, or not) after it; `None` when there are not so many.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn find_ended_beyond(&self, newer: u64, given_up: bool) -> Result<Option<u64>, StoreError> {
        let found: Option<i64> = self
            .read(async |db| {
                let sql = "SELECT number FROM task
                     WHERE state IN ('done', 'failed') AND (given_up_at IS NOT NULL) = $1
                     ORDER BY number DESC LIMIT 1 OFFSET $2";
                Ok(query(sql).bind(given_up).bind(cursor(newer)).scalar_optional(db).await?)
            })
            .await?;
        found.map(|found| number("a task's number", found)).transpose()
    }

    /// Forgets ended tasks that are old, with their histories, oldest first, at most
    /// `limit`. What ended within the last hour stays. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn forget_tasks(&self, old: OldTasks, limit: u32) -> Result<u64, StoreError> {
        self.write(move |tx| Box::pin(tx.forget_tasks(old, limit))).await
    }

    /// Timelines in the order of their subjects, after `after`, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX); histories of tasks, which go with their
    /// tasks, are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_timelines(&self, after: &str, limit: u32) -> Result<Vec<Timeline>, StoreError> {
        let rows: Vec<TimelineRow> =
            self.read(async |db| Ok(query(TIMELINES).bind(after).bind(page(limit)).fetch_all(db).await?)).await?;
        rows.into_iter().map(TimelineRow::read).collect()
    }

    /// Forgets events of a subject up to number `up_to`, oldest first, at most `limit`. The
    /// last one stays as long as another may follow: its number is what the next one's is
    /// counted from. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn forget_events(&self, subject: &str, up_to: u64, limit: u32) -> Result<u64, StoreError> {
        let subject = subject.to_owned();
        self.write(move |tx| Box::pin(tx.forget_events(subject, up_to, limit))).await
    }

    /// Forgets tokens that have not worked for so long, at most `limit`, with an event for
    /// each. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn forget_tokens(&self, expired_for: Duration, limit: u32) -> Result<u64, StoreError> {
        self.write(move |tx| Box::pin(tx.forget_tokens(expired_for, limit))).await
    }
}

/// Subjects are found by hopping through the index, not by walking all events, and over all
/// histories of tasks at once (`task0` is what follows on everything that begins with `task/`).
const TIMELINES: &str = concat!(
    "WITH RECURSIVE seen (subject, place) AS (
         SELECT (SELECT min(e.subject) FROM event e WHERE e.subject > $1), 1
         UNION ALL
         SELECT (SELECT min(e.subject) FROM event e WHERE e.subject > CASE
                     WHEN seen.subject >= 'task/' AND seen.subject < 'task0' THEN 'task0'
                     ELSE seen.subject END), seen.place + 1
         FROM seen WHERE seen.subject IS NOT NULL AND seen.place <= $2)
     SELECT subject,
         (SELECT min(seq) FROM event e WHERE e.subject = seen.subject) AS first,
         (SELECT max(seq) FROM event e WHERE e.subject = seen.subject) AS last,
         {now} - (SELECT e.at FROM event e WHERE e.subject = seen.subject ORDER BY e.seq DESC LIMIT 1) AS quiet_for, ",
    gone!("subject"),
    " AS gone FROM seen
     WHERE subject IS NOT NULL AND NOT (subject >= 'task/' AND subject < 'task0')
     ORDER BY subject LIMIT $2"
);

const FORGET_EVENTS: &str = concat!(
    "DELETE FROM event WHERE subject = $1 AND seq IN (
         SELECT seq FROM event WHERE subject = $1 AND seq <= $2
           AND (seq < (SELECT max(seq) FROM event WHERE subject = $1) OR ",
    gone!("$1"),
    ") ORDER BY seq LIMIT $3)"
);

impl Tx {
    async fn forget_tasks(&mut self, old: OldTasks, limit: u32) -> Result<u64, StoreError> {
        // Two that forget at once each take what the other has not.
        let forgotten: Vec<String> = query(
            "WITH old AS MATERIALIZED (
                 SELECT t.number FROM task t
                 WHERE t.state IN ('done', 'failed') AND (t.given_up_at IS NOT NULL) = $1
                   AND t.ended_at < {now} - $2 AND (t.ended_at < {now} - $3 OR t.number <= $4)
                 ORDER BY t.number LIMIT $5 {skip_locked})
             DELETE FROM task WHERE number IN (SELECT number FROM old) RETURNING id",
        )
        .bind(old.given_up)
        .bind(micros(ENDED_LEAST))
        .bind(micros(old.age))
        .bind(old.up_to.map_or(-1, cursor))
        .bind(page(limit))
        .scalars(self.db())
        .await?;
        if !forgotten.is_empty() {
            let places: Vec<String> = (1..=forgotten.len()).map(|place| format!("${place}")).collect();
            let histories = query(format!("DELETE FROM event WHERE subject IN ({})", places.join(", ")));
            let histories = forgotten.iter().fold(histories, |query, task| query.bind(format!("task/{task}")));
            histories.execute(self.db()).await?;
        }
        Ok(forgotten.len() as u64)
    }

    async fn forget_events(&mut self, subject: String, up_to: u64, limit: u32) -> Result<u64, StoreError> {
        let sql = query(FORGET_EVENTS);
        Ok(sql.bind(subject).bind(cursor(up_to)).bind(page(limit)).execute(self.db()).await?)
    }

    async fn forget_tokens(&mut self, expired_for: Duration, limit: u32) -> Result<u64, StoreError> {
        let mut gone: Vec<(String, String)> = query(
            "DELETE FROM token WHERE id IN (
                 SELECT id FROM token WHERE expires_at < {now} - $1 ORDER BY id LIMIT $2)
             RETURNING id, project",
        )
        .bind(micros(expired_for))
        .bind(page(limit))
        .fetch_all(self.db())
        .await?;
        // In one order, as whoever locks several must.
        gone.sort();
        for (id, project) in &gone {
            let expired = EventKind::Token { change: "expired".to_owned(), actor: "system".to_owned() };
            self.event(&format!("token/{id}"), project, &expired).await?;
        }
        Ok(gone.len() as u64)
    }
}

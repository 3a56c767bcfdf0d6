//! Taking the next task, and knowing when there will be one.
//!
//! Projects take turns: each has the first task of its own that can be claimed now, and
//! the one goes first that has the least at work for its priority ([`Head::weight`]).
//! Within a project it is the larger priority, then the order of asking; tasks of one
//! subject never pass each other.
//!
//! What a version cannot read it leaves to a newer one, if there may be any: if the database
//! has a newer schema than it knows. It gives the task back, charged, and notes that versions
//! up to its own could not read it; newer ones take it at once, the others look again after
//! ever longer rests, until its attempts are over.
//!
//! On PostgreSQL several processes claim at once. Each skips what another one has its
//! hands on; where two meet on one subject, an index refuses the second, which looks again.

use std::collections::BTreeSet;
use std::time::Duration;

use shipway_model::task::Failure;
use shipway_model::{FailureCode, Micros, Task};
use sqlx::FromRow;

use crate::db::Db;
use crate::door::{Durability, Tx};
use crate::events::Step;
use crate::held::{Held, LeaseKey};
use crate::query::{Query, query};
use crate::tasks::TaskRow;
use crate::values::micros;
use crate::{Lease, LeaseTerms, Store, StoreError, measure, postgres, sqlite};

/// Tasks that make no sense and are put aside in one call of `claim`, before it
/// answers that there is nothing: whoever claims has other things to do as well.
const PUT_ASIDE_MAX: u32 = 16;

/// How often a claim that came second looks again. Each time, somebody else got work.
const CONFLICTS_MAX: u32 = 16;

/// Projects looked at in one claim.
const PROJECTS_MAX: i64 = 1000;

/// So much more priority halves a project's weight: a hundred steps are worth as much as
/// one running task.
const PRIORITY_HALVES: f64 = 100.0;

/// Who takes tasks, and which ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claimant {
    /// The worker's name, in leases and events; unique among those that live.
    pub worker: String,
    /// The engine root it has. Tasks that belong to an engine go only to a worker of
    /// it; a service that belongs to none belongs to the engine of the first worker that
    /// takes a task of it. Without one, a worker takes what belongs to none.
    pub engine: Option<String>,
    /// What it offers. A task that needs something else is not for it.
    pub labels: BTreeSet<String>,
    /// Tasks of one project that may be at work at once, over all workers.
    pub project_max: Option<u32>,
}

impl Claimant {
    /// A worker that takes whatever belongs to no engine and needs no label.
    #[must_use]
    pub fn named(worker: impl Into<String>) -> Self {
        Self { worker: worker.into(), ..Self::default() }
    }

    /// Labels in one text, each between commas.
    fn labels(&self) -> String {
        self.labels.iter().fold(String::from(","), |all, label| format!("{all}{label},"))
    }

    fn bind(&self, query: Query, known: i64) -> Query {
        let engine = self.engine.as_deref().unwrap_or_default();
        query.bind(&self.worker).bind(engine).bind(self.labels()).bind(self.cap()).bind(known)
    }

    fn cap(&self) -> Option<i64> {
        self.project_max.map(i64::from)
    }
}

/// Until when what could not be read rests for versions that could not read it: five seconds
/// longer after each attempt, four minutes in all. Somebody may be about to start a newer one.
macro_rules! unread_until {
    () => {
        "t.claimed_at + t.attempt * 5000000"
    };
}

pub(crate) const UNREAD_UNTIL: &str = unread_until!();

/// A queued task `t` that nothing of the same subject stands before (no running task,
/// and none asked for earlier that still has to run; a `repair` that waits for its time is
/// the exception: it lets the changes of users pass), and that this claimant may take:
/// `$1` the worker, `$2` its engine, `$3` its labels, `$4` the cap of a project, `$5` the
/// newest schema that it knows. (A claim in the future is one before the clock was set back.)
///
/// `(SELECT 1 … LIMIT 1) IS NULL` says what `NOT EXISTS` says, and leaves PostgreSQL no
/// choice but to look into the index; as a join it may walk all tasks at work, those that
/// have ended since the last vacuum included.
macro_rules! claimable {
    () => {
        concat!(
            "t.state = 'queued'
         AND (SELECT 1 FROM task r WHERE r.subject = t.subject AND r.state = 'running' LIMIT 1) IS NULL
         AND (SELECT 1 FROM task e
             WHERE e.subject = t.subject AND e.state = 'queued' AND e.number < t.number
               AND (e.kind <> 'repair' OR e.not_before <= {now}) LIMIT 1) IS NULL
         AND coalesce(t.engine, (SELECT s.engine FROM service s WHERE s.id = t.subject), $2) = $2
         AND (t.labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM {each_label} WHERE {place_of}($3, ',' || label.value || ',') = 0))
         AND (CAST($4 AS BIGINT) IS NULL OR (SELECT count(*) FROM task r WHERE r.state = 'running' AND r.project = t.project) < $4)
         AND (t.unread_by IS NULL OR t.unread_by < $5 OR t.claimed_at > {now} OR ",
            unread_until!(),
            " <= {now})
         AND NOT EXISTS (SELECT 1 FROM worker w WHERE w.id = $1 AND w.state <> 'active')"
        )
    };
}

/// The first claimable task of each project that has any queued. The projects are found
/// by hopping through an index, not by walking all that is queued.
pub(crate) const HEADS: &str = concat!(
    "WITH RECURSIVE waiting (project) AS (
         SELECT min(project) FROM task WHERE state = 'queued'
         UNION ALL
         SELECT (SELECT min(q.project) FROM task q WHERE q.state = 'queued' AND q.project > waiting.project)
         FROM waiting WHERE waiting.project IS NOT NULL),
     head AS MATERIALIZED (
         SELECT waiting.project, (
             SELECT t.number FROM task t
             WHERE t.project = waiting.project AND t.not_before <= {now} AND ",
    claimable!(),
    "        ORDER BY t.priority DESC, t.number LIMIT 1) AS number
         FROM waiting WHERE waiting.project IS NOT NULL)
     SELECT head.number, head.project,
         (SELECT h.priority FROM task h WHERE h.number = head.number) AS priority,
         (SELECT count(*) FROM task r WHERE r.state = 'running' AND r.project = head.project) AS running
     FROM head WHERE head.number IS NOT NULL LIMIT $6"
);

/// Takes the first task of a project: `$6` the heartbeat, `$7` the deadline.
macro_rules! claim_of {
    ($project:literal) => {
        concat!(
            "WITH next AS MATERIALIZED (
         SELECT t.number FROM task t
         WHERE t.project = ",
            $project,
            " AND t.not_before <= {now} AND ",
            claimable!(),
            " ORDER BY t.priority DESC, t.number LIMIT 1 {skip_locked})
     UPDATE task SET
         state = 'running', worker = $1, attempt = attempt + 1, claimed_at = {now},
         lease_token = {next_token}, lease_until = {now} + $6, deadline_at = {now} + $7
     WHERE number = (SELECT number FROM next)
     RETURNING id, project, subject, payload, state, not_before, outcome, attempt,
         lease_token, lease_until, deadline_at"
        )
    };
}

/// Takes the first task of project `$8`.
pub(crate) const CLAIM: &str = claim_of!("$8");

/// Takes the first task of the only project that has any queued; nothing when several have.
pub(crate) const CLAIM_OF_ONLY: &str = claim_of!(
    "(SELECT min(q.project) FROM task q WHERE q.state = 'queued')
           AND t.project = (SELECT max(q.project) FROM task q WHERE q.state = 'queued')"
);

/// The first task of a project.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Head {
    number: i64,
    project: String,
    priority: i64,
    running: i64,
}

impl Head {
    /// The least goes first: (running + 1) · 2^(−priority / 100).
    #[expect(clippy::cast_precision_loss, reason = "numbers of tasks and priorities are small")]
    fn weight(&self) -> f64 {
        (self.running as f64 + 1.0) * (-(self.priority as f64) / PRIORITY_HALVES).exp2()
    }
}

/// Whose turn it is, first to last.
fn in_turn(mut heads: Vec<Head>) -> Vec<Head> {
    heads.sort_by(|a, b| {
        let by_weight = a.weight().total_cmp(&b.weight());
        by_weight.then(b.priority.cmp(&a.priority)).then(a.number.cmp(&b.number))
    });
    heads
}

#[derive(FromRow)]
struct ClaimedRow {
    #[sqlx(flatten)]
    task: TaskRow,
    lease_token: i64,
    lease_until: i64,
    deadline_at: i64,
}

impl Store {
    /// Takes the next task that is due, whose subject is free, and that is for this
    /// claimant: projects take turns; within one it is the larger priority, then the order
    /// of asking. Tasks of one subject go strictly in that order, except that a `repair`
    /// waiting for its time lets others pass. A worker that is not active gets nothing.
    ///
    /// A row that cannot be read is ended as failed, so that it does not stand
    /// before all others for ever; see [`list_given_up`](Self::list_given_up). Where a newer
    /// version has migrated the database, it is left to that for its attempts.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn claim(&self, claimant: &Claimant, terms: LeaseTerms) -> Result<Option<Lease>, StoreError> {
        for _ in 0..PUT_ASIDE_MAX {
            let Some(row) = self.claim_row(claimant, terms).await? else {
                return Ok(None);
            };
            let (key, due) = (row.key(), row.task.not_before);
            match row.read() {
                Ok(lease) => {
                    measure::claimed(&lease, due, terms);
                    return Ok(Some(lease));
                }
                Err(error) => self.put_aside(key, &error).await?,
            }
        }
        Ok(None)
    }

    /// A power cut that takes a claim takes the one who claimed, and the task is queued as
    /// before. PostgreSQL may lose it while he lives on, and its sequence of tokens with it:
    /// then the next claim could get the token that he still holds.
    async fn claim_row(&self, claimant: &Claimant, terms: LeaseTerms) -> Result<Option<ClaimedRow>, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let claimant = claimant.clone();
            match self.write_surviving(Durability::Host, move |tx| Box::pin(tx.claim(claimant, terms))).await? {
                Tried::Taken(row) => return Ok(Some(row)),
                Tried::Nothing => return Ok(None),
                Tried::CameSecond => {}
            }
        }
        Ok(None)
    }

    /// Ends a task that cannot be read, or leaves it to a newer version. It goes by its
    /// lease, like all ends.
    async fn put_aside(&self, key: LeaseKey, error: &StoreError) -> Result<(), StoreError> {
        tracing::error!(task.id = %key.task, %error, "task put aside: it cannot be read");
        match self.write(move |tx| Box::pin(tx.put_aside(key))).await {
            // Its lease has run out already: whoever claims it next puts it aside.
            Err(StoreError::Stale) => Ok(()),
            done => done,
        }
    }

    /// When the next task can be claimed at the earliest: a time that has passed
    /// when one can be right now, `None` when there is none but those that wait
    /// for another task of their subject or of their project. Asked after
    /// [`claim`](Self::claim) said no, to know how long to sleep unless a notice comes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn next_due(&self, claimant: &Claimant) -> Result<Option<Micros>, StoreError> {
        self.read(async |db| {
            let sql = concat!("SELECT min(t.not_before) FROM task t WHERE ", claimable!());
            Ok(claimant.bind(query(sql), self.0.schema.known).scalar(db).await?)
        })
        .await
    }
}

fn unreadable() -> Failure {
    Failure {
        code: FailureCode::Internal,
        detail: "this change was recorded in a form that cannot be read".to_owned(),
        hint: Some("ask for it again".to_owned()),
        log_tail: Vec::new(),
    }
}

/// What a try to claim came to.
enum Tried {
    Taken(ClaimedRow),
    Nothing,
    /// Another claim took a task of the same subject at the same moment.
    CameSecond,
}

impl Tx {
    async fn put_aside(&mut self, key: LeaseKey) -> Result<(), StoreError> {
        let held = Held::by(self, key).await?;
        // Now, and not as it was a second ago: its writer may have just begun.
        if self.look_at_schema().await? <= self.schema().known {
            return held.give_up(self, unreadable()).await;
        }
        query("UPDATE task SET unread_by = $2 WHERE id = $1")
            .bind(&held.id)
            .bind(self.schema().known)
            .later(self.db())
            .await?;
        held.put_back(self, Duration::ZERO, true, "no version that is here can read it").await
    }

    async fn claim(&mut self, claimant: Claimant, terms: LeaseTerms) -> Result<Tried, StoreError> {
        // Whose turn it is need not be asked where only one waits, and mostly one does.
        if claimant.project_max.is_none() && !self.projects_take_turns() {
            let taken = self.take_of(&claimant, terms, None).await?;
            if !matches!(taken, Tried::Nothing) {
                return Ok(taken);
            }
        }
        let heads: Vec<Head> =
            claimant.bind(query(HEADS), self.schema().known).bind(PROJECTS_MAX).fetch_all(self.db()).await?;
        self.note_turns(heads.len() > 1);
        for head in in_turn(heads) {
            if claimant.project_max.is_some() {
                // Two that count what is running must do it one after the other.
                self.lock(format!("project/{}", head.project)).await?;
            }
            let taken = self.take_of(&claimant, terms, Some(&head.project)).await?;
            if !matches!(taken, Tried::Nothing) {
                return Ok(taken);
            }
        }
        Ok(Tried::Nothing)
    }

    /// Takes the first task of a project; of the only one that waits, without its name.
    async fn take_of(
        &mut self,
        claimant: &Claimant,
        terms: LeaseTerms,
        project: Option<&str>,
    ) -> Result<Tried, StoreError> {
        let (heartbeat, deadline) = (micros(terms.heartbeat), micros(terms.deadline));
        let claim = query(if project.is_some() { CLAIM } else { CLAIM_OF_ONLY });
        let claim = claimant.bind(claim, self.schema().known).bind(heartbeat.min(deadline)).bind(deadline);
        let claim = if let Some(project) = project { claim.bind(project) } else { claim };
        match claim.fetch_optional::<ClaimedRow>(self.db()).await {
            Err(error) if postgres::is_claim_conflict(&error) => {
                self.undo = true;
                Ok(Tried::CameSecond)
            }
            Err(error) => Err(error.into()),
            Ok(None) => Ok(Tried::Nothing),
            Ok(Some(row)) => {
                self.claimed(claimant, &row).await?;
                Ok(Tried::Taken(row))
            }
        }
    }

    async fn claimed(&mut self, claimant: &Claimant, row: &ClaimedRow) -> Result<(), StoreError> {
        if let Db::Sqlite(..) = self.db() {
            query(sqlite::TOKEN_TAKEN).later(self.db()).await?;
        }
        let (task, project, note) = (&row.task.id, &row.task.project, Some(claimant.worker.as_str()));
        let (token, attempt) = (row.lease_token, row.task.attempt);
        self.step(Step { task, project, change: "claimed", token, attempt, note }).await?;
        if let Some(engine) = &claimant.engine {
            query("UPDATE service SET engine = $2 WHERE id = $1 AND engine IS NULL")
                .bind(&row.task.subject)
                .bind(engine)
                .later(self.db())
                .await?;
        }
        Ok(())
    }
}

impl ClaimedRow {
    fn key(&self) -> LeaseKey {
        LeaseKey { task: self.task.id.clone(), subject: self.task.subject.clone(), token: self.lease_token }
    }

    fn read(self) -> Result<Lease, StoreError> {
        let task: Task = self.task.read()?;
        Ok(Lease { task, token: self.lease_token, until: self.lease_until, deadline: self.deadline_at })
    }
}

#[cfg(test)]
mod tests;

//! Builds: asked for, made, published, cancelled.
//!
//! Equal work is done once: a build's key names everything that decides its output, and of
//! two who ask for one key at once both are given one build. The rule is kept by the key's
//! lock, and again by two unique indexes.

use std::collections::BTreeSet;
use std::time::Duration;

use shipway_model::task::{BUILD, BUILDS};
use shipway_model::{
    Artifact, Build, BuildId, BuildState, Digest, Document, EventKind, Failure, FailureCode, Made, Micros, Outcome,
    ProjectName, TaskId, TaskPayload,
};
use sqlx::FromRow;
use uuid::Uuid;

use crate::db::Db;
use crate::door::Tx;
use crate::events::Step;
use crate::held::{Held, LeaseKey};
use crate::query::query;
use crate::requests::NewTask;
use crate::values::{cursor, from_json, micros, number, page, parse, present, subject_lock, timeline, to_json};
use crate::{Lease, Store, StoreError};

/// A build is looked at again after this long even when no notice came.
const REREAD: Duration = Duration::from_secs(1);

/// What is said of a build that was made.
const MADE: Outcome = Outcome::Done { release: None, changed: true };

/// What somebody wants built.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Whose it is to be.
    pub project: ProjectName,
    /// The name of its recipe.
    pub recipe: String,
    /// Its key, see [`Build::key`].
    pub key: String,
    /// What it is, as JSON.
    pub spec: String,
    /// Who asks: a token's id, `local`, or `system`.
    pub actor: String,
    /// The generation that is not good enough: 0 when any is.
    pub after: u32,
    /// What its worker must offer beside making builds.
    pub labels: BTreeSet<String>,
}

/// Who works on a build, as its task says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildWork {
    /// How often it was begun and charged.
    pub attempt: u64,
    /// How often it may be.
    pub attempts_max: u64,
    /// The last worker that had it.
    pub worker: Option<String>,
    /// When that took it.
    pub claimed_at: Option<Micros>,
    /// Until when its lease lasts unless renewed, while it works.
    pub lease_until: Option<Micros>,
    /// When the work ended.
    pub ended_at: Option<Micros>,
}

/// Which builds to list; all that is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildFilter {
    /// Only of this recipe.
    pub recipe: Option<String>,
    /// Only in this state: a word as `building`.
    pub state: Option<String>,
}

macro_rules! columns {
    () => {
        "build.number, build.id, build.project, recipe, build_key, generation, spec, state, failure, created_at,
         updated_at, digest, size_bytes, file_name, chunks, made_at"
    };
}

macro_rules! select {
    ($condition:literal) => {
        concat!("SELECT ", columns!(), " FROM build LEFT JOIN artifact ON artifact.build = build.id WHERE ", $condition)
    };
}

#[derive(FromRow)]
struct BuildRow {
    number: i64,
    id: String,
    project: String,
    recipe: String,
    build_key: String,
    generation: i64,
    spec: String,
    state: String,
    failure: Option<String>,
    created_at: i64,
    updated_at: i64,
    digest: Option<String>,
    size_bytes: Option<i64>,
    file_name: Option<String>,
    chunks: Option<String>,
    made_at: Option<i64>,
}

impl BuildRow {
    fn read(self) -> Result<Build, StoreError> {
        Ok(Build {
            id: parse("a build's id", &self.id)?,
            number: number("a build's number", self.number)?,
            project: parse("a build's project", &self.project)?,
            generation: number("a build's generation", self.generation)?,
            state: self.state()?,
            recipe: self.recipe,
            key: self.build_key,
            spec: self.spec,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }

    fn state(&self) -> Result<BuildState, StoreError> {
        Ok(match self.state.as_str() {
            "pending" => BuildState::Pending,
            "building" => BuildState::Building,
            "success" => BuildState::Success(self.artifact()?),
            "failed" => BuildState::Failed(from_json(
                "a build's failure",
                present("a build's failure", self.failure.as_ref())?,
            )?),
            "cancelled" => BuildState::Cancelled,
            word => return Err(StoreError::Corrupt(format!("a build cannot be {word:?}"))),
        })
    }

    fn artifact(&self) -> Result<Artifact, StoreError> {
        Ok(Artifact {
            digest: parse("an artifact's digest", present("an artifact", self.digest.as_ref())?)?,
            size_bytes: number("an artifact's size", present("an artifact's size", self.size_bytes)?)?,
            file_name: present("an artifact's name", self.file_name.clone())?,
            chunks: self.chunks.as_deref().map(|chunks| parse("an artifact's chunks", chunks)).transpose()?,
            made_at: present("an artifact's time", self.made_at)?,
        })
    }
}

#[derive(FromRow)]
struct WorkRow {
    attempt: i64,
    attempts_max: i64,
    worker: Option<String>,
    claimed_at: Option<i64>,
    lease_until: Option<i64>,
    ended_at: Option<i64>,
}

async fn find(db: &mut Db, id: &str) -> Result<Option<Build>, StoreError> {
    let row: Option<BuildRow> = query(select!("build.id = $1")).bind(id).fetch_optional(db).await?;
    row.map(BuildRow::read).transpose()
}

async fn find_by_key(db: &mut Db, project: &str, key: &str) -> Result<Option<Build>, StoreError> {
    let row: Option<BuildRow> =
        query(select!("build.project = $1 AND build_key = $2 ORDER BY generation DESC LIMIT 1"))
            .bind(project)
            .bind(key)
            .fetch_optional(db)
            .await?;
    row.map(BuildRow::read).transpose()
}

impl Store {
    /// Asks for a build. Of one key there is one, whoever asks: the newest is returned as it
    /// is, unless its generation is `after` or below and it has ended: then the next one is
    /// made, with its task. The flag says whether it was.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn request_build(&self, request: BuildRequest) -> Result<(Build, bool), StoreError> {
        self.write(move |tx| Box::pin(tx.request_build(request))).await
    }

    /// Finds a build.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_build(&self, id: BuildId) -> Result<Option<Build>, StoreError> {
        self.read(async |db| find(db, &id.to_string()).await).await
    }

    /// Finds the newest build of a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_build_of_key(&self, project: &ProjectName, key: &str) -> Result<Option<Build>, StoreError> {
        self.read(async |db| find_by_key(db, project.as_str(), key).await).await
    }

    /// Finds the newest build that made an artifact of this digest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_build_of_artifact(
        &self,
        project: &ProjectName,
        digest: &Digest,
    ) -> Result<Option<Build>, StoreError> {
        let sql = select!("build.project = $1 AND artifact.digest = $2 ORDER BY build.number DESC LIMIT 1");
        let row: Option<BuildRow> = self
            .read(async |db| Ok(query(sql).bind(project.as_str()).bind(digest.to_string()).fetch_optional(db).await?))
            .await?;
        row.map(BuildRow::read).transpose()
    }

    /// Builds of a project, what was asked for last first, below number `before`, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_builds(
        &self,
        project: &ProjectName,
        filter: &BuildFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Build>, StoreError> {
        let sql = select!(
            "build.project = $1 AND build.number < $2 AND recipe = coalesce($3, recipe)
             AND state = coalesce($4, state) ORDER BY build.number DESC LIMIT $5"
        );
        let rows: Vec<BuildRow> = self
            .read(async |db| {
                let query = query(sql).bind(project.as_str()).bind(before.map_or(i64::MAX, cursor));
                Ok(query.bind(&filter.recipe).bind(&filter.state).bind(page(limit)).fetch_all(db).await?)
            })
            .await?;
        rows.into_iter().map(BuildRow::read).collect()
    }

    /// Who works on a build, or did last; `None` when that was long ago.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_build_work(&self, id: BuildId) -> Result<Option<BuildWork>, StoreError> {
        let row: Option<WorkRow> = self
            .read(async |db| {
                let sql = "SELECT attempt, attempts_max, worker, claimed_at, lease_until, ended_at FROM task
                     WHERE id = (SELECT task FROM build WHERE id = $1)";
                Ok(query(sql).bind(id.to_string()).fetch_optional(db).await?)
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(BuildWork {
            attempt: number("a task's attempts", row.attempt)?,
            attempts_max: number("a task's attempts", row.attempts_max)?,
            worker: row.worker,
            claimed_at: row.claimed_at,
            lease_until: row.lease_until,
            ended_at: row.ended_at,
        }))
    }

    /// A text that belongs to a build's artifact.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn find_document(&self, id: BuildId, document: Document) -> Result<Option<String>, StoreError> {
        self.read(async |db| {
            let sql = "SELECT text FROM document WHERE build = $1 AND kind = $2";
            Ok(query(sql).bind(id.to_string()).bind(document.word()).scalar_optional(db).await?)
        })
        .await
    }

    /// Adds what the plugins of a build register, in place of what was known of it; says whether
    /// there is an artifact that it belongs to.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn put_registrations(&self, id: BuildId, text: &str) -> Result<bool, StoreError> {
        let text = text.to_owned();
        self.write(move |tx| Box::pin(tx.put_registrations(id, text))).await
    }

    /// Which documents a build's artifact has.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn list_documents(&self, id: BuildId) -> Result<Vec<Document>, StoreError> {
        let words: Vec<String> = self
            .read(async |db| {
                let sql = "SELECT kind FROM document WHERE build = $1 ORDER BY kind";
                Ok(query(sql).bind(id.to_string()).scalars(db).await?)
            })
            .await?;
        Ok(words.iter().filter_map(|word| Document::of_word(word)).collect())
    }

    /// Waits until the build has ended, at most `limit`; returns it as it is then.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn wait_build(&self, id: BuildId, limit: Duration) -> Result<Build, StoreError> {
        // Listening before looking: an end in between is noticed.
        let mut notices = self.notices();
        let until = tokio::time::Instant::now() + limit;
        loop {
            let seen = notices.borrow_and_update().ended;
            let build = self.find_build(id).await?.ok_or(StoreError::NotFound("build"))?;
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if build.state.is_final() || left.is_zero() {
                return Ok(build);
            }
            let more_ended = notices.wait_for(|notice| notice.ended != seen);
            drop(tokio::time::timeout(left.min(REREAD), more_ended).await);
        }
    }

    /// Says that the lease's worker begins the build, and returns what it is. It may take
    /// `limit` from now, which may be longer than the lease was given for.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`], [`StoreError::NotFound`] when the build was forgotten,
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn begin_build(&self, lease: &Lease, worker: &str, limit: Duration) -> Result<Build, StoreError> {
        let (lease, worker, limit) = (lease.key(), worker.to_owned(), micros(limit));
        self.write(move |tx| Box::pin(tx.begin_build(lease, worker, limit))).await
    }

    /// Gives a build its artifact and ends its task, in one transaction. The bytes are where
    /// artifacts are kept already.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`], [`StoreError::NotFound`] when the build was forgotten,
    /// [`StoreError::Unavailable`].
    pub async fn publish_build(&self, lease: &Lease, made: &Made) -> Result<(), StoreError> {
        let (lease, made) = (lease.key(), made.clone());
        self.write(move |tx| Box::pin(tx.publish_build(lease, made))).await
    }

    /// Ends a build that nobody wants any more; one that has ended stays as it is. Whoever
    /// works on it learns with its next write that it does so in vain.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] (also for a build of another project),
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn cancel_build(&self, project: &ProjectName, id: BuildId, actor: &str) -> Result<Build, StoreError> {
        let (project, actor) = (project.clone(), actor.to_owned());
        self.write(move |tx| Box::pin(tx.cancel_build(project, id, actor))).await
    }

    /// Forgets builds that ended longer ago than `age`, or that have `newer` newer ones, with
    /// their artifacts' rows, oldest first, at most `limit`. Their events and the bytes go
    /// when nothing speaks of them any more. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn forget_builds(&self, age: Duration, newer: u64, limit: u32) -> Result<u64, StoreError> {
        let age = micros(age);
        self.write(move |tx| Box::pin(tx.forget_builds(age, newer, limit))).await
    }
}

impl Tx {
    async fn forget_builds(&mut self, age: Micros, newer: u64, limit: u32) -> Result<u64, StoreError> {
        Ok(query(
            "DELETE FROM build WHERE number IN (
                 SELECT number FROM build WHERE state IN ('success', 'failed', 'cancelled')
                   AND (updated_at < {now} - $1
                     OR number < (SELECT number FROM build ORDER BY number DESC LIMIT 1 OFFSET $2))
                 ORDER BY number LIMIT $3)",
        )
        .bind(age)
        .bind(cursor(newer))
        .bind(page(limit))
        .execute(self.db())
        .await?)
    }

    async fn request_build(&mut self, request: BuildRequest) -> Result<(Build, bool), StoreError> {
        let project = request.project.as_str();
        self.lock(format!("build-key/{project}/{}", request.key)).await?;
        let newest = find_by_key(self.db(), project, &request.key).await?;
        match newest {
            Some(newest) if newest.generation > request.after || !newest.state.is_final() => Ok((newest, false)),
            newest => self.insert_build(&request, newest.map_or(0, |newest| newest.generation) + 1).await,
        }
    }

    async fn insert_build(&mut self, request: &BuildRequest, generation: u32) -> Result<(Build, bool), StoreError> {
        let (id, project) = (BuildId(Uuid::new_v4()).to_string(), request.project.as_str());
        let work = format!("{BUILD}/{project}/{}", request.key);
        let labels: BTreeSet<&str> = request.labels.iter().map(String::as_str).chain([BUILDS]).collect();
        let labels = to_json("a task's labels", &labels)?;
        let (subject, payload, actor) = (id.as_str(), &TaskPayload::Build, request.actor.as_str());
        let (labels, work) = (Some(labels.as_str()), Some(work.as_str()));
        let task = self.enqueue_new(NewTask { project, subject, payload, actor, delay: 0, labels, work }).await?;
        query(
            "INSERT INTO build (id, project, recipe, build_key, generation, spec, state, task, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, {now}, {now})",
        )
        .bind(&id)
        .bind(project)
        .bind(&request.recipe)
        .bind(&request.key)
        .bind(i64::from(generation))
        .bind(&request.spec)
        .bind(task.to_string())
        .later(self.db())
        .await?;
        let event = EventKind::BuildRequested { generation, actor: request.actor.clone() };
        self.event(&timeline(BUILD, &id), project, &event).await?;
        let build = find(self.db(), &id).await?.ok_or(StoreError::NotFound("build"))?;
        Ok((build, true))
    }

    async fn begin_build(&mut self, lease: LeaseKey, worker: String, limit: Micros) -> Result<Build, StoreError> {
        let held = Held::by(self, lease).await?;
        query("UPDATE task SET deadline_at = {now} + $2 WHERE id = $1")
            .bind(&held.id)
            .bind(limit)
            .later(self.db())
            .await?;
        let changed = query(
            "UPDATE build SET state = 'building', updated_at = {now}
             WHERE id = $1 AND state IN ('pending', 'building')",
        )
        .bind(&held.subject)
        .execute(self.db())
        .await?;
        if changed == 0 {
            return Err(StoreError::NotFound("build"));
        }
        let attempt = u32::try_from(held.attempt).unwrap_or(0);
        self.event(&held.event_subject(), &held.project, &EventKind::BuildBegan { worker, attempt }).await?;
        find(self.db(), &held.subject).await?.ok_or(StoreError::NotFound("build"))
    }

    async fn publish_build(&mut self, lease: LeaseKey, made: Made) -> Result<(), StoreError> {
        let held = Held::by(self, lease).await?;
        let changed = query(
            "UPDATE build SET state = 'success', updated_at = {now}
             WHERE id = $1 AND state IN ('pending', 'building')",
        )
        .bind(&held.subject)
        .execute(self.db())
        .await?;
        if changed == 0 {
            return Err(StoreError::NotFound("build"));
        }
        self.insert_artifact(&held.subject, &made).await?;
        let event = EventKind::BuildSucceeded { digest: made.digest.to_string(), size_bytes: made.size_bytes };
        self.event(&held.event_subject(), &held.project, &event).await?;
        held.end(self, &MADE).await
    }

    async fn insert_artifact(&mut self, build: &str, made: &Made) -> Result<(), StoreError> {
        query(
            "INSERT INTO artifact (build, digest, size_bytes, file_name, chunks, made_at)
             VALUES ($1, $2, $3, $4, $5, {now})",
        )
        .bind(build)
        .bind(made.digest.to_string())
        .bind(cursor(made.size_bytes))
        .bind(&made.file_name)
        .bind(made.chunks.as_ref().map(ToString::to_string))
        .later(self.db())
        .await?;
        for (document, text) in &made.documents {
            query("INSERT INTO document (build, kind, text) VALUES ($1, $2, $3)")
                .bind(build)
                .bind(document.word())
                .bind(text)
                .later(self.db())
                .await?;
        }
        Ok(())
    }

    async fn put_registrations(&mut self, id: BuildId, text: String) -> Result<bool, StoreError> {
        let put = query(
            "INSERT INTO document (build, kind, text) SELECT build, $2, $3 FROM artifact WHERE build = $1
             ON CONFLICT (build, kind) DO UPDATE SET text = excluded.text",
        );
        let rows = put.bind(id.to_string()).bind(Document::Registrations.word()).bind(text).execute(self.db()).await?;
        Ok(rows > 0)
    }

    async fn cancel_build(&mut self, project: ProjectName, id: BuildId, actor: String) -> Result<Build, StoreError> {
        let id = id.to_string();
        self.lock(subject_lock(&id)).await?;
        let found = find(self.db(), &id).await?.filter(|build| build.project == project);
        let build = found.ok_or(StoreError::NotFound("build"))?;
        if build.state.is_final() {
            return Ok(build);
        }
        self.cancel_work(&id).await?;
        query("UPDATE build SET state = 'cancelled', updated_at = {now} WHERE id = $1")
            .bind(&id)
            .later(self.db())
            .await?;
        self.event(&timeline(BUILD, &id), project.as_str(), &EventKind::BuildCancelled { actor }).await?;
        find(self.db(), &id).await?.ok_or(StoreError::NotFound("build"))
    }

    /// Takes the task away from whoever has it.
    async fn cancel_work(&mut self, build: &str) -> Result<(), StoreError> {
        let failure = Failure {
            code: FailureCode::Cancelled,
            detail: "the build was cancelled".to_owned(),
            hint: None,
            log_tail: Vec::new(),
        };
        let ended: Vec<Held> = query(
            "UPDATE task SET state = 'failed', outcome = $2, ended_at = {now}
             WHERE id = (SELECT task FROM build WHERE id = $1) AND state IN ('queued', 'running')
             RETURNING id, project, subject, kind, attempt, attempts_max, lease_token",
        )
        .bind(build)
        .bind(to_json("an outcome", &Outcome::Failed(failure))?)
        .fetch_all(self.db())
        .await?;
        for held in ended {
            let (task, project) = (held.id.as_str(), held.project.as_str());
            let (token, attempt, note) = (held.lease_token, held.attempt, Some("cancelled"));
            self.step(Step { task, project, change: "failed", token, attempt, note }).await?;
        }
        self.changed.tasks = true;
        self.changed.ended = true;
        Ok(())
    }

    /// The end of a build's task is the build's, unless that is published.
    pub(crate) async fn end_build(&mut self, held: &Held, outcome: &Outcome) -> Result<(), StoreError> {
        let Outcome::Failed(failure) = outcome else { return Ok(()) };
        let changed = query(
            "UPDATE build SET state = 'failed', failure = $2, updated_at = {now}
             WHERE id = $1 AND state IN ('pending', 'building')",
        )
        .bind(&held.subject)
        .bind(to_json("a failure", failure)?)
        .execute(self.db())
        .await?;
        if changed == 0 {
            return Ok(());
        }
        let event = EventKind::BuildFailed { code: failure.code.word().to_owned(), detail: failure.detail.clone() };
        self.event(&held.event_subject(), &held.project, &event).await
    }

    /// A build whose task goes back to the queue waits again; told when it costs an attempt.
    pub(crate) async fn return_build(&mut self, held: &Held, charge: bool, cause: &str) -> Result<(), StoreError> {
        query("UPDATE build SET state = 'pending', updated_at = {now} WHERE id = $1 AND state = 'building'")
            .bind(&held.subject)
            .later(self.db())
            .await?;
        if !charge {
            return Ok(());
        }
        let event = EventKind::BuildReturned { cause: cause.to_owned() };
        self.event(&held.event_subject(), &held.project, &event).await
    }

    /// A build that was given up is to be made after all, by this task.
    pub(crate) async fn reopen_build(&mut self, build: &str, task: TaskId) -> Result<(), StoreError> {
        let changed = query(
            "UPDATE build SET state = 'pending', failure = NULL, task = $2, updated_at = {now}
             WHERE id = $1 AND state = 'failed'",
        )
        .bind(build)
        .bind(task.to_string())
        .execute(self.db())
        .await?;
        if changed == 0 { Err(StoreError::NotFound("build")) } else { Ok(()) }
    }
}

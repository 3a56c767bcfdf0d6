//! How a change comes in: one transaction makes the service if needed, enqueues
//! the task, notes what is wanted, and tells the timeline. When the answer is
//! out, the change will happen, whatever is killed.

use shipway_model::{EventKind, ProjectName, Service, ServiceId, ServiceName, TaskId, TaskPayload, Wanted};
use uuid::Uuid;

use crate::door::Tx;
use crate::events::Step;
use crate::query::query;
use crate::services;
use crate::values::{number, subject_of, to_json};
use crate::{Accepted, Request, Store, StoreError, Target};

/// How often a task is tried that never comes to an end. More, and one that kills
/// the process does so ten times; fewer, and a row of restarts fails an innocent.
const ATTEMPTS_MAX: i64 = 10;

/// All tasks are alike until there is a reason: then nobody starves.
const PRIORITY: i64 = 0;

/// Changes that may wait for one service. A client in a loop gets a 503 instead
/// of filling the disk.
const QUEUED_OF_SUBJECT_MAX: u32 = 100;

/// A task to be put into the queue.
pub(crate) struct NewTask<'a> {
    pub(crate) project: &'a str,
    /// The id of what it changes or makes.
    pub(crate) subject: &'a str,
    pub(crate) payload: &'a TaskPayload,
    pub(crate) actor: &'a str,
    /// Not before so many microseconds from now.
    pub(crate) delay: i64,
    /// What its worker must offer, as a JSON array.
    pub(crate) labels: Option<&'a str>,
    /// Of those with one of these only one can be open.
    pub(crate) work: Option<&'a str>,
}

impl Store {
    /// Accepts a change: makes the service if asked to, enqueues the task, sets
    /// `wanted`, appends the event, in one transaction.
    ///
    /// Of two equal requests at once both are accepted, with a task each.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] (also for a service of another project),
    /// [`StoreError::VersionMismatch`] (`now` is 0 when there is no service yet),
    /// [`StoreError::Deleting`], [`StoreError::Unavailable`] (also when 100
    /// changes of the service are waiting already), [`StoreError::Corrupt`].
    pub async fn request(&self, request: Request) -> Result<Accepted, StoreError> {
        self.write(move |tx| Box::pin(tx.request(request))).await
    }
}

impl Tx {
    async fn request(&mut self, request: Request) -> Result<Accepted, StoreError> {
        match self.target(&request).await? {
            Some(service) => self.accept_for(service, &request).await,
            None => self.accept_first(&request).await,
        }
    }

    /// Finds the service of a request; `None` when it is to be made.
    async fn target(&mut self, request: &Request) -> Result<Option<Service>, StoreError> {
        let found = match &request.target {
            Target::Existing(id) => {
                self.lock(subject_of(*id)).await?;
                services::find(self.db(), &id.to_string()).await?
            }
            Target::NamedOrNew(name, _) => self.named(&request.project, name).await?,
        };
        match (&request.target, &request.payload, found) {
            (_, _, Some(service)) if service.project == request.project => Ok(Some(service)),
            (Target::NamedOrNew(..), TaskPayload::Deploy(_), None) => Ok(None),
            _ => Err(StoreError::NotFound("service")),
        }
    }

    /// Finds a service by its name, and locks both: of two that are to make it, one does.
    async fn named(&mut self, project: &ProjectName, name: &ServiceName) -> Result<Option<Service>, StoreError> {
        self.lock(format!("name/{project}/{name}")).await?;
        let found = services::find_by_name(self.db(), project, name).await?;
        let Some(service) = &found else { return Ok(None) };
        if self.lock(subject_of(service.id)).await? {
            // It may have been deleted, or changed, while we waited for the lock.
            return services::find_by_name(self.db(), project, name).await;
        }
        Ok(found)
    }

    async fn accept_first(&mut self, request: &Request) -> Result<Accepted, StoreError> {
        let Target::NamedOrNew(name, id) = &request.target else {
            return Err(StoreError::NotFound("service"));
        };
        if request.if_version.is_some() {
            return Err(StoreError::VersionMismatch { now: 0 });
        }
        let service = self.insert_service(*id, &request.project, name).await?;
        self.accept(service, request, true).await
    }

    async fn accept_for(&mut self, service: Service, request: &Request) -> Result<Accepted, StoreError> {
        if request.if_version.is_some_and(|version| version != service.version) {
            return Err(StoreError::VersionMismatch { now: service.version });
        }
        if self.is_being_deleted(service.id).await? {
            return Err(StoreError::Deleting);
        }
        self.check_room(service.id).await?;
        let wanted = match request.payload {
            TaskPayload::Deploy(_) | TaskPayload::Rollback { .. } | TaskPayload::Start | TaskPayload::Restart => {
                Wanted::Running
            }
            TaskPayload::Stop | TaskPayload::Delete => Wanted::Stopped,
            // A build is nothing of a service's; it is asked for by itself.
            TaskPayload::Repair | TaskPayload::Build => service.wanted,
        };
        let service = self.update_service(service.id, &service.state, wanted).await?;
        self.accept(service, request, false).await
    }

    async fn accept(&mut self, service: Service, request: &Request, created: bool) -> Result<Accepted, StoreError> {
        let task = self.enqueue(&service, &request.payload, &request.actor, 0).await?;
        let event =
            EventKind::ChangeRequested { change: request.payload.kind().to_owned(), actor: request.actor.clone() };
        self.event(&subject_of(service.id), service.project.as_str(), &event).await?;
        Ok(Accepted { service, created, task })
    }

    /// Adds a task to the queue, not before `delay` microseconds from now.
    pub(crate) async fn enqueue(
        &mut self,
        service: &Service,
        payload: &TaskPayload,
        actor: &str,
        delay: i64,
    ) -> Result<TaskId, StoreError> {
        let (project, subject) = (service.project.as_str(), &service.id.to_string());
        self.enqueue_new(NewTask { project, subject, payload, actor, delay, labels: None, work: None }).await
    }

    /// Adds a task to the queue.
    pub(crate) async fn enqueue_new(&mut self, new: NewTask<'_>) -> Result<TaskId, StoreError> {
        let id = TaskId(Uuid::new_v4());
        let json = to_json("a task's payload", new.payload)?;
        #[cfg(feature = "next-version")]
        let json = crate::next_version::written(new.payload, json);
        query(
            "INSERT INTO task (id, project, subject, kind, priority, payload, actor, state,
                 attempt, attempts_max, lease_token, not_before, created_at, labels, work_key)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued', 0, $8, 0, {now} + $9, {now}, $10, $11)",
        )
        .bind(id.to_string())
        .bind(new.project)
        .bind(new.subject)
        .bind(new.payload.kind())
        .bind(PRIORITY)
        .bind(json)
        .bind(new.actor)
        .bind(ATTEMPTS_MAX)
        .bind(new.delay)
        .bind(new.labels)
        .bind(new.work)
        .later(self.db())
        .await?;
        let (task, project) = (&id.to_string(), new.project);
        self.step(Step { task, project, change: "queued", token: 0, attempt: 0, note: None }).await?;
        self.changed.tasks = true;
        Ok(id)
    }

    /// Whether a `delete` of the service is queued or running.
    pub(crate) async fn is_being_deleted(&mut self, id: ServiceId) -> Result<bool, StoreError> {
        // Two lookups, each by an index of its own.
        Ok(query(
            "SELECT EXISTS (SELECT 1 FROM task
                 WHERE subject = $1 AND state = 'queued' AND kind = 'delete')
             OR EXISTS (SELECT 1 FROM task
                 WHERE subject = $1 AND state = 'running' AND kind = 'delete')",
        )
        .bind(id.to_string())
        .scalar(self.db())
        .await?)
    }

    async fn check_room(&mut self, id: ServiceId) -> Result<(), StoreError> {
        let queued: i64 = query("SELECT count(*) FROM task WHERE subject = $1 AND state = 'queued'")
            .bind(id.to_string())
            .scalar(self.db())
            .await?;
        let queued: u32 = number("a count", queued)?;
        if queued < QUEUED_OF_SUBJECT_MAX {
            return Ok(());
        }
        Err(StoreError::Unavailable {
            reason: format!("{queued} changes of this service are waiting already"),
            source: None,
        })
    }
}

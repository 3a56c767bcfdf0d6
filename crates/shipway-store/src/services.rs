//! Services: finding, listing, and the changes of their state.

use shipway_model::{EventKind, ProjectName, Service, ServiceId, ServiceName, ServiceState, Wanted};
use sqlx::FromRow;

use crate::db::Db;
use crate::door::Tx;
use crate::held::{Held, LeaseKey, NOTHING_LEFT};
use crate::query::query;
use crate::values::{number, page, parse, present, subject_of};
use crate::{Lease, Store, StoreError};

macro_rules! columns {
    () => {
        "id, project, name, wanted, state, release, reason, version, created_at, updated_at, engine"
    };
}

#[derive(FromRow)]
pub(crate) struct ServiceRow {
    id: String,
    project: String,
    name: String,
    wanted: String,
    state: String,
    release: Option<i64>,
    reason: Option<String>,
    version: i64,
    created_at: i64,
    updated_at: i64,
    engine: Option<String>,
}

impl ServiceRow {
    pub(crate) fn read(self) -> Result<Service, StoreError> {
        Ok(Service {
            id: parse("a service's id", &self.id)?,
            project: parse("a service's project", &self.project)?,
            name: parse("a service's name", &self.name)?,
            wanted: read_wanted(&self.wanted)?,
            state: read_state(&self.state, self.release, self.reason)?,
            version: number("a service's version", self.version)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            engine: self.engine,
        })
    }
}

fn read_wanted(word: &str) -> Result<Wanted, StoreError> {
    match word {
        "running" => Ok(Wanted::Running),
        "stopped" => Ok(Wanted::Stopped),
        _ => Err(StoreError::Corrupt(format!("a service cannot be wanted {word:?}"))),
    }
}

pub(crate) const fn wanted_word(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Running => "running",
        Wanted::Stopped => "stopped",
    }
}

/// Makes a state of its columns.
pub(crate) fn read_state(word: &str, release: Option<i64>, reason: Option<String>) -> Result<ServiceState, StoreError> {
    let release = release.map(|release| number("a service's release", release)).transpose()?;
    Ok(match word {
        "starting" => ServiceState::Starting,
        "live" => ServiceState::Live { release: present("a live service's release", release)? },
        "unhealthy" => ServiceState::Unhealthy {
            release: present("an unhealthy service's release", release)?,
            reason: present("an unhealthy service's reason", reason)?,
        },
        "stopped" => ServiceState::Stopped { release },
        "failed" => ServiceState::Failed { reason: present("a failed service's reason", reason)? },
        _ => {
            return Err(StoreError::Corrupt(format!("a service cannot be {word:?}")));
        }
    })
}

pub(crate) fn state_reason(state: &ServiceState) -> Option<&str> {
    match state {
        ServiceState::Unhealthy { reason, .. } | ServiceState::Failed { reason } => Some(reason),
        _ => None,
    }
}

/// What the timeline says when a service goes from one state to another.
fn state_event(from: &ServiceState, to: &ServiceState) -> EventKind {
    match to {
        ServiceState::Stopped { .. } => EventKind::Stopped,
        ServiceState::Unhealthy { release, reason } => {
            EventKind::CrashLoop { release: *release, reason: reason.clone() }
        }
        _ => EventKind::StateChanged {
            from: from.word().to_owned(),
            to: to.word().to_owned(),
            reason: state_reason(to).map(str::to_owned),
        },
    }
}

/// Finds a service on any connection.
pub(crate) async fn find(db: &mut Db, id: &str) -> Result<Option<Service>, StoreError> {
    let row: Option<ServiceRow> =
        query(concat!("SELECT ", columns!(), " FROM service WHERE id = $1")).bind(id).fetch_optional(db).await?;
    row.map(ServiceRow::read).transpose()
}

/// Finds a service by its name on any connection.
pub(crate) async fn find_by_name(
    db: &mut Db,
    project: &ProjectName,
    name: &ServiceName,
) -> Result<Option<Service>, StoreError> {
    let row: Option<ServiceRow> =
        query(concat!("SELECT ", columns!(), " FROM service WHERE project = $1 AND name = $2"))
            .bind(project.as_str())
            .bind(name.as_str())
            .fetch_optional(db)
            .await?;
    row.map(ServiceRow::read).transpose()
}

impl Tx {
    async fn delete_service(&mut self, lease: LeaseKey) -> Result<(), StoreError> {
        let held = Held::by(self, lease).await?;
        query("DELETE FROM service WHERE id = $1").bind(&held.subject).later(self.db()).await?;
        self.changed.services = true;
        self.event(&held.event_subject(), &held.project, &EventKind::Deleted).await?;
        self.end_queued_of(&held.subject).await?;
        held.end(self, &NOTHING_LEFT).await
    }

    async fn set_service_state(
        &mut self,
        lease: LeaseKey,
        state: ServiceState,
        wanted: Option<Wanted>,
    ) -> Result<Service, StoreError> {
        let held = Held::by(self, lease).await?;
        let service = held.service(self).await?;
        let wanted = wanted.unwrap_or(service.wanted);
        if service.state == state && service.wanted == wanted {
            return Ok(service);
        }
        check_arrow(&service.state, &state)?;
        let changed = self.update_service(service.id, &state, wanted).await?;
        let event = state_event(&service.state, &state);
        self.event(&subject_of(service.id), service.project.as_str(), &event).await?;
        Ok(changed)
    }

    /// Makes a service that is `starting`.
    pub(crate) async fn insert_service(
        &mut self,
        id: ServiceId,
        project: &ProjectName,
        name: &ServiceName,
    ) -> Result<Service, StoreError> {
        let row: ServiceRow = query(concat!(
            "INSERT INTO service (id, project, name, wanted, state, version, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 1, {now}, {now}) RETURNING ",
            columns!()
        ))
        .bind(id.to_string())
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(wanted_word(Wanted::Running))
        .bind(ServiceState::Starting.word())
        .fetch_one(self.db())
        .await?;
        self.changed.services = true;
        row.read()
    }

    /// Writes a service's state and wish, and counts its version. The state
    /// machine and the event are the caller's business.
    pub(crate) async fn update_service(
        &mut self,
        id: ServiceId,
        state: &ServiceState,
        wanted: Wanted,
    ) -> Result<Service, StoreError> {
        let row: ServiceRow = query(concat!(
            "UPDATE service SET state = $2, release = $3, reason = $4, wanted = $5,
                 version = version + 1, updated_at = {now} WHERE id = $1 RETURNING ",
            columns!()
        ))
        .bind(id.to_string())
        .bind(state.word())
        .bind(state.live_release().map(i64::from))
        .bind(state_reason(state))
        .bind(wanted_word(wanted))
        .fetch_one(self.db())
        .await?;
        self.changed.services = true;
        row.read()
    }
}

impl Store {
    /// Finds a service by its name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_service(&self, project: &ProjectName, name: &ServiceName) -> Result<Option<Service>, StoreError> {
        self.read(async |db| find_by_name(db, project, name).await).await
    }

    /// Finds a service by its id, in any project: the caller checks whose it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_service_by_id(&self, id: ServiceId) -> Result<Option<Service>, StoreError> {
        self.read(async |db| find(db, &id.to_string()).await).await
    }

    /// Services of a project in the order of their names, after `after`, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_services(
        &self,
        project: &ProjectName,
        after: Option<&ServiceName>,
        limit: u32,
    ) -> Result<Vec<Service>, StoreError> {
        let rows: Vec<ServiceRow> = self
            .read(async |db| {
                Ok(query(concat!(
                    "SELECT ",
                    columns!(),
                    " FROM service WHERE project = $1 AND name > $2 ORDER BY name LIMIT $3"
                ))
                .bind(project.as_str())
                // Every name is greater than the empty text.
                .bind(after.map_or("", ServiceName::as_str))
                .bind(page(limit))
                .fetch_all(db)
                .await?)
            })
            .await?;
        rows.into_iter().map(ServiceRow::read).collect()
    }

    /// Services of all projects in the order of their ids, after `after`, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX): for loops that look after everything.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_all_services(&self, after: Option<ServiceId>, limit: u32) -> Result<Vec<Service>, StoreError> {
        self.services_where("", after, limit).await
    }

    /// The same, of those alone whose containers live in this engine root.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_services_of(
        &self,
        engine: &str,
        after: Option<ServiceId>,
        limit: u32,
    ) -> Result<Vec<Service>, StoreError> {
        self.services_where(engine, after, limit).await
    }

    /// Without an engine (an empty text) those of all.
    async fn services_where(
        &self,
        engine: &str,
        after: Option<ServiceId>,
        limit: u32,
    ) -> Result<Vec<Service>, StoreError> {
        let after = after.map_or_else(String::new, |id| id.to_string());
        let rows: Vec<ServiceRow> = self
            .read(async |db| {
                let sql = concat!(
                    "SELECT ",
                    columns!(),
                    " FROM service WHERE id > $1 AND ($3 = '' OR engine = $3)
                         ORDER BY id LIMIT $2"
                );
                Ok(query(sql).bind(&after).bind(page(limit)).bind(engine).fetch_all(db).await?)
            })
            .await?;
        rows.into_iter().map(ServiceRow::read).collect()
    }

    /// Changes a service's state under the lease of one of its tasks, if the state
    /// machine allows it. Appends the event that tells the change (`Stopped`,
    /// `CrashLoop` or `StateChanged`); writing what is already there changes
    /// nothing, its version included.
    ///
    /// # Errors
    ///
    /// [`StoreError::Illegal`] when the state machine has no such arrow,
    /// [`StoreError::Stale`], [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn set_service_state(
        &self,
        lease: &Lease,
        state: ServiceState,
        wanted: Option<Wanted>,
    ) -> Result<Service, StoreError> {
        let lease = lease.key();
        self.write(move |tx| Box::pin(tx.set_service_state(lease, state, wanted))).await
    }

    /// Forgets the service of the lease, with its releases and instances, and ends the task.
    /// Its events and its ended tasks remain; its name is free again. Tasks still
    /// queued for it (repairs) end with it, having nothing left to do.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`], [`StoreError::Unavailable`].
    pub async fn delete_service(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.key();
        self.write(move |tx| Box::pin(tx.delete_service(lease))).await
    }
}

/// Refuses what the state machine has no arrow for.
pub(crate) fn check_arrow(from: &ServiceState, to: &ServiceState) -> Result<(), StoreError> {
    if from.may_become(to) {
        return Ok(());
    }
    Err(StoreError::Illegal { from: Box::new(from.clone()), to: Box::new(to.clone()) })
}

//! Instances: the containers of releases, as the worker wants and sees them.
//! The row is there before the container and goes after it.

use shipway_model::{ContainerId, Instance, InstanceRole, ServiceId};
use sqlx::FromRow;

use crate::door::{Durability, Tx};
use crate::held::{Held, LeaseKey};
use crate::query::query;
use crate::values::{from_json, number, parse, to_json};
use crate::{Lease, Store, StoreError};

macro_rules! columns {
    () => {
        "container, service, release, role, endpoint, failures, started_at, handle"
    };
}

#[derive(FromRow)]
pub(crate) struct InstanceRow {
    pub(crate) container: String,
    pub(crate) service: String,
    pub(crate) release: i64,
    pub(crate) role: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) failures: i64,
    pub(crate) started_at: Option<i64>,
    pub(crate) handle: Option<String>,
}

impl InstanceRow {
    pub(crate) fn read(self) -> Result<Instance, StoreError> {
        let endpoint = self.endpoint.as_deref();
        Ok(Instance {
            container: parse("an instance's container", &self.container)?,
            service: parse("an instance's service", &self.service)?,
            release: number("an instance's release", self.release)?,
            role: read_role(&self.role)?,
            endpoint: endpoint.map(|json| from_json("an instance's endpoint", json)).transpose()?,
            failures: number("an instance's failures", self.failures)?,
            started_at: self.started_at,
            handle: self.handle,
        })
    }
}

fn read_role(word: &str) -> Result<InstanceRole, StoreError> {
    match word {
        "candidate" => Ok(InstanceRole::Candidate),
        "live" => Ok(InstanceRole::Live),
        "draining" => Ok(InstanceRole::Draining),
        _ => Err(StoreError::Corrupt(format!("an instance cannot be {word:?}"))),
    }
}

const fn role_word(role: InstanceRole) -> &'static str {
    match role {
        InstanceRole::Candidate => "candidate",
        InstanceRole::Live => "live",
        InstanceRole::Draining => "draining",
    }
}

impl Tx {
    async fn remove_instance(&mut self, lease: LeaseKey, container: ContainerId) -> Result<(), StoreError> {
        let held = Held::by(self, lease).await?;
        let was_live = self.is_live(container).await?;
        query("DELETE FROM instance WHERE container = $1 AND service = $2")
            .bind(container.to_string())
            .bind(&held.subject)
            .later(self.db())
            .await?;
        self.changed.services |= was_live;
        Ok(())
    }

    async fn put_instance(&mut self, lease: LeaseKey, instance: Instance) -> Result<(), StoreError> {
        let held = Held::by(self, lease).await?;
        if instance.service.to_string() != held.subject {
            return Err(StoreError::NotFound("service"));
        }
        let was_live = self.is_live_or_new(&instance).await?;
        if instance.role == InstanceRole::Live {
            self.demote_live_instance(instance.service, instance.container).await?;
        }
        self.upsert_instance(&held, &instance).await?;
        self.changed.services |= was_live || instance.role == InstanceRole::Live;
        Ok(())
    }

    /// Sets the live instance of a service to draining, unless it is `newcomer`.
    pub(crate) async fn demote_live_instance(
        &mut self,
        service: ServiceId,
        newcomer: ContainerId,
    ) -> Result<(), StoreError> {
        query(
            "UPDATE instance SET role = 'draining'
             WHERE service = $1 AND role = 'live' AND container <> $2",
        )
        .bind(service.to_string())
        .bind(newcomer.to_string())
        .later(self.db())
        .await?;
        Ok(())
    }

    /// Whether visitors are sent to this container now, of a release that there is.
    async fn is_live_or_new(&mut self, instance: &Instance) -> Result<bool, StoreError> {
        let (is_release, is_live): (bool, bool) = query(
            "SELECT EXISTS (SELECT 1 FROM release WHERE service = $2 AND number = $3),
                 EXISTS (SELECT 1 FROM instance WHERE container = $1 AND role = 'live')",
        )
        .bind(instance.container.to_string())
        .bind(instance.service.to_string())
        .bind(i64::from(instance.release))
        .fetch_one(self.db())
        .await?;
        if is_release { Ok(is_live) } else { Err(StoreError::NotFound("release")) }
    }

    /// Whether visitors are sent to this container now.
    async fn is_live(&mut self, container: ContainerId) -> Result<bool, StoreError> {
        Ok(query("SELECT EXISTS (SELECT 1 FROM instance WHERE container = $1 AND role = 'live')")
            .bind(container.to_string())
            .scalar(self.db())
            .await?)
    }

    /// Fails with `NotFound` when the container is another service's.
    async fn upsert_instance(&mut self, held: &Held, i: &Instance) -> Result<(), StoreError> {
        let endpoint = i.endpoint.as_ref().map(|endpoint| to_json("an endpoint", endpoint)).transpose()?;
        let put: Option<String> = query(
            "INSERT INTO instance
                 (container, service, release, project, role, endpoint, failures, started_at, handle)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (container) DO UPDATE SET
                 release = excluded.release, role = excluded.role,
                 endpoint = excluded.endpoint, failures = excluded.failures,
                 started_at = excluded.started_at, handle = excluded.handle
             WHERE instance.service = excluded.service RETURNING container",
        )
        .bind(i.container.to_string())
        .bind(i.service.to_string())
        .bind(i64::from(i.release))
        .bind(&held.project)
        .bind(role_word(i.role))
        .bind(endpoint)
        .bind(i64::from(i.failures))
        .bind(i.started_at)
        .bind(&i.handle)
        .scalar_optional(self.db())
        .await?;
        if put.is_none() {
            return Err(StoreError::NotFound("instance"));
        }
        Ok(())
    }
}

impl Store {
    /// Writes the row of a container before it is started, or what is known after. A power
    /// cut that takes it takes the container too.
    ///
    /// A service has one live instance at most: putting a second one sets the
    /// first to draining.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when the instance is of another service than the
    /// lease's, or of a release there is not; [`StoreError::Stale`],
    /// [`StoreError::Unavailable`].
    pub async fn put_instance(&self, lease: &Lease, instance: &Instance) -> Result<(), StoreError> {
        let (lease, instance) = (lease.key(), instance.clone());
        self.write_surviving(Durability::Host, move |tx| Box::pin(tx.put_instance(lease, instance))).await
    }

    /// Forgets a container that is gone. Forgetting it twice is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`], [`StoreError::Unavailable`].
    pub async fn remove_instance(&self, lease: &Lease, container: ContainerId) -> Result<(), StoreError> {
        let lease = lease.key();
        self.write_surviving(Durability::Host, move |tx| Box::pin(tx.remove_instance(lease, container))).await
    }

    /// Instances of one service, or of all.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; [`StoreError::Corrupt`] rather than a list
    /// with a gap, for what is not in it may be swept.
    pub async fn list_instances(&self, service: Option<ServiceId>) -> Result<Vec<Instance>, StoreError> {
        let rows: Vec<InstanceRow> = self
            .read(async |db| {
                let rows = match service {
                    Some(service) => query(concat!(
                        "SELECT ",
                        columns!(),
                        " FROM instance WHERE service = $1 ORDER BY release, container"
                    ))
                    .bind(service.to_string())
                    .fetch_all(db),
                    None => {
                        query(concat!("SELECT ", columns!(), " FROM instance ORDER BY service, release, container"))
                            .fetch_all(db)
                    }
                };
                Ok(rows.await?)
            })
            .await?;
        rows.into_iter().map(InstanceRow::read).collect()
    }
}

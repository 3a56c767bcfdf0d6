//! The routing table, read whole: services beside their live instances.

use sqlx::FromRow;

use crate::instances::InstanceRow;
use crate::query::query;
use crate::services::read_state;
use crate::values::{parse, present};
use crate::{Route, Store, StoreError};

#[derive(FromRow)]
struct RouteRow {
    id: String,
    name: String,
    project: String,
    state: String,
    release: Option<i64>,
    reason: Option<String>,
    container: Option<String>,
    instance_release: Option<i64>,
    role: Option<String>,
    endpoint: Option<String>,
    failures: Option<i64>,
    started_at: Option<i64>,
    handle: Option<String>,
    engine: Option<String>,
}

impl RouteRow {
    fn read(self) -> Result<Route, StoreError> {
        let instance = self
            .container
            .map(|container| {
                InstanceRow {
                    container,
                    service: self.id.clone(),
                    release: present("an instance's release", self.instance_release)?,
                    role: present("an instance's role", self.role)?,
                    endpoint: self.endpoint,
                    failures: present("an instance's failures", self.failures)?,
                    started_at: self.started_at,
                    handle: self.handle,
                }
                .read()
            })
            .transpose()?;
        Ok(Route {
            service: parse("a service's id", &self.id)?,
            name: parse("a service's name", &self.name)?,
            project: parse("a service's project", &self.project)?,
            state: read_state(&self.state, self.release, self.reason)?,
            instance,
            engine: self.engine,
        })
    }
}

impl Store {
    /// The routing table: every service, with its live instance if it has one, in
    /// the order of ids. A row that cannot be read is left out, loudly: one bad
    /// row must not take every other service off the net.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn list_routes(&self) -> Result<Vec<Route>, StoreError> {
        let rows: Vec<RouteRow> = self
            .read(async |db| {
                Ok(query(
                    "SELECT s.id, s.name, s.project, s.state, s.release, s.reason,
                         i.container, i.release AS instance_release, i.role, i.endpoint,
                         i.failures, i.started_at, i.handle, s.engine
                     FROM service s
                     LEFT JOIN instance i ON i.service = s.id AND i.role = 'live'
                     ORDER BY s.id",
                )
                .fetch_all(db)
                .await?)
            })
            .await?;
        let mut routes = Vec::with_capacity(rows.len());
        for row in rows {
            let service = row.id.clone();
            match row.read() {
                Ok(route) => routes.push(route),
                Err(error) => tracing::error!(service.id = %service, %error, "route left out"),
            }
        }
        Ok(routes)
    }
}

//! Releases: made, found, listed. How one becomes live is in [`publish`](crate::publish).

use shipway_model::{EventKind, Release, ReleaseSpec, ReleaseState, RootFs, ServiceId};
use sqlx::FromRow;

use crate::db::Db;
use crate::door::Tx;
use crate::held::{Held, LeaseKey};
use crate::query::query;
use crate::values::{from_json, number, page, parse, present, to_json};
use crate::{Lease, Store, StoreError};

macro_rules! columns {
    () => {
        "service, number, spec, state, reason, created_at"
    };
}

#[derive(FromRow)]
struct ReleaseRow {
    service: String,
    number: i64,
    spec: String,
    state: String,
    reason: Option<String>,
    created_at: i64,
}

impl ReleaseRow {
    fn read(self) -> Result<Release, StoreError> {
        Ok(Release {
            service: parse("a release's service", &self.service)?,
            number: number("a release's number", self.number)?,
            spec: from_json("a release's spec", &self.spec)?,
            state: read_state(&self.state, self.reason)?,
            created_at: self.created_at,
        })
    }
}

fn read_state(word: &str, reason: Option<String>) -> Result<ReleaseState, StoreError> {
    match word {
        "starting" => Ok(ReleaseState::Starting),
        "live" => Ok(ReleaseState::Live),
        "retired" => Ok(ReleaseState::Retired),
        "failed" => Ok(ReleaseState::Failed { reason: present("a failed release's reason", reason)? }),
        _ => Err(StoreError::Corrupt(format!("a release cannot be {word:?}"))),
    }
}

/// Finds a release on any connection.
pub(crate) async fn find(db: &mut Db, service: &str, number: u32) -> Result<Option<Release>, StoreError> {
    let row: Option<ReleaseRow> =
        query(concat!("SELECT ", columns!(), " FROM release WHERE service = $1 AND number = $2"))
            .bind(service)
            .bind(i64::from(number))
            .fetch_optional(db)
            .await?;
    row.map(ReleaseRow::read).transpose()
}

impl Store {
    /// Makes the next release of the lease's service, in state `starting`.
    ///
    /// A release that is never published or failed (the worker was cut off, and
    /// the task done anew with another release) is failed when the task ends.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`], [`StoreError::Unavailable`]; [`StoreError::NotFound`] when the
    /// release is on an image that was removed.
    pub async fn add_release(&self, lease: &Lease, spec: &ReleaseSpec) -> Result<Release, StoreError> {
        let image = match &spec.root {
            RootFs::Image { digest } => Some(digest.to_string()),
            RootFs::HostImage { .. } => None,
        };
        let (lease, spec) = (lease.key(), to_json("a release's spec", spec)?);
        self.write(move |tx| Box::pin(tx.add_release(lease, spec, image))).await
    }

    /// Finds a release by its number.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_release(&self, service: ServiceId, number: u32) -> Result<Option<Release>, StoreError> {
        self.read(async |db| find(db, &service.to_string(), number).await).await
    }

    /// Finds the release that is live, or would be after `start`: also when the
    /// service is stopped, coming back, or failed to come back.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_live_release(&self, service: ServiceId) -> Result<Option<Release>, StoreError> {
        let row: Option<ReleaseRow> = self
            .read(async |db| {
                Ok(query(concat!("SELECT ", columns!(), " FROM release WHERE service = $1 AND state = 'live'"))
                    .bind(service.to_string())
                    .fetch_optional(db)
                    .await?)
            })
            .await?;
        row.map(ReleaseRow::read).transpose()
    }

    /// Releases of a service, newest first, below `before`, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_releases(
        &self,
        service: ServiceId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<Release>, StoreError> {
        let rows: Vec<ReleaseRow> = self
            .read(async |db| {
                Ok(query(concat!(
                    "SELECT ",
                    columns!(),
                    " FROM release WHERE service = $1 AND number < $2
                      ORDER BY number DESC LIMIT $3"
                ))
                .bind(service.to_string())
                .bind(before.map_or(i64::MAX, i64::from))
                .bind(page(limit))
                .fetch_all(db)
                .await?)
            })
            .await?;
        rows.into_iter().map(ReleaseRow::read).collect()
    }
}

impl Tx {
    async fn add_release(
        &mut self,
        lease: LeaseKey,
        spec: String,
        image: Option<String>,
    ) -> Result<Release, StoreError> {
        let held = Held::by(self, lease).await?;
        if let Some(image) = &image {
            self.needs_image(image).await?;
        }
        let service = held.service(self).await?;
        let row: ReleaseRow = query(concat!("INSERT INTO release (service, number, project, spec, image, state, created_at)
                 SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, 'starting', {now} FROM release WHERE service = $1 RETURNING ", columns!()))
        .bind(service.id.to_string())
        .bind(service.project.as_str())
        .bind(&spec)
        .bind(&image)
        .fetch_one(self.db())
        .await?;
        let release = row.read()?;
        let created = EventKind::ReleaseCreated { release: release.number };
        self.event(&held.event_subject(), &held.project, &created).await?;
        Ok(release)
    }
}

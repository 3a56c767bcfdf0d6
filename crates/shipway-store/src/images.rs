//! Images: what their names mean, and which digests are still needed.
//!
//! A release names its image by digest, so a name may get another meaning at any time.
//! That a digest is needed is decided here, in one transaction with what needs it: a
//! release is only made of an image that a name or another release has.

use std::collections::BTreeSet;

use shipway_model::{Digest, EventKind, ProjectName};
use sqlx::FromRow;

use crate::db::Db;
use crate::door::Tx;
use crate::query::query;
use crate::values::{number, page, parse};
use crate::{Image, Store, StoreError};

macro_rules! columns {
    () => {
        "project, name, digest, size_bytes, entries, source, created_at"
    };
}

/// A failed release can never run again; every other one can.
macro_rules! needed {
    () => {
        "image IS NOT NULL AND state <> 'failed'"
    };
}

#[derive(FromRow)]
struct ImageRow {
    project: String,
    name: String,
    digest: String,
    size_bytes: i64,
    entries: i64,
    source: String,
    created_at: i64,
}

impl ImageRow {
    fn read(self) -> Result<Image, StoreError> {
        Ok(Image {
            project: parse("an image's project", &self.project)?,
            name: self.name,
            digest: parse("an image's digest", &self.digest)?,
            size_bytes: number("an image's size", self.size_bytes)?,
            entries: number("an image's entries", self.entries)?,
            source: self.source,
            created_at: self.created_at,
        })
    }
}

/// The subject of the events of a name.
fn subject(project: &ProjectName, name: &str) -> String {
    format!("image/{project}/{name}")
}

/// What is locked by who makes a release of a digest, and by who takes a name from it.
fn digest_lock(digest: &str) -> String {
    format!("digest/{digest}")
}

async fn find(db: &mut Db, project: &str, name: &str) -> Result<Option<Image>, StoreError> {
    let row: Option<ImageRow> = query(concat!("SELECT ", columns!(), " FROM image WHERE project = $1 AND name = $2"))
        .bind(project)
        .bind(name)
        .fetch_optional(db)
        .await?;
    row.map(ImageRow::read).transpose()
}

impl Store {
    /// Gives a name a meaning, new or other than before. `created_at` is the database's.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn put_image(&self, image: &Image, actor: &str) -> Result<Image, StoreError> {
        let (image, actor) = (image.clone(), actor.to_owned());
        self.write(move |tx| Box::pin(tx.put_image(image, actor))).await
    }

    /// Finds what a name means.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn find_image(&self, project: &ProjectName, name: &str) -> Result<Option<Image>, StoreError> {
        self.read(async |db| find(db, project.as_str(), name).await).await
    }

    /// Images of a project in the order of their names, after `after`, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_images(
        &self,
        project: &ProjectName,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Image>, StoreError> {
        let rows: Vec<ImageRow> = self
            .read(async |db| {
                Ok(query(concat!(
                    "SELECT ",
                    columns!(),
                    " FROM image WHERE project = $1 AND name > $2 ORDER BY name LIMIT $3"
                ))
                .bind(project.as_str())
                .bind(after.unwrap_or_default())
                .bind(page(limit))
                .fetch_all(db)
                .await?)
            })
            .await?;
        rows.into_iter().map(ImageRow::read).collect()
    }

    /// Forgets a name, and returns what it meant.
    ///
    /// # Errors
    ///
    /// [`StoreError::ImageInUse`] when a release that can still run is on the image,
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn remove_image(&self, project: &ProjectName, name: &str, actor: &str) -> Result<Image, StoreError> {
        let (project, name, actor) = (project.clone(), name.to_owned(), actor.to_owned());
        self.write(move |tx| Box::pin(tx.remove_image(project, name, actor))).await
    }

    /// Names of services with a release on this image, sorted, at most
    /// [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX). Their projects may be others.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn image_users(&self, digest: &Digest) -> Result<Vec<String>, StoreError> {
        self.read(async |db| users(db, &digest.to_string()).await).await
    }

    /// Every digest that a name means or a release that can still run is on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn image_digests(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let sql = concat!("SELECT digest FROM image UNION SELECT image FROM release WHERE ", needed!());
        let rows: Vec<String> = self.read(async |db| Ok(query(sql).scalars(db).await?)).await?;
        rows.iter().map(|text| parse("an image's digest", text)).collect()
    }
}

async fn users(db: &mut Db, digest: &str) -> Result<Vec<String>, StoreError> {
    let sql = concat!(
        "SELECT DISTINCT name FROM service WHERE id IN (SELECT service FROM release WHERE ",
        needed!(),
        " AND image = $1) ORDER BY name LIMIT $2"
    );
    let rows = query(sql).bind(digest).bind(page(u32::MAX)).scalars(db).await?;
    Ok(rows)
}

impl Tx {
    async fn put_image(&mut self, image: Image, actor: String) -> Result<Image, StoreError> {
        self.lock(subject(&image.project, &image.name)).await?;
        let before: Option<String> = query("SELECT digest FROM image WHERE project = $1 AND name = $2")
            .bind(image.project.as_str())
            .bind(&image.name)
            .scalar_optional(self.db())
            .await?;
        if let Some(digest) = before {
            // It loses a name: whoever is making a release of it comes first.
            self.lock(digest_lock(&digest)).await?;
        }
        let row: ImageRow = query(concat!("INSERT INTO image (project, name, digest, size_bytes, entries, source, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, {now}) ON CONFLICT (project, name) DO UPDATE SET digest = $3, size_bytes = $4, entries = $5, source = $6,
                 created_at = {now} RETURNING ", columns!()))
        .bind(image.project.as_str())
        .bind(&image.name)
        .bind(image.digest.to_string())
        .bind(i64::try_from(image.size_bytes).unwrap_or(i64::MAX))
        .bind(i64::try_from(image.entries).unwrap_or(i64::MAX))
        .bind(&image.source)
        .fetch_one(self.db())
        .await?;
        let image = row.read()?;
        self.tell_image(&image, "imported", actor).await?;
        Ok(image)
    }

    async fn remove_image(&mut self, project: ProjectName, name: String, actor: String) -> Result<Image, StoreError> {
        self.lock(subject(&project, &name)).await?;
        let image = find(self.db(), project.as_str(), &name).await?.ok_or(StoreError::NotFound("image"))?;
        self.lock(digest_lock(&image.digest.to_string())).await?;
        let users = users(self.db(), &image.digest.to_string()).await?;
        if let Some(service) = users.into_iter().next() {
            return Err(StoreError::ImageInUse { service });
        }
        query("DELETE FROM image WHERE project = $1 AND name = $2")
            .bind(project.as_str())
            .bind(&name)
            .execute(self.db())
            .await?;
        self.tell_image(&image, "removed", actor).await?;
        Ok(image)
    }

    async fn tell_image(&mut self, image: &Image, change: &str, actor: String) -> Result<(), StoreError> {
        let event = EventKind::Image { change: change.to_owned(), digest: image.digest.to_string(), actor };
        self.event(&subject(&image.project, &image.name), image.project.as_str(), &event).await
    }

    /// Whether a release may be made of this image: it was not removed meanwhile.
    pub(crate) async fn needs_image(&mut self, digest: &str) -> Result<(), StoreError> {
        self.lock(digest_lock(digest)).await?;
        let sql = concat!(
            "SELECT EXISTS (SELECT 1 FROM image WHERE digest = $1) OR EXISTS (SELECT 1 FROM release WHERE ",
            needed!(),
            " AND image = $1)"
        );
        let known: bool = query(sql).bind(digest).scalar(self.db()).await?;
        if known { Ok(()) } else { Err(StoreError::NotFound("image")) }
    }
}

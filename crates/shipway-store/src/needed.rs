//! What must stay on the disks of hosts: every digest that the database has a use for.
//!
//! It is read by whoever removes the rest, *after* it has listed what is there, so that
//! nothing newer than the list is taken. Rows are not understood but searched for what
//! looks like a digest: a later version's row needs what it names as well.
//!
//! What leads from one row to the next (an upload becomes a task, a task a release, a name
//! of an image a release) is read in that order, so that a digest on its way is met in the
//! one or in the other.

use std::collections::BTreeSet;

use shipway_model::Digest;
use sqlx::FromRow;

use crate::query::query;
use crate::values::page;
use crate::{PAGE_ROWS_MAX, Store, StoreError};

const PREFIX: &str = "sha256:";
const HEX: usize = 64;

#[derive(FromRow)]
struct SpecRow {
    service: String,
    number: i64,
    spec: String,
}

impl Store {
    /// Every digest that an open task, a task that was given up, a release that can still
    /// run or a name of an image mentions, and every artifact of a build. `None` when nothing has ever happened to a
    /// service or an image in this database: then it is rather the wrong one, or not filled
    /// yet, than a reason to throw everything away.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn needed_digests(&self) -> Result<Option<BTreeSet<Digest>>, StoreError> {
        if !self.has_history().await? {
            return Ok(None);
        }
        let mut found = BTreeSet::new();
        self.needed_by_tasks(&mut found).await?;
        self.needed_by_releases(&mut found).await?;
        found.extend(self.image_digests().await?);
        self.needed_by_builds(&mut found).await?;
        Ok(Some(found))
    }

    async fn has_history(&self) -> Result<bool, StoreError> {
        self.read(async |db| {
            let sql = "SELECT EXISTS (SELECT 1 FROM event WHERE subject >= 'service/' AND subject < 'service0')
                 OR EXISTS (SELECT 1 FROM event WHERE subject >= 'image/' AND subject < 'image0')
                 OR EXISTS (SELECT 1 FROM event WHERE subject >= 'build/' AND subject < 'build0')";
            Ok(query(sql).scalar(db).await?)
        })
        .await
    }

    async fn needed_by_tasks(&self, found: &mut BTreeSet<Digest>) -> Result<(), StoreError> {
        let payloads: Vec<String> = self
            .read(async |db| {
                let sql = "SELECT payload FROM task WHERE state = 'queued'
                     UNION ALL SELECT payload FROM task WHERE state = 'running'
                     UNION ALL SELECT payload FROM task WHERE given_up_at IS NOT NULL";
                Ok(query(sql).scalars(db).await?)
            })
            .await?;
        payloads.iter().for_each(|payload| mentioned(payload, found));
        Ok(())
    }

    async fn needed_by_builds(&self, found: &mut BTreeSet<Digest>) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let digests: Vec<String> = self
                .read(async |db| {
                    let sql = "SELECT DISTINCT digest FROM artifact WHERE digest > $1 ORDER BY digest LIMIT $2";
                    Ok(query(sql).bind(&after).bind(page(PAGE_ROWS_MAX)).scalars(db).await?)
                })
                .await?;
            let Some(last) = digests.last() else { return Ok(()) };
            after.clone_from(last);
            digests.iter().for_each(|digest| mentioned(digest, found));
        }
    }

    async fn needed_by_releases(&self, found: &mut BTreeSet<Digest>) -> Result<(), StoreError> {
        let (mut service, mut number) = (String::new(), 0);
        loop {
            let rows: Vec<SpecRow> = self
                .read(async |db| {
                    let sql = "SELECT service, number, spec FROM release
                         WHERE (service, number) > ($1, $2) AND state <> 'failed'
                         ORDER BY service, number LIMIT $3";
                    let query = query(sql).bind(&service).bind(number).bind(page(PAGE_ROWS_MAX));
                    Ok(query.fetch_all(db).await?)
                })
                .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            (service, number) = (last.service.clone(), last.number);
            rows.iter().for_each(|row| mentioned(&row.spec, found));
        }
    }
}

/// Adds everything in a text that is written like a digest.
fn mentioned(text: &str, found: &mut BTreeSet<Digest>) {
    for (at, _) in text.match_indices(PREFIX) {
        let digest = text.get(at..at + PREFIX.len() + HEX).and_then(|digest| digest.parse().ok());
        found.extend(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let one = Digest::from_sha256([1; 32]);
        let two = Digest::from_sha256([0xfe; 32]);
        let text = format!("{{\"new\":{{\"of\":\"{one}\"}},\"x\":[\"sha256:12\",\"é{two}…\"]}}sha256:");
        let mut found = BTreeSet::new();
        mentioned(&text, &mut found);
        assert_eq!(found, BTreeSet::from([one, two]));
    }
}

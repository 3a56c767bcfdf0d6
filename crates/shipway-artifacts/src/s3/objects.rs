//! What is in the bucket, by artifact.

use std::time::SystemTime;

use object_store::ObjectMeta;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore as _};
use shipway_model::Digest;

use super::S3;
use super::classify::sorted;
use crate::artifacts::{Kept, Page};
use crate::error::ArtifactError;
use crate::layout::{DOOMED, PREFIX, key, parse};

/// Keys of one page, as S3 has it.
const KEYS_MAX: usize = 1000;

/// All objects of one artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Objects {
    digest: Digest,
    found: Vec<Object>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) suffix: String,
    pub(super) size_bytes: u64,
    pub(super) changed_at: SystemTime,
}

impl Objects {
    const fn none(digest: Digest) -> Self {
        Self { digest, found: Vec::new() }
    }

    fn find(&self, suffix: &str) -> Option<&Object> {
        self.found.iter().find(|object| object.suffix == suffix)
    }

    pub(super) fn has(&self, suffix: &str) -> bool {
        self.find(suffix).is_some()
    }

    pub(super) fn size_of(&self, suffix: &str) -> Option<u64> {
        self.find(suffix).map(|object| object.size_bytes)
    }

    pub(super) fn changed_at(&self, suffix: &str) -> Option<SystemTime> {
        self.find(suffix).map(|object| object.changed_at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Object> {
        self.found.iter()
    }

    /// When it was last touched; a remover's mark is no touch, unless there is nothing else.
    pub(super) fn touched_at(&self) -> SystemTime {
        let touches = self.found.iter().filter(|object| !object.suffix.starts_with(DOOMED));
        let touched = touches.map(|object| object.changed_at).max();
        let marked = || self.found.iter().map(|object| object.changed_at).max();
        touched.or_else(marked).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn into_kept(self) -> Kept {
        let size_bytes = self.found.iter().map(|object| object.size_bytes).sum();
        Kept { size_bytes, touched_at: self.touched_at(), whole: self.has(""), digest: self.digest }
    }
}

impl S3 {
    /// Lists the objects of one artifact.
    pub(super) async fn objects(&self, digest: &Digest) -> Result<Objects, ArtifactError> {
        let mut objects = Objects::none(digest.clone());
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions { page_token, ..PaginatedListOptions::default() };
            let page = self.store.list_paginated(Some(&key(digest)), options).await.map_err(sorted)?;
            objects.found.extend(page.result.objects.iter().filter_map(named).map(|(_, object)| object));
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(objects);
            }
        }
    }

    pub(crate) async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Page, ArtifactError> {
        // What is beside an artifact sorts before this.
        let offset = after.map(|digest| key(digest) + "~");
        let max_keys = Some(limit.saturating_mul(8).clamp(1, KEYS_MAX));
        let options = PaginatedListOptions { offset, max_keys, ..PaginatedListOptions::default() };
        let page = self.store.list_paginated(Some(&format!("{PREFIX}/")), options).await.map_err(sorted)?;
        let more = page.page_token.is_some();
        self.page(page, more, limit.max(1)).await
    }

    /// Puts the objects of a page together, and completes the last artifact of one that was cut.
    async fn page(&self, found: PaginatedListResult, more: bool, limit: usize) -> Result<Page, ArtifactError> {
        let mut all: Vec<Objects> = Vec::new();
        let mut objects: Vec<(Digest, Object)> = found.result.objects.iter().filter_map(named).collect();
        objects.sort_by(|one, other| (&one.0, &one.1.suffix).cmp(&(&other.0, &other.1.suffix)));
        for (digest, object) in objects {
            match all.last_mut() {
                Some(last) if last.digest == digest => last.found.push(object),
                _ => all.push(Objects { digest, found: vec![object] }),
            }
        }
        let cut = all.len() > limit;
        all.truncate(limit);
        if more
            && !cut
            && let Some(last) = all.last_mut()
        {
            *last = self.objects(&last.digest).await?;
        }
        let next = if more || cut { all.last().map(|last| last.digest.clone()) } else { None };
        Ok(Page { kept: all.into_iter().map(Objects::into_kept).collect(), next })
    }
}

/// An object of ours.
fn named(meta: &ObjectMeta) -> Option<(Digest, Object)> {
    let (digest, suffix) = parse(meta.location.as_ref())?;
    let changed_at = SystemTime::from(meta.last_modified);
    Some((digest, Object { suffix: suffix.to_owned(), size_bytes: meta.size, changed_at }))
}

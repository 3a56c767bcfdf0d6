//! Touching and removing, by marks: see [`super`].

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use object_store::path::Path as Key;
use shipway_model::Digest;
use uuid::Uuid;

use super::S3;
use super::classify::sorted;
use super::objects::Objects;
use crate::error::ArtifactError;
use crate::layout::{DOOMED, TOUCHED, beside};

/// A remover's mark that is older than the touch by this counts for nothing: its remover was killed.
const MARK_LIVES: Duration = Duration::from_secs(900);
/// A remover that has taken so long removes nothing more. Far less than its mark lives, because
/// a request under way then still arrives.
const REMOVE_WITHIN: Duration = Duration::from_secs(300);
/// How long a remover is waited for.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Times of objects have no parts of a second: one may have been touched so much later.
const SECOND: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl S3 {
    /// Says that an artifact is about to be needed, waits for who removes it, and tells what is there.
    pub(super) async fn claim(&self, digest: &Digest) -> Result<Objects, ArtifactError> {
        let begun = Instant::now();
        loop {
            self.put_object(&beside(digest, TOUCHED), Bytes::new()).await?;
            let objects = self.objects(digest).await?;
            if !is_doomed(&objects) {
                return Ok(objects);
            }
            if begun.elapsed() > WAIT_MAX {
                return Err(ArtifactError::unavailable("it is being removed"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) async fn remove_unless_touched(
        &self,
        digest: &Digest,
        since: SystemTime,
    ) -> Result<bool, ArtifactError> {
        let mark = format!("{DOOMED}{}", Uuid::new_v4());
        let begun = Instant::now();
        self.put_object(&beside(digest, &mark), Bytes::new()).await?;
        let removed = self.remove_marked(digest, &mark, since, begun).await;
        // One that stays counts for nothing after a while, and goes with the next removal.
        self.delete(digest, &mark).await?;
        removed
    }

    async fn remove_marked(
        &self,
        digest: &Digest,
        mark: &str,
        since: SystemTime,
        begun: Instant,
    ) -> Result<bool, ArtifactError> {
        let objects = self.objects(digest).await?;
        let mut suffixes: Vec<&str> = objects.iter().map(|object| object.suffix.as_str()).collect();
        // A mark of another remover's that lives is its own to take back.
        suffixes.retain(|suffix| *suffix != mark && !lives(&objects, mark, suffix));
        let others = |suffix: &&str| !suffix.starts_with(DOOMED);
        if suffixes.is_empty() || (suffixes.iter().any(others) && objects.touched_at() + SECOND > since) {
            return Ok(false);
        }
        // The artifact itself sorts first: while it is there, what is beside it is needed.
        suffixes.sort_unstable();
        for suffix in suffixes {
            if begun.elapsed() > REMOVE_WITHIN {
                return Err(ArtifactError::unavailable("removing took too long"));
            }
            self.delete(digest, suffix).await?;
        }
        Ok(true)
    }

    async fn delete(&self, digest: &Digest, suffix: &str) -> Result<(), ArtifactError> {
        match self.store.delete(&Key::from(beside(digest, suffix))).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(sorted(error)),
        }
    }
}

/// Whether somebody who still lives is about to remove it.
fn is_doomed(objects: &Objects) -> bool {
    let mut marks = objects.iter().filter(|object| object.suffix.starts_with(DOOMED));
    marks.any(|mark| lives(objects, TOUCHED, &mark.suffix))
}

/// Whether a remover's mark is young, seen from an object that was just written.
fn lives(objects: &Objects, just_written: &str, suffix: &str) -> bool {
    let (Some(now), Some(written)) = (objects.changed_at(just_written), objects.changed_at(suffix)) else {
        // What was just written is gone: somebody removes.
        return suffix.starts_with(DOOMED);
    };
    suffix.starts_with(DOOMED) && now.duration_since(written).unwrap_or_default() < MARK_LIVES
}

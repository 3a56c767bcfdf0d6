//! The door: artifacts are put, read, listed, touched and removed here, wherever they are
//! kept.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use sha2::{Digest as _, Sha256};
use shipway_model::Digest;

use crate::chunks::{ChunkList, list_bytes_max};
use crate::config::ArtifactsConfig;
use crate::directory::Directory;
use crate::error::ArtifactError;
use crate::held::Held;
use crate::layout::{CHUNKS, Companion, Stored, beside, key};
use crate::measure::{Measured, measure};
use crate::read::Reading;
use crate::s3::S3;

/// Most bytes of a companion. They are small texts; this one bounds what a reader holds.
pub const COMPANION_BYTES_MAX: u64 = 16 << 20;

/// Tries for a list of chunks that is wrong.
const LIST_TRIES: u32 = 3;

/// Bytes as they come from a place, not yet verified.
pub(crate) type Raw = BoxStream<'static, Result<Bytes, ArtifactError>>;

/// Where artifacts are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    place: Place,
    held: Arc<Held>,
}

#[derive(Debug, Clone)]
enum Place {
    Directory(Arc<Directory>),
    S3(Arc<S3>),
}

/// What is kept under one digest, companions included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The artifact's name.
    pub digest: Digest,
    /// The bytes of all of it.
    pub size_bytes: u64,
    /// When it came, or somebody last was about to need it: by this host's clock in a
    /// directory, by the server's in S3.
    pub touched_at: SystemTime,
    /// Whether the artifact itself is there. Where it is not, a `put` was cut off between its companions
    /// and itself, or a removal in its middle.
    pub whole: bool,
}

/// Some of what is kept, in the order of digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was found.
    pub kept: Vec<Kept>,
    /// Where the next page begins, unless this was the last one.
    pub next: Option<Digest>,
}

/// What was found of uploads that nobody goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sweep {
    /// How many were ended.
    pub ended: u64,
    /// Whether the place can tell them at all. Where it cannot, a rule of the bucket's own has to end
    /// them (`AbortIncompleteMultipartUpload`).
    pub listed: bool,
}

impl Artifacts {
    /// Opens the place. A directory is made if need be; S3 is not asked anything before
    /// [`check`](Self::check) or the first use, so that a server that is away now does not
    /// keep anybody from starting.
    ///
    /// # Errors
    ///
    /// [`ArtifactError::Refused`] for a setting that cannot be right; for a directory what the file
    /// system says.
    pub async fn open(config: &ArtifactsConfig) -> Result<Self, ArtifactError> {
        let place = match config {
            ArtifactsConfig::Directory(root) => Place::Directory(Arc::new(Directory::open(root).await?)),
            ArtifactsConfig::S3(config) => Place::S3(Arc::new(S3::open(config)?)),
        };
        Ok(Self { place, held: Arc::default() })
    }

    /// Asks the place whether it is there and lets us in.
    ///
    /// # Errors
    ///
    /// [`ArtifactError::Refused`] names the setting; [`ArtifactError::Unavailable`].
    pub async fn check(&self) -> Result<(), ArtifactError> {
        self.list(None, 1).await.map(drop)
    }

    /// Keeps a local file. When this returns it is there, whole, under its digest, survives
    /// a power cut (as far as the place promises it), and counts as touched.
    ///
    /// What is there already is not sent again. What was cut off, by a killed process too, goes on
    /// from the parts that had arrived (S3; a journal `<file>.upload` beside the file says
    /// which); so the same file is to be put again from the same path.
    ///
    /// # Errors
    ///
    /// Each [`ArtifactError`] but those of reading.
    pub async fn put(&self, file: &Path) -> Result<Stored, ArtifactError> {
        let measured = measure(file).await?;
        self.put_measured(&measured).await?;
        Ok(measured.stored)
    }

    /// As [`put`](Self::put), of a file that was measured already.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_measured(&self, measured: &Measured) -> Result<(), ArtifactError> {
        match &self.place {
            Place::Directory(place) => place.put(measured).await,
            Place::S3(place) => place.put(measured).await,
        }
    }

    /// Reads an artifact, or the part of it from `range.start` to `range.end` (exclusive).
    ///
    /// Every byte that comes out was compared with `stored`. A stream that was cut off is
    /// taken up again where it ended; one that ends in an error ended before the first wrong byte.
    ///
    /// # Errors
    ///
    /// [`ArtifactError::Missing`], [`ArtifactError::NoSuchRange`], and what the place says;
    /// the stream has [`ArtifactError::Damaged`], too.
    pub async fn read(&self, stored: &Stored, range: Option<Range<u64>>) -> Result<Reading, ArtifactError> {
        let range = range.unwrap_or(0..stored.size_bytes);
        if range.start > range.end || range.end > stored.size_bytes {
            let (start, end) = (range.start, range.end);
            return Err(ArtifactError::NoSuchRange { start, end, size: stored.size_bytes });
        }
        let list = self.chunk_list(stored).await?;
        Reading::open(self.clone(), stored.clone(), list, range).await
    }

    /// The list by which an artifact is verified, itself verified. One that came wrong is asked for again.
    async fn chunk_list(&self, stored: &Stored) -> Result<ChunkList, ArtifactError> {
        let mut tries = 1;
        loop {
            match self.chunk_list_once(stored).await {
                Err(ArtifactError::Damaged { .. }) if tries < LIST_TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn chunk_list_once(&self, stored: &Stored) -> Result<ChunkList, ArtifactError> {
        let list = match ChunkList::implied(&stored.digest, stored.size_bytes) {
            Some(list) => list,
            None => self.kept_list(stored).await?,
        };
        if list.digest() != stored.chunks {
            return Err(ArtifactError::damaged(&stored.digest, "its list of chunks has another digest"));
        }
        Ok(list)
    }

    async fn kept_list(&self, stored: &Stored) -> Result<ChunkList, ArtifactError> {
        let digest = &stored.digest;
        let limit = list_bytes_max(stored.size_bytes);
        let found = self.get_small(digest, &beside(digest, CHUNKS), limit).await?;
        let found = found.ok_or_else(|| ArtifactError::Missing { digest: digest.clone() })?;
        let text =
            std::str::from_utf8(&found).map_err(|_| ArtifactError::damaged(digest, "its list of chunks is no text"))?;
        ChunkList::parse(text, stored.size_bytes).map_err(|reason| ArtifactError::damaged(digest, reason))
    }

    pub(crate) const fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Opens the bytes of a key, unverified.
    pub(crate) async fn raw(&self, digest: &Digest, range: Range<u64>) -> Result<Raw, ArtifactError> {
        let missing = || ArtifactError::Missing { digest: digest.clone() };
        let opened = match &self.place {
            Place::Directory(place) => place.open_range(&key(digest), range).await,
            Place::S3(place) => place.open_range(&key(digest), range).await,
        };
        opened?.ok_or_else(missing)
    }

    /// Keeps something beside an artifact, which need not be there yet: companions come
    /// first, so that an artifact that is seen has them. One that is there is replaced. Returns
    /// its digest.
    ///
    /// # Errors
    ///
    /// Those of the place, and [`ArtifactError::TooLarge`].
    pub async fn put_companion(&self, of: &Digest, kind: Companion, bytes: Bytes) -> Result<Digest, ArtifactError> {
        if bytes.len() as u64 > COMPANION_BYTES_MAX {
            return Err(ArtifactError::TooLarge { limit: COMPANION_BYTES_MAX });
        }
        let digest = Digest::from_sha256(Sha256::digest(&bytes).into());
        match &self.place {
            Place::Directory(place) => place.put_small(of, kind.suffix(), bytes).await?,
            Place::S3(place) => place.put_companion(of, kind.suffix(), bytes).await?,
        }
        Ok(digest)
    }

    /// Reads something beside an artifact; `None` when it is not there. Two builds of the same bytes may
    /// replace each other's companions, so their digests are not compared with anything:
    /// signatures are verified by whoever has the key.
    ///
    /// # Errors
    ///
    /// Those of the place.
    pub async fn read_companion(&self, of: &Digest, kind: Companion) -> Result<Option<Bytes>, ArtifactError> {
        self.get_small(of, &beside(of, kind.suffix()), COMPANION_BYTES_MAX).await
    }

    async fn get_small(&self, of: &Digest, key: &str, limit: u64) -> Result<Option<Bytes>, ArtifactError> {
        let found = match &self.place {
            Place::Directory(place) => place.get_small(key, limit).await,
            Place::S3(place) => place.get_small(key, limit).await,
        };
        match found {
            Err(ArtifactError::TooLarge { .. }) => Err(ArtifactError::damaged(of, "what is beside it is too large")),
            found => found,
        }
    }

    /// Says that somebody is about to need an artifact, and whether it is there: then it stays for
    /// as long as [`remove_unless_touched`](Self::remove_unless_touched) is told to spare it.
    ///
    /// # Errors
    ///
    /// Those of the place.
    pub async fn touch(&self, stored: &Stored) -> Result<bool, ArtifactError> {
        match &self.place {
            Place::Directory(place) => place.touch(stored).await,
            Place::S3(place) => place.touch(stored).await,
        }
    }

    /// Lists what is kept, in the order of digests, from the first one after `after`. At most `limit` at
    /// a time; a page may have fewer and still not be the last.
    ///
    /// # Errors
    ///
    /// Those of the place.
    pub async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Page, ArtifactError> {
        match &self.place {
            Place::Directory(place) => place.list(after.cloned(), limit).await,
            Place::S3(place) => place.list(after, limit).await,
        }
    }

    /// Removes an artifact with all that is beside it, unless it was touched after `since`.
    /// Returns whether it was there and is gone.
    ///
    /// Whoever touches it at the same time either keeps it, or hears that it is not there. In S3
    /// `since` is compared with the server's clock: let it be further in the past than clocks may differ.
    ///
    /// # Errors
    ///
    /// Those of the place; what is left then is removed by the next call.
    pub async fn remove_unless_touched(&self, digest: &Digest, since: SystemTime) -> Result<bool, ArtifactError> {
        match &self.place {
            Place::Directory(place) => place.remove_unless_touched(digest, since).await,
            Place::S3(place) => place.remove_unless_touched(digest, since).await,
        }
    }

    /// Ends uploads that were begun longer than `age` ago and that nobody goes on with. An
    /// upload that is under way for so long is ended, too, and begins anew: let it be days.
    ///
    /// # Errors
    ///
    /// Those of the place.
    pub async fn sweep(&self, age: Duration) -> Result<Sweep, ArtifactError> {
        match &self.place {
            Place::Directory(place) => place.sweep().await,
            Place::S3(place) => place.sweep(age).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Handlers and workers spawn what they do; a future that cannot be sent would stop them at compile time, far from here.
    #[tokio::test]
    async fn everything_can_be_done_in_a_spawned_task() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        shipway_stdx::fs::write_atomic(&file, b"content", 0o600, shipway_stdx::fs::Durability::Process).unwrap();
        let config = ArtifactsConfig::Directory(folder.path().join("kept"));
        let done = tokio::spawn(async move {
            let artifacts = Artifacts::open(&config).await?;
            artifacts.check().await?;
            let stored = artifacts.put(&file).await?;
            artifacts.put_companion(&stored.digest, Companion::Sbom, Bytes::new()).await?;
            artifacts.read_companion(&stored.digest, Companion::Sbom).await?;
            let length = artifacts.read(&stored, None).await?.length();
            artifacts.touch(&stored).await?;
            artifacts.sweep(Duration::ZERO).await?;
            artifacts.remove_unless_touched(&stored.digest, SystemTime::UNIX_EPOCH).await?;
            Ok::<_, ArtifactError>(length)
        });
        assert_eq!(done.await.unwrap().unwrap(), 7);
    }
}

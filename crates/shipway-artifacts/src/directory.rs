//! Artifacts in a directory.
//!
//! A file is written aside, synced, renamed into its place and its folder synced. Its time of
//! change says when it was last touched. Touch and removal exclude each other by a file
//! lock (`flock`), which several processes, and hosts on a shared file system that knows
//! it, keep.
//!
//! ```text
//! <root>/artifacts/sha256/ab/ab12…   see the layout
//! <root>/partial/<uuid>              being written, locked by its writer
//! <root>/touching.lock
//! ```

mod list;
mod partial;

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use shipway_model::Digest;
use shipway_stdx::fs::{lock_patiently, remove_if_there, sync_folder};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use crate::artifacts::{Page, Raw, Sweep};
use crate::chunks::chunks_of;
use crate::error::ArtifactError;
use crate::layout::{CHUNKS, PREFIX, Stored, beside, key};
use crate::measure::{Measured, blocking};

/// Locked by whoever touches, places or removes, for a few system calls.
const TOUCHING: &str = "touching.lock";
/// Where writers keep what is not finished.
const PARTIAL: &str = "partial";
/// Bytes read at a time; each reader has two such pieces in memory.
const READ: usize = 64 << 10;
/// Bytes copied between two looks at the list of chunks; a multiple of a chunk's.
const STRIDE: u64 = 4 << 20;

/// A directory of artifacts.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Opens it, making it if need be, and removes what killed writers left behind.
    pub(crate) async fn open(root: &Path) -> Result<Self, ArtifactError> {
        let place = Self { root: root.to_owned() };
        place
            .run(|place| {
                let mut folder = fs::DirBuilder::new();
                folder.recursive(true).mode(0o700);
                folder.create(place.root.join(PARTIAL))?;
                folder.create(place.root.join(PREFIX))?;
                let lock = place.root.join(TOUCHING);
                File::options().write(true).create(true).truncate(false).mode(0o600).open(lock)?;
                place.remove_leftovers().map(drop)
            })
            .await?;
        Ok(place)
    }

    /// Runs what waits for the disk.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ArtifactError> {
        let place = self.clone();
        blocking(move || work(&place).map_err(|error| ArtifactError::directory(&error))).await
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// The right to touch, place or remove, until it is dropped.
    fn turn(&self) -> io::Result<File> {
        let file = File::open(self.root.join(TOUCHING))?;
        lock_patiently(&file)?;
        Ok(file)
    }

    pub(crate) async fn put(&self, measured: &Measured) -> Result<(), ArtifactError> {
        if self.touch(&measured.stored).await? {
            return Ok(());
        }
        let digest = measured.digest();
        if chunks_of(measured.stored.size_bytes) > 1 {
            self.put_small(digest, CHUNKS, measured.list.text().into()).await?;
        }
        let (place, measured) = (self.clone(), measured.clone());
        blocking(move || place.copy(&measured)).await
    }

    /// Copies the file to its place, comparing it with what was measured.
    fn copy(&self, measured: &Measured) -> Result<(), ArtifactError> {
        let kernel = |error: io::Error| ArtifactError::directory(&error);
        let mut partial = self.begin_partial().map_err(kernel)?;
        let size = measured.stored.size_bytes;
        let mut at = 0;
        while at < size {
            let end = (at + STRIDE).min(size);
            for chunk in measured.read_chunks(at, end)? {
                partial.write(&chunk).map_err(kernel)?;
            }
            at = end;
        }
        self.place(partial, measured.digest(), "").map_err(kernel)
    }

    /// Keeps something beside an artifact.
    pub(crate) async fn put_small(&self, of: &Digest, suffix: &'static str, bytes: Bytes) -> Result<(), ArtifactError> {
        let of = of.clone();
        self.run(move |place| {
            let mut partial = place.begin_partial()?;
            partial.write(&bytes)?;
            place.place(partial, &of, suffix)
        })
        .await
    }

    /// Gives a finished file its name.
    fn place(&self, partial: partial::Partial, digest: &Digest, suffix: &str) -> io::Result<()> {
        partial.sync()?;
        let target = self.path(&beside(digest, suffix));
        let Some(folder) = target.parent() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let turn = self.turn()?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        partial.rename(&target)?;
        drop(turn);
        sync_folder(folder)?;
        folder.parent().map_or(Ok(()), sync_folder)
    }

    /// Whether it is there, whole; if so it is touched.
    pub(crate) async fn touch(&self, stored: &Stored) -> Result<bool, ArtifactError> {
        let stored = stored.clone();
        self.run(move |place| {
            let _turn = place.turn()?;
            let Some(file) = open_file(&place.path(&key(&stored.digest)))? else { return Ok(false) };
            let chunks = place.path(&beside(&stored.digest, CHUNKS));
            let listed = chunks_of(stored.size_bytes) <= 1 || chunks.is_file();
            if !listed || file.metadata()?.len() != stored.size_bytes {
                return Ok(false);
            }
            file.set_modified(SystemTime::now())?;
            Ok(true)
        })
        .await
    }

    pub(crate) async fn remove_unless_touched(
        &self,
        digest: &Digest,
        since: SystemTime,
    ) -> Result<bool, ArtifactError> {
        let digest = digest.clone();
        self.run(move |place| {
            let _turn = place.turn()?;
            let mut keys = place.keys_of(&digest)?;
            if keys.is_empty() || keys.iter().any(|found| found.touched_at > since) {
                return Ok(false);
            }
            // The artifact first: while it is there, what is beside it is needed. It sorts first.
            keys.sort_by(|one, other| one.name.cmp(&other.name));
            let folder = place.folder(&digest);
            for found in keys {
                remove_if_there(&folder.join(found.name))?;
            }
            sync_folder(&folder)?;
            Ok(true)
        })
        .await
    }

    pub(crate) async fn list(&self, after: Option<Digest>, limit: usize) -> Result<Page, ArtifactError> {
        self.run(move |place| place.list_now(after.as_ref(), limit)).await
    }

    pub(crate) async fn sweep(&self) -> Result<Sweep, ArtifactError> {
        let ended = self.run(Self::remove_leftovers).await?;
        Ok(Sweep { ended, listed: true })
    }

    /// Reads a small file; `None` when there is none.
    pub(crate) async fn get_small(&self, key: &str, limit: u64) -> Result<Option<Bytes>, ArtifactError> {
        let path = self.path(key);
        let found = self
            .run(move |_| {
                let Some(file) = open_file(&path)? else { return Ok(None) };
                let mut bytes = Vec::new();
                file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            })
            .await?;
        match found {
            Some(bytes) if bytes.len() as u64 > limit => Err(ArtifactError::TooLarge { limit }),
            found => Ok(found.map(Bytes::from)),
        }
    }

    /// Opens a part of a file; `None` when there is none, or it is too short: then it is not what was put.
    pub(crate) async fn open_range(&self, key: &str, range: Range<u64>) -> Result<Option<Raw>, ArtifactError> {
        let (path, Range { start, end }) = (self.path(key), range);
        let file = self
            .run(move |_| {
                let Some(mut file) = open_file(&path)? else { return Ok(None) };
                if file.metadata()?.len() < end {
                    return Ok(None);
                }
                file.seek(io::SeekFrom::Start(start))?;
                Ok(Some(file))
            })
            .await?;
        let Some(file) = file else { return Ok(None) };
        let part = tokio::fs::File::from_std(file).take(end.saturating_sub(start));
        let stream = ReaderStream::with_capacity(part, READ);
        Ok(Some(stream.map_err(|error| ArtifactError::directory(&error)).boxed()))
    }
}

/// Opens a file for reading; `None` when there is none.
fn open_file(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

//! A blob being written.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use shipway_model::Digest;
use shipway_stdx::fs::sync_folder;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::{Blob, BlobError, Blobs};

/// A blob being written. Dropping it without [`finish`](Self::finish) leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    file: File,
    partial: Partial,
    hash: Sha256,
    written: u64,
    limit: u64,
}

impl BlobWriter {
    pub(super) async fn begin(blobs: Blobs, path: PathBuf, limit: u64) -> Result<Self, BlobError> {
        // Whoever gives up while the file is being made is not there to remove it;
        // then the result, which nobody takes, does.
        let made = tokio::task::spawn_blocking(move || Partial::create(path)).await;
        let (partial, file) = made.map_err(io::Error::other)??;
        Ok(Self { blobs, file: File::from_std(file), partial, hash: Sha256::new(), written: 0, limit })
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    ///
    /// [`BlobError`]; nothing of this blob will be kept then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let written = self.written.saturating_add(bytes.len() as u64);
        if written > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        self.file.write_all(bytes).await?;
        self.hash.update(bytes);
        self.written = written;
        Ok(())
    }

    /// Keeps what was written, so that it survives a power cut.
    ///
    /// # Errors
    ///
    /// [`BlobError::Unavailable`].
    pub async fn finish(mut self) -> Result<Blob, BlobError> {
        self.file.flush().await?;
        self.file.set_permissions(fs::Permissions::from_mode(0o444)).await?;
        self.file.sync_all().await?;
        let digest = Digest::from_sha256(self.hash.finalize_reset().into());
        let (blobs, blob) = (self.blobs.clone(), Blob { digest: digest.clone(), size_bytes: self.written });
        let from = self.partial.0.clone();
        let placed = tokio::task::spawn_blocking(move || blobs.place(&from, &blob)).await;
        placed.map_err(io::Error::other)??;
        Ok(Blob { digest, size_bytes: self.written })
    }
}

/// The path of an unfinished file, removed with it.
#[derive(Debug)]
struct Partial(PathBuf);

impl Partial {
    fn create(path: PathBuf) -> io::Result<(Self, fs::File)> {
        let file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((Self(path), file))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `finish` there is nothing at this path any more.
        drop(fs::remove_file(&self.0));
    }
}

impl Blobs {
    /// Gives a finished file its name. A blob that is there already is kept and touched,
    /// unless its length is wrong: then a power cut or a person has damaged it, and it is
    /// replaced.
    fn place(&self, from: &Path, blob: &Blob) -> io::Result<()> {
        let target = self.path(&blob.digest);
        let Some(folder) = target.parent() else { return Err(io::ErrorKind::InvalidInput.into()) };
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if self.touch(&blob.digest)?.is_none_or(|found| found.size_bytes != blob.size_bytes) {
            fs::rename(from, &target)?;
        }
        // Also for one that was there: whoever made it may not have come to this yet.
        sync_folder(folder)?;
        folder.parent().map_or(Ok(()), sync_folder)
    }
}

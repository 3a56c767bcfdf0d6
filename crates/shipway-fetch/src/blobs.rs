//! Content, kept by what it is: files named by their SHA-256.
//!
//! A blob is written aside, synced, renamed into its place and its folder synced,
//! so that a name that is there names the whole content, whatever was killed or
//! cut off when. A second writer of the same content keeps the first one's file.
//!
//! A blob's file says when it was last *touched*: when it came, came again, or somebody
//! was about to need it ([`Blobs::touch`]). [`Blobs::remove_untouched`] takes only what was
//! not touched for long, and the two exclude each other, across processes: who has touched
//! a blob has it, and who comes too late hears so.

mod leftovers;
mod writer;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use shipway_model::Digest;
use shipway_stdx::fs::{lock_patiently, remove_if_there};

pub use writer::BlobWriter;

/// Where writers keep what is not finished.
const PARTIAL: &str = "partial";
/// Locked by whoever touches or removes.
const TOUCHING: &str = "touching.lock";

/// A kept blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// Why content could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// More than the writer's limit was written.
    #[error("the content has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The disk is full, read-only or broken; it may recover.
    #[error("content cannot be stored now: {reason}")]
    Unavailable {
        /// In words, safe to show.
        reason: String,
        /// As the kernel said it.
        #[source]
        source: io::Error,
    },
}

impl From<io::Error> for BlobError {
    fn from(source: io::Error) -> Self {
        let reason = match source.kind() {
            io::ErrorKind::StorageFull => "the disk is full".to_owned(),
            io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only".to_owned(),
            kind => kind.to_string(),
        };
        Self::Unavailable { reason, source }
    }
}

/// A folder of blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
    next: Arc<AtomicU64>,
}

/// A blob, and when it was last touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TouchedBlob {
    /// The blob.
    pub blob: Blob,
    /// By this host's clock.
    pub touched_at: SystemTime,
}

impl Blobs {
    /// Opens the folder, making it if need be, and removes what killed writers left
    /// behind; what a living process is writing stays.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn open(root: &Path) -> io::Result<Self> {
        let partial = root.join(PARTIAL);
        // Containers reach a blob by a mount of its own, nobody else needs to.
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&partial)?;
        folder.create(root.join("sha256"))?;
        File::options().write(true).create(true).truncate(false).mode(0o600).open(root.join(TOUCHING))?;
        leftovers::remove(&partial)?;
        Ok(Self { root: root.to_owned(), next: Arc::default() })
    }

    /// Where a blob is, or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("sha256").join(&hex[..2]).join(hex)
    }

    /// Whether a blob is there.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Returns a blob that is there, with its length.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<Blob> {
        let metadata = fs::metadata(self.path(digest)).ok()?;
        metadata.is_file().then(|| Blob { digest: digest.clone(), size_bytes: metadata.len() })
    }

    /// Says that somebody is about to need a blob, and returns it if it is there: then it
    /// stays for as long as [`remove_untouched`](Self::remove_untouched) is told to spare it.
    ///
    /// # Errors
    ///
    /// Any error of the file system but that it is not there.
    pub fn touch(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let _turn = self.turn()?;
        let file = match File::open(self.path(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        match file.set_modified(SystemTime::now()) {
            // Nothing is removed from there either.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            touched => touched?,
        }
        Ok(Some(Blob { digest: digest.clone(), size_bytes: metadata.len() }))
    }

    /// Removes a blob that was not touched since. Returns whether it was there and is gone.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn remove_untouched(&self, digest: &Digest, since: SystemTime) -> io::Result<bool> {
        let _turn = self.turn()?;
        let path = self.path(digest);
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
            Ok(touched) if touched > since => Ok(false),
            Ok(_) => remove_if_there(&path),
        }
    }

    /// Lists every blob with when it was last touched, in no order.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn list_touched(&self) -> io::Result<Vec<TouchedBlob>> {
        let mut all = Vec::new();
        for blob in self.list()? {
            // One that has gone since is not listed.
            let Ok(metadata) = fs::metadata(self.path(&blob.digest)) else { continue };
            all.push(TouchedBlob { blob, touched_at: metadata.modified()? });
        }
        Ok(all)
    }

    /// The right to touch or remove, until it is dropped. Held for a few system calls.
    fn turn(&self) -> io::Result<File> {
        let file = File::open(self.root.join(TOUCHING))?;
        lock_patiently(&file)?;
        Ok(file)
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    ///
    /// `NotFound`, or any error of the file system.
    pub fn open_content(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    /// Reads a blob from end to end and says whether it is what its name says.
    ///
    /// # Errors
    ///
    /// `NotFound`, or any error of the file system.
    pub fn verify(&self, digest: &Digest) -> io::Result<bool> {
        let mut hash = Sha256::new();
        io::copy(&mut self.open_content(digest)?, &mut hash)?;
        Ok(Digest::from_sha256(hash.finalize().into()) == *digest)
    }

    /// Lists every blob, in the order of their digests.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn list(&self) -> io::Result<Vec<Blob>> {
        let mut blobs = Vec::new();
        for folder in fs::read_dir(self.root.join("sha256"))? {
            for entry in fs::read_dir(folder?.path())? {
                let name = entry?.file_name();
                let digest = format!("sha256:{}", name.to_string_lossy()).parse().ok();
                // Anything else in there is not ours to name.
                blobs.extend(digest.and_then(|digest| self.find(&digest)));
            }
        }
        blobs.sort_by(|one, other| one.digest.cmp(&other.digest));
        Ok(blobs)
    }

    /// Begins to write a blob of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`BlobError::Unavailable`].
    pub async fn begin(&self, limit: u64) -> Result<BlobWriter, BlobError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(PARTIAL).join(format!("{}.{number}", std::process::id()));
        BlobWriter::begin(self.clone(), path, limit).await
    }

    /// Removes a blob; one that is not there is fine.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        remove_if_there(&self.path(digest)).map(drop)
    }
}

#[cfg(test)]
mod tests;

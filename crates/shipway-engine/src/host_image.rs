//! Root file systems made of this host's own packages.
//!
//! A script behind a URL has to run on a fresh machine that has downloaded
//! nothing. What it needs is there already: the host's shell, coreutils, Python,
//! Perl, Node. A *host image* is a copy of those packages' files, and of what they
//! depend on, as a tree that containers share read-only. It is named by the digest
//! of its manifest; a release keeps the name it was born with, so an upgrade of the
//! host changes nothing that runs, and a rollback gets the old Python back.
//!
//! ```text
//! dpkg's database ──closure──► packages ──plan──► path → item ──build──► draft tree
//!  (dpkg/, read only)                    (scope)                │ ldconfig, python3
//!        DIR/sha256/<hex>/{tree,manifest,packages.json} ◄─name──┘
//! ```
//!
//! Read in this order: [`config`](HostImageConfig), `dpkg`, `closure`, `scope`,
//! `plan`, `build`, `tools`, `fingerprint`, `verify`.
//!
//! # Invariants
//!
//! * A tree under its name is whole and never changes; it is made aside and renamed.
//! * No file in it is set-id, carries capabilities, or was not readable by everybody
//!   on the host. Nothing of `/usr/local`, `/home`, `/opt` or the host's own `/etc`.
//! * No inode is shared with the host: an edit on one side never shows on the other.
//! * The same packages give the same name, on any machine and any day.
//! * dpkg is neither run nor locked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use shipway_model::Digest;
use shipway_stdx::fs::{Durability, write_atomic};

mod build;
pub(crate) mod closure;
mod config;
pub(crate) mod dpkg;
mod error;
mod fingerprint;
mod host_paths;
mod plan;
pub(crate) mod run;
mod scope;
mod skeleton;
#[cfg(test)]
mod tests;
mod tools;
mod verify;

pub use build::Contents;
pub use config::{HostImageConfig, Wanted};
pub use error::HostImageError;
pub use scope::LeftOut;
pub use verify::Difference;

use crate::layers::{Shelf, ShelfLock};
use fingerprint::Fingerprint;

/// Packages that change under three copies in a row are being worked on.
const ATTEMPTS_MAX: u32 = 3;
/// In the directory of images: which image is the present one, and of what host.
const CURRENT_FILE: &str = "current.json";

/// A root file system, ready to be mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostImage {
    /// Its name: of its manifest.
    pub digest: Digest,
    /// The tree.
    pub path: PathBuf,
}

/// What is being done, for people who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What.
    pub step: Step,
    /// Files copied so far; 0 in other steps.
    pub files_done: u64,
    /// Files to copy; 0 in other steps.
    pub files_total: u64,
}

/// The steps of making an image, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Reading the package database.
    Planning,
    /// Copying files.
    Copying,
    /// Writing the linker's cache and Python's bytecode.
    Compiling,
    /// Hashing everything.
    Naming,
    /// Waiting for the disk.
    Saving,
}

/// Gets told how far an image is. Called from several threads.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

impl Progress {
    fn new(step: Step, files_done: u64, files_total: u64) -> Self {
        Self { step, files_done, files_total }
    }
}

/// The host images of one engine root.
#[derive(Debug)]
pub struct HostImages {
    shelf: Shelf,
    config: HostImageConfig,
    config_digest: Digest,
    /// The last answer. Held for a comparison, never across a wait.
    known: Mutex<Option<Known>>,
    /// One builder at a time in this process; the shelf's lock is for the others.
    building: tokio::sync::Mutex<()>,
}

/// An image, and the host it is the image of.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    fingerprint: Fingerprint,
    digest: Digest,
}

impl HostImages {
    /// Opens the images kept in `dir`, making it (mode 0700) if needed and removing
    /// what a killed build left. Makes no image yet.
    ///
    /// # Errors
    ///
    /// [`HostImageError::Io`] when the directory cannot be made or read.
    pub fn open(dir: &Path, config: HostImageConfig) -> Result<Self, HostImageError> {
        let shelf = Shelf::open(dir).map_err(HostImageError::io("open", dir))?;
        let config_digest = fingerprint::digest_of(&config);
        let known = Mutex::new(read_known(dir));
        Ok(Self { shelf, config, config_digest, known, building: tokio::sync::Mutex::new(()) })
    }

    /// The image of this host as it is now.
    ///
    /// Costs a few microseconds when nothing changed since the last call, in this
    /// process or an earlier one; makes a new image, in seconds, when packages did.
    /// While apt or dpkg is at work the last image stands in.
    ///
    /// # Errors
    ///
    /// [`HostImageError`]; [`HostImageError::remedy`] says what to do.
    pub async fn current(&self) -> Result<HostImage, HostImageError> {
        self.current_with_progress(Arc::new(|_| {})).await
    }

    /// As [`Self::current`], telling `progress` how far a new image is.
    ///
    /// # Errors
    ///
    /// As [`Self::current`].
    pub async fn current_with_progress(&self, progress: ProgressSink) -> Result<HostImage, HostImageError> {
        if let Some(image) = self.find_fresh(&self.look()) {
            return Ok(image);
        }
        let _turn = self.building.lock().await;
        // Another caller may have made it while this one waited.
        if let Some(image) = self.find_fresh(&self.look()) {
            return Ok(image);
        }
        match self.build(progress).await {
            Err(error) if error.is_passing() => self.stand_in().ok_or(error),
            result => result,
        }
    }

    /// The tree of an image, whether it is the present one or an old one.
    ///
    /// # Errors
    ///
    /// [`HostImageError::Missing`].
    pub fn path_of(&self, digest: &Digest) -> Result<PathBuf, HostImageError> {
        self.shelf.find_tree(digest).ok_or_else(|| HostImageError::Missing(digest.clone()))
    }

    /// Lists the images, in the order of their digests.
    ///
    /// # Errors
    ///
    /// [`HostImageError::Io`].
    pub fn list(&self) -> Result<Vec<Digest>, HostImageError> {
        self.shelf.list().map_err(HostImageError::io("list", self.shelf.dir()))
    }

    /// What an image was made of.
    ///
    /// # Errors
    ///
    /// [`HostImageError::Missing`], [`HostImageError::Database`].
    pub fn contents(&self, digest: &Digest) -> Result<Contents, HostImageError> {
        self.path_of(digest)?;
        let path = self.shelf.home(digest).join("packages.json");
        let bytes = std::fs::read(&path).map_err(HostImageError::io("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|error| HostImageError::Database { path, what: error.to_string() })
    }

    /// Which image is, or was last, the present one; none is made.
    #[must_use]
    pub fn last_current(&self) -> Option<Digest> {
        self.known().as_ref().map(|known| known.digest.clone())
    }

    /// When an image was last touched: made, or given out as the present one.
    ///
    /// # Errors
    ///
    /// [`HostImageError::Io`], also when there is no such image any more.
    pub fn touched_at(&self, digest: &Digest) -> Result<SystemTime, HostImageError> {
        self.shelf.touched_at(digest).map_err(HostImageError::io("look at", &self.shelf.home(digest)))
    }

    /// Bytes of an image's files. Walks the whole tree: to be called where blocking is fine.
    #[must_use]
    pub fn bytes(&self, digest: &Digest) -> u64 {
        self.shelf.bytes(digest)
    }

    /// Removes an image that nobody touched since. The caller knows that no release names
    /// it and no container runs on it. Returns whether it was there and is gone.
    ///
    /// # Errors
    ///
    /// [`HostImageError::Locked`], [`HostImageError::Io`].
    pub async fn remove_untouched(&self, digest: &Digest, since: SystemTime) -> Result<bool, HostImageError> {
        let lock = self.lock().await?;
        let (shelf, digest) = (self.shelf.clone(), digest.clone());
        blocking(move || {
            let removed = shelf.remove_untouched(&lock, &digest, since);
            removed.map_err(HostImageError::io("remove", &shelf.home(&digest)))
        })
        .await
    }

    /// Removes an image. The caller knows that no release names it and no container
    /// runs on it.
    ///
    /// # Errors
    ///
    /// [`HostImageError::Missing`], [`HostImageError::Locked`], [`HostImageError::Io`].
    pub async fn remove(&self, digest: &Digest) -> Result<(), HostImageError> {
        let lock = self.lock().await?;
        self.path_of(digest)?;
        let (shelf, digest) = (self.shelf.clone(), digest.clone());
        blocking(move || shelf.remove(&lock, &digest).map_err(HostImageError::io("remove", &shelf.home(&digest)))).await
    }

    /// Compares an image with its manifest, and the manifest with its name, and
    /// lists at most a hundred differences; none is what it should find. Reads
    /// every byte.
    ///
    /// # Errors
    ///
    /// [`HostImageError::Missing`], [`HostImageError::Tree`], [`HostImageError::Io`].
    pub async fn verify(&self, digest: &Digest) -> Result<Vec<Difference>, HostImageError> {
        self.path_of(digest)?;
        let (home, digest) = (self.shelf.home(digest), digest.clone());
        blocking(move || verify::verify(&home, &digest)).await
    }

    fn look(&self) -> Fingerprint {
        Fingerprint::read(&self.config.host_root, &self.config_digest)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        // Whoever panicked had only replaced a whole value.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_fresh(&self, wanted: &Fingerprint) -> Option<HostImage> {
        let digest = {
            let known = self.known();
            let known = known.as_ref().filter(|known| known.fingerprint == *wanted)?;
            known.digest.clone()
        };
        self.taken(digest)
    }

    /// An image that is about to be needed, if it is there.
    fn taken(&self, digest: Digest) -> Option<HostImage> {
        let path = self.shelf.touch(&digest).unwrap_or_else(|error| {
            tracing::warn!(image.digest = %digest, %error, "a host image cannot be touched");
            self.shelf.find_tree(&digest)
        })?;
        Some(HostImage { digest, path })
    }

    /// The last image made under the same configuration.
    fn stand_in(&self) -> Option<HostImage> {
        let wanted = self.look();
        let digest = {
            let known = self.known();
            let known = known.as_ref().filter(|known| known.fingerprint.is_alike(&wanted))?;
            known.digest.clone()
        };
        let image = self.taken(digest)?;
        let digest = &image.digest;
        tracing::warn!(image.digest = %digest, "the host's packages are being changed; the last host image stands in");
        Some(image)
    }

    async fn lock(&self) -> Result<ShelfLock, HostImageError> {
        let lock = self.shelf.lock().await;
        let lock = lock.map_err(HostImageError::io("lock", self.shelf.dir()))?;
        lock.ok_or(HostImageError::Locked)
    }

    async fn build(&self, progress: ProgressSink) -> Result<HostImage, HostImageError> {
        let mut lock = self.lock().await?;
        // Another process may have made it while this one waited.
        *self.known() = read_known(self.shelf.dir());
        let mut attempt = 1;
        loop {
            let wanted = self.look();
            if let Some(image) = self.find_fresh(&wanted) {
                return Ok(image);
            }
            let (result, returned) = self.build_once(lock, wanted, progress.clone()).await?;
            lock = returned;
            match result {
                Err(HostImageError::Changing(_)) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(error),
                Ok(known) => {
                    let path = self.path_of(&known.digest)?;
                    let digest = known.digest.clone();
                    *self.known() = Some(known);
                    return Ok(HostImage { digest, path });
                }
            }
        }
    }

    /// Builds on a thread that may block. The lock goes with the work and comes back
    /// with its result: if the caller stops waiting, the work still finishes under it.
    async fn build_once(
        &self,
        lock: ShelfLock,
        wanted: Fingerprint,
        progress: ProgressSink,
    ) -> Result<(Result<Known, HostImageError>, ShelfLock), HostImageError> {
        let (shelf, config) = (self.shelf.clone(), self.config.clone());
        let config_digest = self.config_digest.clone();
        blocking(move || {
            let result = build::build(&shelf, &lock, &config, &wanted, &config_digest, &progress).and_then(|digest| {
                let known = Known { fingerprint: wanted, digest };
                write_known(shelf.dir(), &known)?;
                Ok(known)
            });
            Ok((result, lock))
        })
        .await
    }
}

/// Verifies the present image of the images kept in `dir`, without opening them;
/// `None` if there is none.
pub(crate) fn verify_current(dir: &Path) -> Result<Option<(Digest, Vec<Difference>)>, HostImageError> {
    let Some(known) = read_known(dir) else {
        return Ok(None);
    };
    let home = dir.join("sha256").join(known.digest.hex());
    if !home.is_dir() {
        return Ok(None);
    }
    let differences = verify::verify(&home, &known.digest)?;
    Ok(Some((known.digest, differences)))
}

/// A missing or strange file only means that an image is made again.
fn read_known(dir: &Path) -> Option<Known> {
    let bytes = std::fs::read(dir.join(CURRENT_FILE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write_known(dir: &Path, known: &Known) -> Result<(), HostImageError> {
    let path = dir.join(CURRENT_FILE);
    serde_json::to_vec(known)
        .map_err(std::io::Error::other)
        .and_then(|json| write_atomic(&path, &json, 0o600, Durability::Power))
        .map_err(HostImageError::io("write", &path))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostImageError> + Send + 'static,
) -> Result<T, HostImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(HostImageError::io("finish the work in", Path::new("host images"))(std::io::Error::other(error)))
        }
    }
}

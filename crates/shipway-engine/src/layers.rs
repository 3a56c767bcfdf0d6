//! Unpacked directories that many containers share, named by what is in them.
//!
//! A *layer* is a directory tree whose name is the digest of its manifest: path,
//! kind, mode, owner and content of every entry. Two imports of the same tree are
//! one layer; a layer never changes after it got its name, so it is mounted
//! read-only below any number of containers, through idmapped mounts.
//!
//! Read in this order: [`manifest`] (what a tree is, as text), `import` (a
//! directory becomes a layer), `copy` (one file), `shelf` (the directory they
//! stand on, shared with the host images).
//!
//! # Invariants
//!
//! * What a name points to is whole: trees are made aside and renamed.
//! * A pinned layer is not removed. Pins are files, so they outlive this process.
//! * A layer holds directories, regular files and symlinks only; no device, no
//!   set-id bit, no extended attribute and no inode shared with anything else.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use shipway_model::Digest;

mod copy;
mod import;
pub mod manifest;
mod shelf;
#[cfg(test)]
mod tests;

pub(crate) use copy::{create_file, fill_from, open_folder};
pub(crate) use shelf::{Draft, Shelf, ShelfLock};

use manifest::TreeError;

/// How large an imported tree may be. One that is larger is refused, not cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Files, directories and symlinks together.
    pub entries_max: u64,
    /// Bytes of all files together.
    pub bytes_max: u64,
    /// Directories inside each other.
    pub depth_max: usize,
}

impl Default for TreeLimits {
    /// Roomy for a distribution's whole root file system, small for a bomb.
    fn default() -> Self {
        Self { entries_max: 1_000_000, bytes_max: 32 << 30, depth_max: 128 }
    }
}

/// Why a layer could not be made, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The tree holds what no layer may hold, is too large, or could not be read.
    #[error("cannot import {}", path.display())]
    Tree {
        /// The directory given.
        path: PathBuf,
        /// What was wrong, and where.
        #[source]
        source: TreeError,
    },
    /// No layer has this digest.
    #[error("no layer {0} is kept here")]
    Missing(Digest),
    /// Somebody still needs it.
    #[error("layer {digest} is used by {holder}")]
    Pinned {
        /// Of the layer.
        digest: Digest,
        /// One of those that pinned it.
        holder: String,
    },
    /// A holder's name becomes a file's.
    #[error("`{0}` cannot hold a layer: 1 to 128 letters, digits, `-`, `_` and `.`, not beginning with a dot")]
    HolderName(String),
    /// Another process kept the directory locked for too long.
    #[error("another process has been working in {} for too long", .0.display())]
    Locked(PathBuf),
    /// The directory of layers itself failed.
    #[error("cannot {doing} in the directory of layers")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The layers of one engine root.
#[derive(Debug)]
pub struct Layers {
    shelf: Shelf,
    limits: TreeLimits,
}

impl Layers {
    /// Opens the layers kept in `dir`, making it if needed and removing what a
    /// killed import left.
    ///
    /// # Errors
    ///
    /// [`LayerError::Io`] when the directory cannot be made or read.
    pub fn open(dir: &Path, limits: TreeLimits) -> Result<Self, LayerError> {
        let shelf = Shelf::open(dir).map_err(failed("open"))?;
        Ok(Self { shelf, limits })
    }

    /// Copies the tree at `source` and returns the layer's name.
    ///
    /// Everything is reached through directory handles that follow no symlink, so
    /// a tree that changes meanwhile cannot lead outside itself.
    ///
    /// # Errors
    ///
    /// [`LayerError::Tree`] names the first entry that no layer may hold;
    /// [`LayerError::Locked`], [`LayerError::Io`]. Nothing is left behind.
    pub async fn import_directory(&self, source: &Path) -> Result<Digest, LayerError> {
        let lock = self.lock().await?;
        let (shelf, limits, source) = (self.shelf.clone(), self.limits, source.to_owned());
        tokio::task::spawn_blocking(move || import::import(&shelf, &lock, &source, limits))
            .await
            .map_err(|error| failed("finish an import")(io::Error::other(error)))?
    }

    /// Makes a layer of what `fill` writes into an empty directory, and returns its name
    /// with what `fill` told. The directory is only for `fill`, mode 0755 and root's.
    ///
    /// # Errors
    ///
    /// The outer one as for [`Layers::import_directory`], the inner one is `fill`'s own.
    /// Nothing is left behind after either.
    pub async fn import_made<T, E>(
        &self,
        fill: impl FnOnce(&Path) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<(Digest, T), E>, LayerError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let lock = self.lock().await?;
        let (shelf, limits) = (self.shelf.clone(), self.limits);
        tokio::task::spawn_blocking(move || import::made(&shelf, &lock, limits, fill))
            .await
            .map_err(|error| failed("finish an import")(io::Error::other(error)))?
    }

    /// The layer's tree, ready to be mounted.
    ///
    /// # Errors
    ///
    /// [`LayerError::Missing`].
    pub fn path_of(&self, digest: &Digest) -> Result<PathBuf, LayerError> {
        self.shelf.find_tree(digest).ok_or_else(|| LayerError::Missing(digest.clone()))
    }

    /// Lists the layers, in the order of their digests.
    ///
    /// # Errors
    ///
    /// [`LayerError::Io`].
    pub fn list(&self) -> Result<Vec<Digest>, LayerError> {
        self.shelf.list().map_err(failed("list layers"))
    }

    /// When a layer was last touched: made, or made again.
    ///
    /// # Errors
    ///
    /// [`LayerError::Io`], also when there is no such layer any more.
    pub fn touched_at(&self, digest: &Digest) -> Result<SystemTime, LayerError> {
        self.shelf.touched_at(digest).map_err(failed("look at a layer"))
    }

    /// Bytes of a layer's files. Walks the whole tree: to be called where blocking is fine.
    #[must_use]
    pub fn bytes(&self, digest: &Digest) -> u64 {
        self.shelf.bytes(digest)
    }

    /// Removes a layer that nobody pinned and nobody touched since. The caller knows that
    /// no release needs it. Returns whether it was there and is gone.
    ///
    /// # Errors
    ///
    /// [`LayerError::Locked`], [`LayerError::Io`].
    pub async fn remove_untouched(&self, digest: &Digest, since: SystemTime) -> Result<bool, LayerError> {
        let lock = self.lock().await?;
        if !self.shelf.pins(digest).map_err(failed("read pins"))?.is_empty() {
            return Ok(false);
        }
        let (shelf, digest) = (self.shelf.clone(), digest.clone());
        tokio::task::spawn_blocking(move || shelf.remove_untouched(&lock, &digest, since))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(failed("remove a layer"))
    }

    /// Keeps a layer from being removed until `holder` lets go; twice is once.
    ///
    /// # Errors
    ///
    /// [`LayerError::Missing`], [`LayerError::HolderName`], [`LayerError::Locked`].
    pub async fn pin(&self, digest: &Digest, holder: &str) -> Result<(), LayerError> {
        check_holder(holder)?;
        // Under the lock, so that no removal is between its look and its rename.
        let lock = self.lock().await?;
        self.path_of(digest)?;
        self.shelf.pin(&lock, digest, holder).map_err(failed("pin a layer"))
    }

    /// Takes `holder`'s pin back; none is as good.
    ///
    /// # Errors
    ///
    /// [`LayerError::HolderName`], [`LayerError::Locked`], [`LayerError::Io`].
    pub async fn unpin(&self, digest: &Digest, holder: &str) -> Result<(), LayerError> {
        check_holder(holder)?;
        let lock = self.lock().await?;
        self.shelf.unpin(&lock, digest, holder).map_err(failed("unpin a layer"))
    }

    /// Removes a layer that nobody pinned. Mounts of it stay whole until unmounted
    /// only if they are copies; the caller knows that none is in use.
    ///
    /// # Errors
    ///
    /// [`LayerError::Missing`], [`LayerError::Pinned`], [`LayerError::Locked`].
    pub async fn remove(&self, digest: &Digest) -> Result<(), LayerError> {
        let lock = self.lock().await?;
        self.path_of(digest)?;
        let pins = self.shelf.pins(digest).map_err(failed("read pins"))?;
        if let Some(holder) = pins.into_iter().next() {
            let digest = digest.clone();
            return Err(LayerError::Pinned { digest, holder });
        }
        let (shelf, digest) = (self.shelf.clone(), digest.clone());
        tokio::task::spawn_blocking(move || shelf.remove(&lock, &digest))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(failed("remove a layer"))
    }

    async fn lock(&self) -> Result<ShelfLock, LayerError> {
        let lock = self.shelf.lock().await.map_err(failed("lock"))?;
        lock.ok_or_else(|| LayerError::Locked(self.shelf.dir().to_owned()))
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> LayerError {
    move |source| LayerError::Io { doing, source }
}

fn check_holder(holder: &str) -> Result<(), LayerError> {
    let fits = (1..=128).contains(&holder.len())
        && !holder.starts_with('.')
        && holder.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits { Ok(()) } else { Err(LayerError::HolderName(holder.to_owned())) }
}

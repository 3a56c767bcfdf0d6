//! What a task needs and another process has received: an upload, the tree of an image.
//!
//! It rests in the store, under its digest, and is brought here before it is used. What is
//! brought is what its name says, or it is not used.

use std::fs::File;
use std::io::{self, Seek, Write};

use async_trait::async_trait;
use shipway_fetch::BlobError;
use shipway_model::{Digest, FailureCode, RootFs, Source};
use shipway_store::{Deposit, StoreError};

use crate::core::Core;
use crate::trouble::Trouble;

/// Where this machine keeps the trees of images.
#[async_trait]
pub trait Trees: std::fmt::Debug + Send + Sync {
    /// Whether a tree is here.
    fn has(&self, digest: &Digest) -> bool;

    /// Makes a nameless file, on a disk with room for an archive.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn spool(&self) -> io::Result<File>;

    /// Turns an archive, read from the file's place, into a tree, and says which it is.
    ///
    /// # Errors
    ///
    /// In words; nothing is left behind then.
    async fn unpack(&self, archive: File) -> Result<Digest, String>;
}

/// A machine that has every tree it will be asked for, as where there is only one.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnTrees;

#[async_trait]
impl Trees for OwnTrees {
    fn has(&self, _digest: &Digest) -> bool {
        true
    }

    fn spool(&self) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn unpack(&self, _archive: File) -> Result<Digest, String> {
        Err("nothing is unpacked here".to_owned())
    }
}

impl Core {
    /// Whether content is here, or was brought here just now. It is never fetched a second
    /// time from where the user said.
    pub(crate) async fn has_content(&self, source: &Source) -> Result<bool, Trouble> {
        let is_here = || self.blobs.find(&source.digest).is_some_and(|blob| blob.size_bytes == source.size_bytes);
        if is_here() {
            return Ok(true);
        }
        let Some(deposit) = self.store.find_deposit(&source.digest).await? else {
            return Ok(false);
        };
        let mut writer = self.blobs.begin(deposit.size_bytes).await?;
        for part in 0..deposit.parts {
            writer.write(&self.part(&deposit, part).await?).await?;
        }
        let blob = writer.finish().await?;
        if blob.digest != source.digest {
            return Err(not_as_named(&deposit));
        }
        Ok(is_here())
    }

    /// Sees to it that what a release runs on is here.
    pub(crate) async fn bring_root(&self, root: &RootFs) -> Result<(), Trouble> {
        let RootFs::Image { digest } = root else { return Ok(()) };
        if self.trees.has(digest) {
            return Ok(());
        }
        let Some(deposit) = self.store.find_deposit(digest).await? else {
            // The engine says what is missing.
            return Ok(());
        };
        let archive = self.archive(&deposit).await?;
        match self.trees.unpack(archive).await {
            Ok(made) if made == *digest => Ok(()),
            Ok(_) => Err(not_as_named(&deposit)),
            Err(reason) => {
                let detail = format!("the image cannot be unpacked here: {reason}");
                Err(Trouble::later(FailureCode::StorageUnavailable, detail))
            }
        }
    }

    async fn archive(&self, deposit: &Deposit) -> Result<File, Trouble> {
        let mut file = self.trees.spool().map_err(disk)?;
        for part in 0..deposit.parts {
            let bytes = self.part(deposit, part).await?;
            let written = tokio::task::spawn_blocking(move || file.write_all(&bytes).map(|()| file)).await;
            file = written.map_err(io::Error::other).flatten().map_err(disk)?;
        }
        file.rewind().map_err(disk)?;
        Ok(file)
    }

    async fn part(&self, deposit: &Deposit, part: u64) -> Result<Vec<u8>, Trouble> {
        match self.store.read_deposit(deposit, part).await {
            Err(StoreError::NotFound(_)) => {
                Err(Trouble::failed(FailureCode::StorageUnavailable, "the uploaded content is gone: upload it again"))
            }
            read => Ok(read?),
        }
    }
}

fn not_as_named(deposit: &Deposit) -> Trouble {
    let detail = format!("what rests in the store as {} is something else: upload it again", deposit.digest);
    Trouble::failed(FailureCode::StorageUnavailable, detail)
}

fn disk(error: io::Error) -> Trouble {
    Trouble::later(FailureCode::StorageUnavailable, format!("an image cannot be kept here: {error}"))
}

impl From<BlobError> for Trouble {
    fn from(error: BlobError) -> Self {
        Self::later(FailureCode::StorageUnavailable, error.to_string())
    }
}

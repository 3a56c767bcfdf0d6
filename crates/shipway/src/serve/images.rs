//! Where the API puts the trees of images and the worker finds them: the embedded engine's
//! layers.
//!
//! Each says what it needs in a trait; these few lines turn that into the engine's words.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::{CWD, Mode, OFlags};
use shipway_api::{ImageError, Images, Tree};
use shipway_driver_embedded::{BootstrapError, ImportError};
use shipway_engine::layers::{LayerError, Layers};
use shipway_model::Digest;
use shipway_oci::{UnpackError, UnpackLimits, Unpacked};
use shipway_stdx::chain;
use shipway_worker::Trees;

/// Images on this host.
#[derive(Debug)]
pub(super) struct HostedImages {
    layers: Arc<Layers>,
    /// Archives on their way in: nameless files, gone with whoever has them open.
    spool: PathBuf,
}

impl HostedImages {
    pub(super) const fn new(layers: Arc<Layers>, spool: PathBuf) -> Self {
        Self { layers, spool }
    }
}

#[async_trait]
impl Images for HostedImages {
    fn spool(&self) -> io::Result<File> {
        nameless(&self.spool)
    }

    async fn unpack(&self, archive: File) -> Result<Tree, ImageError> {
        let made = shipway_driver_embedded::import(&self.layers, archive, UnpackLimits::default()).await;
        made.map(tree).map_err(import_error)
    }

    async fn bootstrap(&self, from: &str) -> Result<File, ImageError> {
        let archive = self.spool().map_err(|error| ImageError::Unavailable(error.to_string()))?;
        shipway_driver_embedded::bootstrap(from, archive).await.map_err(bootstrap_error)
    }
}

fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// The same layers, as a worker sees them that is asked for what another machine received.
#[derive(Debug)]
pub(super) struct HostTrees(HostedImages);

impl HostTrees {
    pub(super) const fn new(layers: Arc<Layers>, spool: PathBuf) -> Self {
        Self(HostedImages::new(layers, spool))
    }
}

#[async_trait]
impl Trees for HostTrees {
    fn has(&self, digest: &Digest) -> bool {
        self.0.layers.path_of(digest).is_ok()
    }

    fn spool(&self) -> io::Result<File> {
        nameless(&self.0.spool)
    }

    async fn unpack(&self, archive: File) -> Result<Digest, String> {
        let made = self.0.unpack(archive).await;
        made.map(|tree| tree.digest).map_err(|error| error.to_string())
    }
}

fn tree((digest, unpacked): (Digest, Unpacked)) -> Tree {
    Tree {
        digest,
        size_bytes: unpacked.bytes,
        entries: unpacked.entries,
        devices_left_out: unpacked.devices_left_out,
        set_id_dropped: unpacked.set_id_dropped,
        attributes_dropped: unpacked.attributes_dropped,
    }
}

fn import_error(error: ImportError) -> ImageError {
    match error {
        ImportError::Archive(refused @ UnpackError::Refused { rule, .. }) => {
            ImageError::Refused { rule: rule.word(), detail: refused.to_string() }
        }
        ImportError::Archive(error) => ImageError::Unavailable(chain(&error)),
        ImportError::Layer(error) => layer_error(error),
    }
}

fn bootstrap_error(error: BootstrapError) -> ImageError {
    match error {
        BootstrapError::Unknown { .. } => ImageError::Unknown(error.to_string()),
        BootstrapError::NotInstalled { remedy } => {
            ImageError::NotInstalled { what: error.to_string(), remedy: remedy.to_owned() }
        }
        BootstrapError::Failed { how, said } => {
            ImageError::Failed { detail: format!("mmdebstrap could not make the image: {how}"), said }
        }
    }
}

fn layer_error(error: LayerError) -> ImageError {
    ImageError::Unavailable(chain(&error))
}

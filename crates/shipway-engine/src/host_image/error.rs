//! Why there is no host image, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use shipway_model::Digest;

use crate::layers::manifest::TreeError;

/// Why a host image could not be made, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum HostImageError {
    /// The host has no package database of Debian's.
    #[error("no package database at {}", .0.display())]
    NotDebian(PathBuf),
    /// A package that every image needs is not installed.
    #[error("the package {0} is not installed")]
    PackageMissing(String),
    /// A package is in the middle of being installed or removed, and nobody is at it.
    #[error("the package {package} is {state}")]
    PackageUnfinished {
        /// Its name.
        package: String,
        /// As dpkg says it.
        state: String,
    },
    /// dpkg or apt is at work right now.
    #[error("the packages of this host are being changed right now")]
    PackagesBusy,
    /// The host's files changed while they were copied, several times over.
    #[error("{} changed while it was copied", .0.display())]
    Changing(PathBuf),
    /// Another process of this engine root kept the directory locked for too long.
    #[error("another process has been making a host image for too long")]
    Locked,
    /// The package database holds something this version does not understand.
    #[error("cannot understand {}: {what}", path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// What was expected.
        what: String,
    },
    /// A program of the host's failed on the new tree.
    #[error("{tool} failed on the new image: {said}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// How it ended, and its last words.
        said: String,
    },
    /// No image has this digest.
    #[error("no host image {0} is kept here")]
    Missing(Digest),
    /// The new tree is larger than any image may be, or holds what none may hold.
    #[error("the image's tree is not as it must be")]
    Tree(#[source] TreeError),
    /// A file could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl HostImageError {
    /// What an operator can do about it, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotDebian(_) => "host images are made of Debian packages: use Debian or \
                a system derived from it, or give services an image instead"
                .to_owned(),
            Self::PackageMissing(package) => format!("apt-get install -y {package}"),
            Self::PackageUnfinished { .. } => "dpkg --configure -a, then try again".to_owned(),
            Self::PackagesBusy | Self::Changing(_) => "wait until apt or dpkg has finished, then try again".to_owned(),
            Self::Locked => "look for a `shipway` process that hangs".to_owned(),
            Self::Database { .. } => "dpkg --audit tells what dpkg thinks of it".to_owned(),
            Self::Tool { .. } => "see whether the program works on the host; \
                apt-get install --reinstall its package if not"
                .to_owned(),
            Self::Missing(_) => "deploy again: the new release gets the present image".to_owned(),
            Self::Tree(_) => "remove very large packages from the list of packages".to_owned(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => "free some space in the state directory".to_owned(),
                io::ErrorKind::PermissionDenied => "run shipway as root".to_owned(),
                _ => "see the cause".to_owned(),
            },
        }
    }

    /// Whether it passes by itself, so that the last image may stand in meanwhile.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::PackagesBusy | Self::Changing(_) | Self::PackageUnfinished { .. })
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

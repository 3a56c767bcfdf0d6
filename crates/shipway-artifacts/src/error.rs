//! What can go wrong with artifacts, sorted once into what may pass and what will not.

use std::io;
use std::path::{Path, PathBuf};

use shipway_model::Digest;

/// Why an artifact could not be put, read or looked after.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is not there; whoever needs it must put it (again).
    #[error("the artifact {digest} is not there")]
    Missing {
        /// Which one.
        digest: Digest,
    },
    /// What is kept is not what was put, also when it was read again. Nothing of the wrong
    /// part was given out.
    #[error("the artifact {digest} is damaged where it is kept: {reason}")]
    Damaged {
        /// Which one.
        digest: Digest,
        /// What was compared.
        reason: String,
    },
    /// The place refuses us: a setting is wrong, or a right is missing. Trying again does
    /// not help, changing what the setting says does.
    #[error("{setting}: {reason}")]
    Refused {
        /// The setting to look at, as the configuration file calls it.
        setting: &'static str,
        /// In words.
        reason: String,
    },
    /// The place cannot do it now; it was tried as often as is bearable. It may recover.
    #[error("artifacts cannot be kept or read now: {reason}")]
    Unavailable {
        /// In words.
        reason: String,
    },
    /// A part was asked for that the artifact does not have.
    #[error("bytes {start} to {end} were asked for of {size}")]
    NoSuchRange {
        /// The first byte asked for.
        start: u64,
        /// The byte after the last one asked for.
        end: u64,
        /// How many there are.
        size: u64,
    },
    /// It is larger than what is kept at all.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The local file cannot be read, or was changed while it was put.
    #[error("the file {} cannot be put", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// As the kernel said it.
        #[source]
        source: io::Error,
    },
}

impl ArtifactError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(crate) fn damaged(digest: &Digest, reason: impl Into<String>) -> Self {
        Self::Damaged { digest: digest.clone(), reason: reason.into() }
    }

    pub(crate) fn local(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Local { path, source }
    }

    /// Sorts what the kernel says of the directory of artifacts.
    pub(crate) fn directory(source: &io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull => Self::unavailable("the disk is full"),
            io::ErrorKind::QuotaExceeded => Self::unavailable("the disk quota is used up"),
            io::ErrorKind::ReadOnlyFilesystem => Self::unavailable("the disk is read-only"),
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => {
                Self::Refused { setting: "storage.local.path", reason: source.to_string() }
            }
            _ => Self::unavailable(source.to_string()),
        }
    }
}

//! An image: a root file system from elsewhere, and the names it has.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an image's name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// `repository:tag`.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits: of the tree, whatever archive it came in.
    pub digest: String,
    /// Bytes of all its files.
    pub size_bytes: u64,
    /// Files, folders and symlinks.
    pub entries: u64,
    /// Where it came from.
    pub source: String,
    /// Services with a release on it that can still run.
    pub services: Vec<String>,
    /// When the name got this meaning, RFC 3339.
    pub created_at: String,
}

/// A fresh import, and what was left out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageImported {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Devices and pipes below `dev/`, not made: a container has its own.
    pub devices_left_out: u64,
    /// Entries that lost a set-id bit.
    pub set_id_dropped: u64,
    /// Extended attributes and access lists, not kept.
    pub attributes_dropped: u64,
}

/// What to make an image of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageBootstrap {
    /// The distribution, its release and its kind, as `debian:bookworm-slim`.
    #[schema(example = "debian:bookworm-slim")]
    pub from: String,
}

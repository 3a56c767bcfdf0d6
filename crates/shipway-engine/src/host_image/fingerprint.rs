//! Whether the host has changed since the last image was made.
//!
//! A handful of stat(2) calls, so that asking for the present image costs
//! microseconds. dpkg replaces its status file by a new one at every installation,
//! upgrade and removal; the other files catch what does not go through it. A file
//! of a package that somebody edits by hand is not noticed until the next of these
//! changes: the image in use is the one with the right content.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shipway_model::Digest;

use super::HostImageConfig;

/// Raised whenever this crate makes another image of the same packages.
pub(super) const FORMAT: u32 = 1;

/// What an image depends on, below the host's root.
const WATCHED: [&str; 8] = [
    "var/lib/dpkg/status",
    "var/lib/dpkg/diversions",
    "var/lib/dpkg/statoverride",
    "var/lib/dpkg/alternatives",
    "etc/alternatives",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    super::skeleton::CA_BUNDLE,
];

/// The state of a host, as far as images go. Equal means: the same image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    format: u32,
    /// Of the configuration.
    config: Digest,
    /// Of each watched file; `None` where there is none.
    stamps: Vec<Option<Stamp>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_s: i64,
    modified_ns: i64,
}

/// Digest of the configuration, made once: the list of packages is long.
pub(super) fn digest_of(config: &HostImageConfig) -> Digest {
    // A configuration is strings and booleans; it always has a JSON form.
    let text = serde_json::to_vec(config).unwrap_or_default();
    Digest::from_sha256(Sha256::digest(text).into())
}

impl Fingerprint {
    /// Looks at the host.
    pub(super) fn read(host_root: &Path, config: &Digest) -> Self {
        let stamp = |path: &&str| {
            let found = std::fs::metadata(host_root.join(path)).ok()?;
            Some(Stamp {
                device: found.dev(),
                inode: found.ino(),
                size: found.size(),
                modified_s: found.mtime(),
                modified_ns: found.mtime_nsec(),
            })
        };
        Self { format: FORMAT, config: config.clone(), stamps: WATCHED.iter().map(stamp).collect() }
    }

    /// Whether both were taken under the same configuration and format.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.format == other.format && self.config == other.config
    }
}

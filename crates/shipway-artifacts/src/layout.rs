//! Which key holds what.
//!
//! ```text
//! artifacts/sha256/ab/ab12…             the artifact
//! artifacts/sha256/ab/ab12….chunks      digests of its parts, if it has more than one
//! artifacts/sha256/ab/ab12….minisig     companions: each is small, and may be replaced
//! artifacts/sha256/ab/ab12….touched     S3 only: when somebody was last about to need it
//! artifacts/sha256/ab/ab12….doomed.ID   S3 only: somebody is about to remove it
//! ```
//!
//! Keys in a bucket and paths beneath a directory are the same, so that one can be copied
//! into the other. All of one artifact's keys begin alike and sort together: one listing
//! finds them all.

use serde::{Deserialize, Serialize};
use shipway_model::Digest;

/// What all keys begin with.
pub(crate) const PREFIX: &str = "artifacts/sha256";
/// Digests of an artifact's parts.
pub(crate) const CHUNKS: &str = ".chunks";
/// Says by its time when an artifact was last touched.
pub(crate) const TOUCHED: &str = ".touched";
/// Says that an artifact is about to be removed; followed by the remover's own id.
pub(crate) const DOOMED: &str = ".doomed.";

/// An artifact that is kept: all that is needed to read it, and any part of it, verified.
/// To be kept by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its name: the SHA-256 of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size_bytes: u64,
    /// The SHA-256 of its list of chunks ([`crate::chunks`]), by which a part is verified.
    pub chunks: Digest,
}

/// What stands beside an artifact, each readable at its own URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Companion {
    /// A minisign signature.
    Minisign,
    /// An armoured, detached `OpenPGP` signature.
    OpenPgp,
    /// Where it came from: an in-toto statement.
    Provenance,
    /// What it consists of.
    Sbom,
    /// Its checksum, as `sha256sum -c` reads it.
    Checksum,
}

impl Companion {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Minisign, Self::OpenPgp, Self::Provenance, Self::Sbom, Self::Checksum];

    /// What is added to the artifact's name.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Minisign => ".minisig",
            Self::OpenPgp => ".asc",
            Self::Provenance => ".provenance.json",
            Self::Sbom => ".sbom.json",
            Self::Checksum => ".sha256",
        }
    }
}

/// The key of an artifact.
pub(crate) fn key(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{PREFIX}/{}/{hex}", &hex[..2])
}

/// The key of something beside it.
pub(crate) fn beside(digest: &Digest, suffix: &str) -> String {
    key(digest) + suffix
}

/// Which artifact a key belongs to, and the suffix; `None` for what is not ours.
pub(crate) fn parse(key: &str) -> Option<(Digest, &str)> {
    let (folder, name) = key.strip_prefix(PREFIX)?.strip_prefix('/')?.split_once('/')?;
    let hex = name.get(..64)?;
    let digest = format!("sha256:{hex}").parse().ok()?;
    let suffix = &name[64..];
    let ours = folder == &hex[..2] && (suffix.is_empty() || suffix.starts_with('.')) && !suffix.contains('/');
    ours.then_some((digest, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_they_were_written() {
        let digest = Digest::from_sha256([0xab; 32]);
        assert!(key(&digest).starts_with("artifacts/sha256/ab/abab"));
        assert_eq!(parse(&key(&digest)), Some((digest.clone(), "")));
        for companion in Companion::ALL {
            assert_eq!(parse(&beside(&digest, companion.suffix())), Some((digest.clone(), companion.suffix())));
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let hex = "ab".repeat(32);
        for strange in [
            "artifacts/sha256/ab/short".to_owned(),
            format!("artifacts/sha256/cd/{hex}"),
            format!("artifacts/sha256/ab/{hex}x"),
            format!("artifacts/sha256/ab/{hex}.a/b"),
            format!("builds/ab/{hex}"),
            format!("artifacts/sha256/ab/{}é", &hex[..63]),
        ] {
            assert_eq!(parse(&strange), None, "{strange}");
        }
    }
}

//! Whether an image is still what its name says.

use std::path::Path;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use shipway_model::Digest;

use super::HostImageError;
use crate::layers::TreeLimits;
use crate::layers::manifest::{Entry, Manifest, TreeError};

/// Past this many the image is rubbish, and the list helps nobody.
const DIFFERENCES_MAX: usize = 100;

/// Something that is not as the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// From the image's root.
    pub path: String,
    /// In words.
    pub what: &'static str,
}

/// Compares what is kept in `home` with its manifest, and that with the name.
pub(super) fn verify(home: &Path, digest: &Digest) -> Result<Vec<Difference>, HostImageError> {
    let path = home.join("manifest");
    let text = std::fs::read(&path).map_err(HostImageError::io("read", &path))?;
    if Digest::from_sha256(Sha256::digest(&text).into()) != *digest {
        return Ok(vec![difference(&path, "does not match the image's name")]);
    }
    let wanted = Manifest::parse(&text).map_err(HostImageError::Tree)?;
    let seen = match Manifest::scan(&home.join("tree"), TreeLimits::default()) {
        Ok(seen) => seen,
        Err(TreeError::Shared(path)) => {
            return Ok(vec![difference(&path, "shares its inode with another name")]);
        }
        Err(TreeError::Unsupported { path, what }) => return Ok(vec![difference(&path, what)]),
        Err(error) => return Err(HostImageError::Tree(error)),
    };
    Ok(compare(wanted.entries(), seen.entries()))
}

/// Walks two sorted lists side by side.
fn compare(wanted: &[Entry], seen: &[Entry]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (mut wanted, mut seen) = (wanted.iter().peekable(), seen.iter().peekable());
    let key = |entry: &&Entry| entry.path.as_os_str().to_owned();
    while differences.len() < DIFFERENCES_MAX {
        let (was, is) = match (wanted.peek(), seen.peek()) {
            (None, None) => break,
            (was, is) => (was.map(key), is.map(key)),
        };
        let order = match (&was, &is) {
            (Some(was), Some(is)) => was.cmp(is),
            (Some(_), None) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        match order {
            std::cmp::Ordering::Less => differences.extend(wanted.next().map(missing)),
            std::cmp::Ordering::Greater => differences.extend(seen.next().map(added)),
            std::cmp::Ordering::Equal => {
                if let (Some(was), Some(is)) = (wanted.next(), seen.next()) {
                    differences.extend(changed(was, is));
                }
            }
        }
    }
    differences
}

fn missing(entry: &Entry) -> Difference {
    difference(&entry.path, "is missing")
}

fn added(entry: &Entry) -> Difference {
    difference(&entry.path, "was added")
}

fn changed(was: &Entry, is: &Entry) -> Option<Difference> {
    let what = if was.kind != is.kind {
        "has another content"
    } else if was.mode != is.mode {
        "has another mode"
    } else if (was.uid, was.gid) != (is.uid, is.gid) {
        "has another owner"
    } else {
        return None;
    };
    Some(difference(&was.path, what))
}

fn difference(path: &Path, what: &'static str) -> Difference {
    Difference { path: path.display().to_string(), what }
}

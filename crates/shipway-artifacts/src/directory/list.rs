//! What a directory holds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use shipway_model::Digest;

use super::Directory;
use crate::artifacts::{Kept, Page};
use crate::layout::{PREFIX, parse};

/// One file of an artifact's.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) touched_at: SystemTime,
}

impl Directory {
    /// The folder that an artifact is in.
    pub(super) fn folder(&self, digest: &Digest) -> PathBuf {
        self.root.join(PREFIX).join(&digest.hex()[..2])
    }

    /// All files of an artifact.
    pub(super) fn keys_of(&self, digest: &Digest) -> io::Result<Vec<Found>> {
        Ok(self.files_in(&digest.hex()[..2])?.remove(digest).unwrap_or_default())
    }

    /// The files of one folder, by the artifacts they belong to.
    fn files_in(&self, name: &str) -> io::Result<BTreeMap<Digest, Vec<Found>>> {
        let mut found: BTreeMap<Digest, Vec<Found>> = BTreeMap::new();
        let folder = self.root.join(PREFIX).join(name);
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(file) = entry.file_name().into_string() else { continue };
            let Some((digest, _)) = parse(&format!("{PREFIX}/{name}/{file}")) else { continue };
            // One that has gone since is not listed.
            let Ok(metadata) = entry.metadata() else { continue };
            let (size_bytes, touched_at) = (metadata.len(), metadata.modified()?);
            found.entry(digest).or_default().push(Found { name: file, size_bytes, touched_at });
        }
        Ok(found)
    }

    pub(super) fn list_now(&self, after: Option<&Digest>, limit: usize) -> io::Result<Page> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(self.root.join(PREFIX))? {
            folders.extend(entry?.file_name().into_string());
        }
        folders.sort();
        let first = after.map(|digest| digest.hex()[..2].to_owned()).unwrap_or_default();
        let mut kept = Vec::new();
        for folder in folders.into_iter().filter(|folder| *folder >= first) {
            for (digest, files) in self.files_in(&folder)? {
                if after.is_some_and(|after| digest <= *after) {
                    continue;
                }
                if kept.len() == limit.max(1) {
                    let next = kept.last().map(|last: &Kept| last.digest.clone());
                    return Ok(Page { kept, next });
                }
                kept.push(summed(digest, &files));
            }
        }
        Ok(Page { kept, next: None })
    }
}

fn summed(digest: Digest, files: &[Found]) -> Kept {
    let whole = files.iter().any(|file| file.name.len() == 64);
    let touched_at = files.iter().map(|file| file.touched_at).max().unwrap_or(SystemTime::UNIX_EPOCH);
    Kept { size_bytes: files.iter().map(|file| file.size_bytes).sum(), touched_at, whole, digest }
}

//! Where a path of a package's really is on the host.
//!
//! Packages name `/lib/x86_64-linux-gnu/libc.so.6`; on a host with merged `/usr`
//! the file is `/usr/lib/…`, because `/lib` is a symlink there. An administrator
//! may have moved other directories the same way. So the directory part of every
//! path is resolved on the host, by hand and below the host's root, and the
//! symlinks met on the way are remembered: the image needs them too.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows.
const SYMLINKS_MAX: u32 = 40;

/// Resolves directories below one root; remembers what it saw.
#[derive(Debug)]
pub(super) struct HostPaths<'a> {
    root: &'a Path,
    folders: HashMap<PathBuf, Option<Folder>>,
    /// Symlinks met on the way, by their real path.
    pub(super) symlinks: BTreeMap<PathBuf, PathBuf>,
}

/// A directory as it really is.
#[derive(Debug, Clone)]
struct Folder {
    real: PathBuf,
    /// Whether everybody may enter and list it and all those above it.
    is_open: bool,
}

/// A path whose directory is resolved; its last part may still be a symlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RealPath {
    /// From the root, without its slash.
    pub(super) path: PathBuf,
    /// Whether everybody on the host may come this far.
    pub(super) is_open: bool,
}

impl<'a> HostPaths<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self { root, folders: HashMap::new(), symlinks: BTreeMap::new() }
    }

    /// The place on the host's disk of a path from its root.
    pub(super) fn on_disk(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// Resolves the directory part of an absolute path; `None` if there is no such
    /// directory, or the path has no last part.
    pub(super) fn resolve(&mut self, path: &Path) -> Option<RealPath> {
        let name = path.file_name()?;
        let folder = self.folder(path.parent()?)?;
        Some(RealPath { path: folder.real.join(name), is_open: folder.is_open })
    }

    fn folder(&mut self, path: &Path) -> Option<Folder> {
        if let Some(known) = self.folders.get(path) {
            return known.clone();
        }
        let found = self.walk(path);
        self.folders.insert(path.to_owned(), found.clone());
        found
    }

    fn walk(&mut self, path: &Path) -> Option<Folder> {
        let mut folder = Folder { real: PathBuf::new(), is_open: true };
        let mut symlinks = 0;
        let mut rest: VecDeque<OsString> = parts(path);
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                folder.real.pop();
                continue;
            }
            let next = folder.real.join(&part);
            let on_disk = self.root.join(&next);
            let found = std::fs::symlink_metadata(&on_disk).ok()?;
            if found.is_dir() {
                folder.is_open &= found.mode() & 0o005 == 0o005;
                folder.real = next;
                continue;
            }
            symlinks += 1;
            if !found.is_symlink() || symlinks > SYMLINKS_MAX {
                return None;
            }
            let target = std::fs::read_link(on_disk).ok()?;
            if target.is_absolute() {
                folder.real.clear();
            }
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
            self.symlinks.insert(next, target);
        }
        Some(folder)
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

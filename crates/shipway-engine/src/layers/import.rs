//! A directory becomes a layer.
//!
//! The source may be hostile and may change under us: a user's build context, the
//! output of a build step. So every name is reached from the handle of its parent,
//! no symlink is followed, what a name *is* is asked of the open file and not of
//! the name, and the limits count what was copied.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use shipway_model::Digest;
use shipway_stdx::fs::{Durability, write_atomic};

use super::copy::{INSIDE, create_file, fill_from, open_folder};
use super::manifest::{Manifest, TreeError, names_in, open_root, read_link, refusal, too_large};
use super::{Draft, LayerError, Shelf, ShelfLock, TreeLimits, failed};

/// Ids inside a container end here, so a layer cannot name a later one.
const ID_MAX: u32 = 65_535;
/// Kept of a directory's mode. Set-id bits of files are dropped too: a container's
/// root file system is mounted `nosuid`, so they would only mislead.
const FOLDER_BITS: u32 = 0o1777;
const FILE_BITS: u32 = 0o777;

/// Copies `source`, names the copy and puts it on the shelf.
pub(super) fn import(shelf: &Shelf, lock: &ShelfLock, source: &Path, limits: TreeLimits) -> Result<Digest, LayerError> {
    let refused = |error| LayerError::Tree { path: source.to_owned(), source: error };
    let draft = shelf.draft(lock).map_err(failed("begin a layer"))?;
    let from = open_root(source).map_err(refused)?;
    let to = open_root(&draft.tree()).map_err(refused)?;
    let mut copying = Copying { limits, entries: 0, bytes: 0 };
    copying.folder(&from, &to, &PathBuf::new(), 0).map_err(refused)?;
    finish(shelf, lock, &draft, limits)
}

/// Lets `fill` write a tree, names it and puts it on the shelf.
pub(super) fn made<T, E>(
    shelf: &Shelf,
    lock: &ShelfLock,
    limits: TreeLimits,
    fill: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<Result<(Digest, T), E>, LayerError> {
    let draft = shelf.draft(lock).map_err(failed("begin a layer"))?;
    match fill(&draft.tree()) {
        Ok(told) => finish(shelf, lock, &draft, limits).map(|digest| Ok((digest, told))),
        Err(error) => Ok(Err(error)),
    }
}

/// Names a draft. Read back from the copy: the name tells what is kept, whatever the
/// source did meanwhile.
fn finish(shelf: &Shelf, lock: &ShelfLock, draft: &Draft, limits: TreeLimits) -> Result<Digest, LayerError> {
    let refused = |error| LayerError::Tree { path: draft.tree(), source: error };
    let manifest = Manifest::scan(&draft.tree(), limits).map_err(refused)?;
    let digest = manifest.digest();
    let file = draft.dir().join("manifest");
    write_atomic(&file, &manifest.to_bytes(), 0o600, Durability::Process).map_err(failed("write a manifest"))?;
    shelf.finish(lock, draft, &digest).map_err(failed("finish a layer"))?;
    Ok(digest)
}

/// What an import has used of its limits.
struct Copying {
    limits: TreeLimits,
    entries: u64,
    bytes: u64,
}

impl Copying {
    fn folder(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path, depth: usize) -> Result<(), TreeError> {
        if depth > self.limits.depth_max {
            return Err(too_large("levels of directories", self.limits.depth_max as u64));
        }
        for name in names_in(from, path)? {
            self.entries += 1;
            if self.entries > self.limits.entries_max {
                return Err(too_large("entries", self.limits.entries_max));
            }
            self.entry(from, to, &name, &path.join(&name), depth)?;
        }
        // Last, so that a directory without write permission can be filled.
        let stat = rustix::fs::fstat(from).map_err(|error| io("look at", path)(error))?;
        dress(to, &stat, FOLDER_BITS, path)
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &Path, path: &Path, depth: usize) -> Result<(), TreeError> {
        let stat =
            rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| io("look at", path)(error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let inner = open_folder(from, name).map_err(TreeError::io("open", path))?;
                rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(|error| io("make", path)(error))?;
                let made = open_folder(to, name).map_err(TreeError::io("open", path))?;
                self.folder(&inner, &made, path, depth + 1)
            }
            FileType::Symlink => symlink(from, to, name, path, &stat),
            kind => match refusal(kind) {
                None => self.file(from, to, name, path),
                Some(what) => {
                    let path = path.to_owned();
                    Err(TreeError::Unsupported { path, what })
                }
            },
        }
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &Path, path: &Path) -> Result<(), TreeError> {
        // Non-blocking, in case the name became a pipe since it was looked at.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let source =
            rustix::fs::openat2(from, name, flags, Mode::empty(), INSIDE).map_err(|error| io("open", path)(error))?;
        let stat = rustix::fs::fstat(&source).map_err(|error| io("look at", path)(error))?;
        if let Some(what) = refusal(FileType::from_raw_mode(stat.st_mode)) {
            let path = path.to_owned();
            return Err(TreeError::Unsupported { path, what });
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.bytes += size;
        if self.bytes > self.limits.bytes_max {
            return Err(too_large("bytes", self.limits.bytes_max));
        }
        let mut target = create_file(to, name, 0o600).map_err(TreeError::io("make", path))?;
        fill_from(&mut target, &mut File::from(source), size).map_err(TreeError::io("copy", path))?;
        dress(&target.into(), &stat, FILE_BITS, path)
    }
}

fn symlink(from: &OwnedFd, to: &OwnedFd, name: &Path, path: &Path, stat: &Stat) -> Result<(), TreeError> {
    let target = read_link(from, name, path)?;
    let (uid, gid) = owner(stat, path)?;
    rustix::fs::symlinkat(&target, to, name).map_err(|error| io("make", path)(error))?;
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| io("change the owner of", path)(error))
}

/// Gives a copy its owner, mode and times, in this order: chown(2) clears bits.
fn dress(target: &OwnedFd, stat: &Stat, bits: u32, path: &Path) -> Result<(), TreeError> {
    let (uid, gid) = owner(stat, path)?;
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
    let times = Timestamps { last_access: modified, last_modification: modified };
    rustix::fs::fchown(target, Some(uid), Some(gid))
        .and_then(|()| rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode & bits)))
        .and_then(|()| rustix::fs::futimens(target, &times))
        .map_err(|error| io("finish", path)(error))
}

fn owner(stat: &Stat, path: &Path) -> Result<(Uid, Gid), TreeError> {
    let (uid, gid) = (stat.st_uid, stat.st_gid);
    if uid > ID_MAX || gid > ID_MAX {
        let path = path.to_owned();
        return Err(TreeError::Owner { path, uid, gid });
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> TreeError {
    let path = path.to_owned();
    move |error| TreeError::io(doing, &path)(error.into())
}

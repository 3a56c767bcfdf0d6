//! Writing what an archive names, below one directory handle.
//!
//! Every path is resolved by the kernel beneath the root (`openat2(2)`), through no
//! symlink and no magic link, so that neither a link the archive laid before nor a
//! tree that somebody changes meanwhile leads out. Everything that is here was put
//! here by this archive: what a name already is, is asked of the tree itself.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::UnpackLimits;
use crate::path::InnerPath;
use crate::rule::{Rule, UnpackError, broken, broken_at, show};

const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Who an entry belongs to and how it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dress {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: (i64, u32),
}

impl Dress {
    /// Of a folder that the archive names only within a path.
    const IMPLIED: Self = Self { mode: 0o755, uid: 0, gid: 0, modified: (0, 0) };

    const fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.modified.0, tv_nsec: self.modified.1 as _ };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// The tree being written.
#[derive(Debug)]
pub(crate) struct Tree<'l> {
    root: OwnedFd,
    limits: &'l UnpackLimits,
    /// Said by the archive so far, for the limits.
    entries: u64,
    bytes: u64,
    names: u64,
    /// In the tree now, the root included.
    pub(crate) things: u64,
    pub(crate) size: u64,
    /// Dressed last: writing into a folder changes its time.
    folders: BTreeMap<InnerPath, Dress>,
    /// The folder written into last; archives stay in one for a while.
    at: Option<(InnerPath, OwnedFd)>,
}

impl<'l> Tree<'l> {
    /// Opens the empty directory `root`, whose path is the caller's own.
    pub(crate) fn open(root: &Path, limits: &'l UnpackLimits) -> Result<Self, UnpackError> {
        let root =
            rustix::fs::open(root, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(failed("open the tree", b"."))?;
        // Of the root too: what an archive does not say is always the same.
        let folders = BTreeMap::from([(InnerPath::root(), Dress::IMPLIED)]);
        Ok(Self { root, limits, entries: 0, bytes: 0, names: 0, things: 1, size: 0, folders, at: None })
    }

    /// Counts something the archive says or the tree will hold.
    pub(crate) fn count(&mut self, name_bytes: usize) -> Result<(), UnpackError> {
        self.entries += 1;
        self.names += name_bytes as u64;
        if self.entries > self.limits.entries_max {
            return Err(broken(Rule::Entries));
        }
        if self.names > self.limits.names_max {
            return Err(broken(Rule::Names));
        }
        Ok(())
    }

    /// Makes a folder, or gives the one that is there another dress.
    pub(crate) fn folder(&mut self, path: &InnerPath, dress: Dress) -> Result<(), UnpackError> {
        if let Some((above, name)) = path.split() {
            let folder = self.enter(&above)?;
            match kind_of(folder, name)? {
                Some(FileType::Directory) => {}
                Some(_) => return Err(broken_at(Rule::TypeChange, path.bytes())),
                None => {
                    mkdir(folder, name, path)?;
                    self.things += 1;
                }
            }
        }
        self.folders.insert(path.clone(), dress);
        Ok(())
    }

    /// Writes a file of `size` bytes from `body`.
    pub(crate) fn file(
        &mut self,
        path: &InnerPath,
        dress: Dress,
        size: u64,
        body: &mut dyn Read,
        explain: impl Fn(&io::Error) -> UnpackError,
    ) -> Result<(), UnpackError> {
        self.weigh(size)?;
        let mut file = self.create(path)?;
        let mut left = size;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let chunk = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = match body.read(&mut buffer[..chunk]) {
                Ok(0) => return Err(broken_at(Rule::Truncated, path.bytes())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(explain(&error)),
            };
            io::Write::write_all(&mut file, &buffer[..read]).map_err(failed("write", path.bytes()))?;
            left -= read as u64;
        }
        dress_file(&file, dress, path)
    }

    /// Makes a symlink; where it leads is nobody's business here.
    pub(crate) fn symlink(&mut self, path: &InnerPath, target: &[u8], dress: Dress) -> Result<(), UnpackError> {
        if target.is_empty() || target.len() > crate::path::PATH_MAX || target.contains(&0) {
            return Err(broken_at(Rule::Symlink, path.bytes()));
        }
        let (above, name) = path.split().ok_or_else(|| broken_at(Rule::TypeChange, path.bytes()))?;
        self.make_way(path, FileType::Symlink)?;
        let folder = self.enter(&above)?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), folder, OsStr::from_bytes(name))
            .map_err(failed("make", path.bytes()))?;
        let (uid, gid) = (Uid::from_raw(dress.uid), Gid::from_raw(dress.gid));
        let name = OsStr::from_bytes(name);
        rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| rustix::fs::utimensat(folder, name, &dress.times(), AtFlags::SYMLINK_NOFOLLOW))
            .map_err(failed("finish", path.bytes()))
    }

    /// Makes `path` a copy of the file or symlink `target`: in a tree that many share, two
    /// names of one inode would be one file to write to.
    pub(crate) fn hard_link(&mut self, path: &InnerPath, target: &InnerPath) -> Result<(), UnpackError> {
        let refuse = || broken_at(Rule::HardLink, path.bytes());
        if path == target {
            return Err(refuse());
        }
        let (above, name) = target.split().ok_or_else(refuse)?;
        // Not by `enter`, which would make what is missing.
        let folder = open_inside(&self.root, &above, FOLDER).map_err(|_| refuse())?;
        match kind_of(&folder, name)? {
            Some(FileType::RegularFile) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let source = open_inside(&self.root, target, flags).map_err(failed("open", target.bytes()))?;
                self.copy(path, File::from(source))
            }
            Some(FileType::Symlink) => {
                let name = OsStr::from_bytes(name);
                let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(failed("look at", target.bytes()))?;
                let leads =
                    rustix::fs::readlinkat(&folder, name, Vec::new()).map_err(failed("read", target.bytes()))?;
                self.symlink(path, leads.as_bytes(), dress_of(&stat))
            }
            _ => Err(refuse()),
        }
    }

    fn copy(&mut self, path: &InnerPath, mut source: File) -> Result<(), UnpackError> {
        let stat = rustix::fs::fstat(&source).map_err(failed("look at", path.bytes()))?;
        self.weigh(u64::try_from(stat.st_size).unwrap_or(0))?;
        let mut file = self.create(path)?;
        io::copy(&mut source, &mut file).map_err(failed("copy", path.bytes()))?;
        dress_file(&file, dress_of(&stat), path)
    }

    /// Dresses every folder.
    pub(crate) fn finish(self) -> Result<(), UnpackError> {
        for (path, dress) in &self.folders {
            let folder = open_inside(&self.root, path, FOLDER).map_err(failed("open", path.bytes()))?;
            dress_inode(&folder, *dress, path)?;
        }
        Ok(())
    }

    fn weigh(&mut self, size: u64) -> Result<(), UnpackError> {
        self.bytes = self.bytes.saturating_add(size);
        self.size = self.size.saturating_add(size);
        if self.bytes > self.limits.bytes_max { Err(broken(Rule::Bytes)) } else { Ok(()) }
    }

    /// A new file where there is none, or where there was one.
    fn create(&mut self, path: &InnerPath) -> Result<File, UnpackError> {
        let (above, name) = path.split().ok_or_else(|| broken_at(Rule::TypeChange, path.bytes()))?;
        self.make_way(path, FileType::RegularFile)?;
        let folder = self.enter(&above)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let made = rustix::fs::openat2(folder, OsStr::from_bytes(name), flags, mode, INSIDE);
        made.map(File::from).map_err(failed("make", path.bytes()))
    }

    /// Counts what will be made, and removes an earlier thing of the same name and kind;
    /// another kind is refused.
    fn make_way(&mut self, path: &InnerPath, kind: FileType) -> Result<(), UnpackError> {
        let (above, name) = path.split().ok_or_else(|| broken_at(Rule::TypeChange, path.bytes()))?;
        let folder = self.enter(&above)?;
        let name = OsStr::from_bytes(name);
        let found = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                self.things += 1;
                return Ok(());
            }
            found => found.map_err(failed("look at", path.bytes()))?,
        };
        if FileType::from_raw_mode(found.st_mode) != kind {
            return Err(broken_at(Rule::TypeChange, path.bytes()));
        }
        rustix::fs::unlinkat(folder, name, AtFlags::empty()).map_err(failed("replace", path.bytes()))?;
        if kind == FileType::RegularFile {
            self.size = self.size.saturating_sub(u64::try_from(found.st_size).unwrap_or(0));
        }
        Ok(())
    }

    /// The folder `path`, made with those above it where they are missing.
    fn enter(&mut self, path: &InnerPath) -> Result<&OwnedFd, UnpackError> {
        if self.at.as_ref().is_none_or(|(known, _)| known != path) {
            let folder = match open_inside(&self.root, path, FOLDER) {
                Err(Errno::NOENT) => self.make_folders(path)?,
                opened => opened.map_err(|error| entering(error, path))?,
            };
            self.at = Some((path.clone(), folder));
        }
        let (_, folder) = self.at.as_ref().expect("it was set a moment ago");
        Ok(folder)
    }

    fn make_folders(&mut self, path: &InnerPath) -> Result<OwnedFd, UnpackError> {
        let mut folder = None;
        for each in path.folders().chain([path.clone()]) {
            let above = folder.as_ref().unwrap_or(&self.root);
            let (_, name) = each.split().expect("a folder above something has a name");
            let next = OsStr::from_bytes(name);
            let opened = match rustix::fs::openat2(above, next, FOLDER, Mode::empty(), INSIDE) {
                Err(Errno::NOENT) => {
                    mkdir(above, name, &each)?;
                    let opened = rustix::fs::openat2(above, next, FOLDER, Mode::empty(), INSIDE);
                    self.count(each.bytes().len())?;
                    self.things += 1;
                    self.folders.insert(each.clone(), Dress::IMPLIED);
                    opened
                }
                opened => opened,
            };
            folder = Some(opened.map_err(|error| entering(error, &each))?);
        }
        Ok(folder.expect("the root is always there"))
    }
}

fn open_inside(root: &OwnedFd, path: &InnerPath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_root() { b"." } else { path.bytes() };
    rustix::fs::openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), INSIDE)
}

/// Why a folder could not be entered, by the errors of openat2(2).
fn entering(error: Errno, path: &InnerPath) -> UnpackError {
    match error {
        Errno::LOOP => broken_at(Rule::ThroughSymlink, path.bytes()),
        Errno::NOTDIR => broken_at(Rule::TypeChange, path.bytes()),
        error => failed("open", path.bytes())(error),
    }
}

fn kind_of(folder: &OwnedFd, name: &[u8]) -> Result<Option<FileType>, UnpackError> {
    match rustix::fs::statat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(failed("look at", name)(error)),
    }
}

fn mkdir(folder: &OwnedFd, name: &[u8], path: &InnerPath) -> Result<(), UnpackError> {
    rustix::fs::mkdirat(folder, OsStr::from_bytes(name), Mode::RWXU).map_err(failed("make", path.bytes()))
}

fn dress_file(file: &File, dress: Dress, path: &InnerPath) -> Result<(), UnpackError> {
    dress_inode(file, dress, path)
}

/// In this order: chown(2) clears bits, and both change the times.
fn dress_inode(inode: impl std::os::fd::AsFd, dress: Dress, path: &InnerPath) -> Result<(), UnpackError> {
    rustix::fs::fchown(&inode, Some(Uid::from_raw(dress.uid)), Some(Gid::from_raw(dress.gid)))
        .and_then(|()| rustix::fs::fchmod(&inode, Mode::from_raw_mode(dress.mode)))
        .and_then(|()| rustix::fs::futimens(&inode, &dress.times()))
        .map_err(failed("finish", path.bytes()))
}

fn dress_of(stat: &rustix::fs::Stat) -> Dress {
    Dress {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
    }
}

fn failed<E: Into<io::Error>>(doing: &'static str, path: &[u8]) -> impl FnOnce(E) -> UnpackError {
    let path = show(path);
    move |error| UnpackError::Write { doing, path, source: error.into() }
}

//! A directory becomes an archive that [`unpack`](fn@crate::unpack) takes.
//!
//! For a root file system that lies on the disk of whoever imports it, which need not be
//! the server's. Like an archive it may be hostile, or change while it is read: names
//! are reached from the handle of their folder, no symlink is followed, what a name is
//! is asked of the open file, and a file is as long as it was when it was opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use tar::{Builder, EntryType, Header};

use crate::UnpackLimits;
use crate::rule::{Rule, UnpackError, broken, broken_at, show};

const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What went into an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// Files, folders and symlinks.
    pub entries: u64,
    /// Bytes of all files. A file with several names counts, and is written, once a name.
    pub bytes: u64,
    /// Devices and pipes below `dev/`, left out.
    pub devices_left_out: u64,
}

/// Writes the tree at `directory` to `out`, names sorted.
///
/// # Errors
///
/// [`UnpackError::Refused`] for what an archive would be refused for: special files
/// outside of `dev/`, more than the limits. [`UnpackError::Read`] when the directory
/// cannot be read, [`UnpackError::Write`] when `out` takes no more.
pub fn pack(directory: &Path, out: impl Write, limits: &UnpackLimits) -> Result<Packed, UnpackError> {
    // What the caller names may be a symlink; nothing below it may.
    let root = rustix::fs::open(directory, FOLDER, Mode::empty()).map_err(unreadable)?;
    let mut packing = Packing { out: Builder::new(out), limits, done: Packed::default() };
    packing.folder(&root, Path::new(""), 0)?;
    packing.out.into_inner().and_then(|mut out| out.flush()).map_err(unwritable(Path::new(".")))?;
    Ok(packing.done)
}

struct Packing<'l, W: Write> {
    out: Builder<W>,
    limits: &'l UnpackLimits,
    done: Packed,
}

impl<W: Write> Packing<'_, W> {
    fn folder(&mut self, folder: &OwnedFd, path: &Path, depth: usize) -> Result<(), UnpackError> {
        if depth > self.limits.depth_max {
            return Err(broken_at(Rule::Depth, path.as_os_str().as_bytes()));
        }
        let stat = rustix::fs::fstat(folder).map_err(unreadable)?;
        let written = if path.as_os_str().is_empty() { Path::new("./") } else { path };
        self.append(written, &stat, EntryType::Directory, 0, io::empty())?;
        for name in names_in(folder)? {
            let inner = path.join(&name);
            let stat = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let opened = rustix::fs::openat2(folder, &name, FOLDER, Mode::empty(), INSIDE);
                    self.folder(&opened.map_err(unreadable)?, &inner, depth + 1)?;
                }
                FileType::RegularFile => self.file(folder, &name, &inner)?,
                FileType::Symlink => self.symlink(folder, &name, &inner, &stat)?,
                _ if path.starts_with("dev") => self.done.devices_left_out += 1,
                FileType::BlockDevice | FileType::CharacterDevice => {
                    return Err(broken_at(Rule::Device, inner.as_os_str().as_bytes()));
                }
                _ => return Err(broken_at(Rule::Special, inner.as_os_str().as_bytes())),
            }
        }
        Ok(())
    }

    fn file(&mut self, folder: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), UnpackError> {
        // Non-blocking, in case the name became a pipe since it was looked at.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat2(folder, name, flags, Mode::empty(), INSIDE).map_err(unreadable)?;
        let stat = rustix::fs::fstat(&file).map_err(unreadable)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(broken_at(Rule::Special, path.as_os_str().as_bytes()));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.done.bytes = self.done.bytes.saturating_add(size);
        if self.done.bytes > self.limits.bytes_max {
            return Err(broken(Rule::Bytes));
        }
        // One that shrinks meanwhile is filled with zeros: its head is written.
        let body = File::from(file).take(size).chain(io::repeat(0)).take(size);
        self.append(path, &stat, EntryType::Regular, size, body)
    }

    fn symlink(&mut self, folder: &OwnedFd, name: &OsStr, path: &Path, stat: &Stat) -> Result<(), UnpackError> {
        let target = rustix::fs::readlinkat(folder, name, Vec::new()).map_err(unreadable)?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        self.count()?;
        let mut header = header(stat, EntryType::Symlink, 0);
        self.out.append_link(&mut header, path, &target).map_err(unwritable(path))
    }

    fn append(
        &mut self,
        path: &Path,
        stat: &Stat,
        kind: EntryType,
        size: u64,
        body: impl Read,
    ) -> Result<(), UnpackError> {
        self.count()?;
        let mut header = header(stat, kind, size);
        self.out.append_data(&mut header, path, body).map_err(unwritable(path))
    }

    fn count(&mut self) -> Result<(), UnpackError> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries_max { Err(broken(Rule::Entries)) } else { Ok(()) }
    }
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(size);
    header
}

fn names_in(folder: &OwnedFd) -> Result<Vec<OsString>, UnpackError> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

fn unreadable(error: rustix::io::Errno) -> UnpackError {
    UnpackError::Read(error.into())
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = show(path.as_os_str().as_bytes());
    move |source| UnpackError::Write { doing: "write the archive's entry", path, source }
}

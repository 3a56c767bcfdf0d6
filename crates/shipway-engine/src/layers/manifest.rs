//! What a tree is, as text; the digest of that text is the tree's name.
//!
//! ```text
//! shipway tree 1
//! .  d  0755  0:0
//! bin  l  0777  0:0  usr/bin
//! usr/bin/dash  f  0755  0:0  5f2c…
//! ```
//!
//! One line an entry, sorted by the path's bytes, fields parted by single tabs: path,
//! kind, mode, owner, and the SHA-256 of a file or the target of a symlink. A
//! backslash, tab or line feed in a name is written `\\`, `\t`, `\n`. Times are
//! left out on purpose: the same tree made twice has one name.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use sha2::{Digest as _, Sha256};
use shipway_model::Digest;

use super::TreeLimits;
use super::copy::{INSIDE, open_folder};

mod parallel;
mod text;

pub(crate) use parallel::parallel;

/// Everything a tree holds, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

/// One thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Below the tree's root, `.` for the root itself.
    pub path: PathBuf,
    /// Permission bits, sticky bit included.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Of its content.
        sha256: [u8; 32],
    },
    /// A symlink; its target is kept as it is and never followed here.
    Symlink {
        /// As readlink(2) gives it.
        target: PathBuf,
    },
}

/// What was wrong with a tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A device, pipe, socket or something newer.
    #[error("{} is {what}; only directories, files and symlinks can be kept", path.display())]
    Unsupported {
        /// Below the tree's root.
        path: PathBuf,
        /// In words.
        what: &'static str,
    },
    /// An id that no container has.
    #[error("{} belongs to {uid}:{gid}; ids end at 65535", path.display())]
    Owner {
        /// Below the tree's root.
        path: PathBuf,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A mode that a finished image cannot have.
    #[error("{} has mode {mode:04o}: set-id, or writable by others than root", path.display())]
    Mode {
        /// Below the tree's root.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// Past a limit of [`TreeLimits`].
    #[error("the tree has more than {limit} {what}")]
    TooLarge {
        /// Entries, bytes or levels.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A file shares its inode with another name, maybe outside.
    #[error("{} shares its inode with another name", .0.display())]
    Shared(PathBuf),
    /// A manifest that this version did not write.
    #[error("line {line} of the manifest: {what}")]
    Text {
        /// Counted from 1.
        line: usize,
        /// What was expected.
        what: &'static str,
    },
    /// The tree could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Below the tree's root.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl TreeError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

impl Manifest {
    /// Reads a tree, following nothing, and hashes every file in it.
    ///
    /// # Errors
    ///
    /// [`TreeError`] for the first entry that a tree may not hold: a special file,
    /// an inode shared with another name, more than `limits`.
    pub fn scan(tree: &Path, limits: TreeLimits) -> Result<Self, TreeError> {
        let root = open_root(tree)?;
        let mut walk = Walk { limits, bytes: 0, entries: Vec::new() };
        walk.folder(&root, PathBuf::new(), 0)?;
        let mut entries = walk.entries;
        let files: Vec<usize> =
            (0..entries.len()).filter(|&at| matches!(entries[at].kind, Kind::File { .. })).collect();
        let hashes = parallel(files.len(), |at| hash_file(&root, &entries[files[at]].path))?;
        for (at, sha256) in files.into_iter().zip(hashes) {
            entries[at].kind = Kind::File { sha256 };
        }
        entries.sort_by(|a, b| bytes_of(&a.path).cmp(bytes_of(&b.path)));
        Ok(Self { entries })
    }

    /// The tree's name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::from_sha256(Sha256::digest(self.to_bytes()).into())
    }

    /// Every entry, sorted by path.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The text, see the head of this file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        text::write(&self.entries)
    }

    /// Reads the text back.
    ///
    /// # Errors
    ///
    /// [`TreeError::Text`].
    pub fn parse(text: &[u8]) -> Result<Self, TreeError> {
        text::read(text).map(|entries| Self { entries })
    }
}

/// Opens the directory a tree is in. The path itself is the caller's own.
pub(crate) fn open_root(tree: &Path) -> Result<OwnedFd, TreeError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(tree, flags, Mode::empty()).map_err(|error| TreeError::io("open", tree)(error.into()))
}

/// Lists a directory's names, sorted, without `.` and `..`.
pub(crate) fn names_in(folder: &OwnedFd, path: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let read = || {
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(PathBuf::from(std::ffi::OsString::from_vec(name)));
            }
        }
        names.sort();
        Ok::<_, rustix::io::Errno>(names)
    };
    read().map_err(|error| TreeError::io("list", path)(error.into()))
}

/// Why an entry of this type is refused, in words; `None` for the three that are kept.
pub(crate) fn refusal(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::Directory | FileType::RegularFile | FileType::Symlink => None,
        FileType::BlockDevice | FileType::CharacterDevice => Some("a device"),
        FileType::Fifo => Some("a named pipe"),
        FileType::Socket => Some("a socket"),
        _ => Some("of an unknown kind"),
    }
}

/// What a walk has used of its limits.
struct Walk {
    limits: TreeLimits,
    bytes: u64,
    entries: Vec<Entry>,
}

impl Walk {
    fn folder(&mut self, folder: &OwnedFd, path: PathBuf, depth: usize) -> Result<(), TreeError> {
        if depth > self.limits.depth_max {
            return Err(too_large("levels of directories", self.limits.depth_max as u64));
        }
        let stat = rustix::fs::fstat(folder).map_err(|error| TreeError::io("look at", &path)(error.into()))?;
        self.push(&path, &stat, Kind::Directory)?;
        for name in names_in(folder, &path)? {
            let path = path.join(&name);
            let stat = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| TreeError::io("look at", &path)(error.into()))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let inner = open_folder(folder, &name).map_err(TreeError::io("open", &path))?;
                    self.folder(&inner, path, depth + 1)?;
                }
                FileType::Symlink => {
                    let target = read_link(folder, &name, &path)?;
                    self.push(&path, &stat, Kind::Symlink { target })?;
                }
                _ => self.file(&path, &stat)?,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, stat: &Stat) -> Result<(), TreeError> {
        if let Some(what) = refusal(FileType::from_raw_mode(stat.st_mode)) {
            let path = path.to_owned();
            return Err(TreeError::Unsupported { path, what });
        }
        if stat.st_nlink != 1 {
            return Err(TreeError::Shared(path.to_owned()));
        }
        self.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        if self.bytes > self.limits.bytes_max {
            return Err(too_large("bytes", self.limits.bytes_max));
        }
        let sha256 = [0; 32];
        self.push(path, stat, Kind::File { sha256 })
    }

    fn push(&mut self, path: &Path, stat: &Stat, kind: Kind) -> Result<(), TreeError> {
        if self.entries.len() as u64 >= self.limits.entries_max {
            return Err(too_large("entries", self.limits.entries_max));
        }
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
        self.entries.push(Entry { path, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, kind });
        Ok(())
    }
}

/// Reads a symlink without following it.
pub(crate) fn read_link(folder: &OwnedFd, name: &Path, path: &Path) -> Result<PathBuf, TreeError> {
    let target = rustix::fs::readlinkat(folder, name, Vec::new())
        .map_err(|error| TreeError::io("read the symlink", path)(error.into()))?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
}

pub(crate) fn too_large(what: &'static str, limit: u64) -> TreeError {
    TreeError::TooLarge { what, limit }
}

fn hash_file(root: &OwnedFd, path: &Path) -> Result<[u8; 32], TreeError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let hash = || {
        let file = rustix::fs::openat2(root, path, flags, Mode::empty(), INSIDE)?;
        let mut hasher = Hasher(Sha256::new());
        io::copy(&mut io::BufReader::with_capacity(256 << 10, File::from(file)), &mut hasher)?;
        Ok::<_, io::Error>(hasher.0.finalize().into())
    };
    hash().map_err(TreeError::io("read", path))
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

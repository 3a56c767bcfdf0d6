//! Files of a bench, from outside: written before a command, taken out after it.
//!
//! What ran on the bench may have put anything anywhere, links and pipes among them. So
//! every path is walked from the handle of the bench's root, folder by folder, through no
//! link of any kind, and what a name is gets asked of the open file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

/// Inside, on the same file system, through no link.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Why a file of a bench could not be written or taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// The path, or what stands there, breaks a rule.
    #[error("{path}: {rule}")]
    Rule { path: String, rule: String },
    /// The disk: full, or failing.
    #[error("{path}: {source}")]
    Disk { path: String, source: io::Error },
}

/// The names of an absolute path without `.` and `..`.
pub(super) fn parts(path: &str) -> Result<Vec<&str>, FileError> {
    let refused = || rule(path, "not an absolute path without `..` below the root");
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::RootDir => {}
            Component::Normal(name) => parts.push(name.to_str().ok_or_else(refused)?),
            _ => return Err(refused()),
        }
    }
    let fits = path.starts_with('/') && !path.contains('\0') && !parts.is_empty();
    if fits { Ok(parts) } else { Err(refused()) }
}

/// Makes the folders of `path` below `root`; those that are new belong to `owner`.
pub(super) fn make_folders(root: &Path, path: &str, owner: u32) -> Result<(), FileError> {
    let parts = parts(path)?;
    walk(root, path, &parts, owner).map(drop)
}

/// Writes a file of `owner`'s, mode 0644, in place of what has its name.
pub(super) fn write(root: &Path, path: &str, content: &[u8], owner: u32) -> Result<(), FileError> {
    let parts = parts(path)?;
    let (name, folders) = parts.split_last().ok_or_else(|| rule(path, "not a file"))?;
    let folder = walk(root, path, folders, owner)?;
    let write = || -> io::Result<()> {
        match rustix::fs::unlinkat(&folder, *name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(&folder, *name, flags, Mode::from_raw_mode(0o600), INSIDE)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
        File::from(file).write_all(content)
    };
    write().map_err(disk(path))
}

/// Copies the regular file at `path` into the new file `to`; returns its bytes.
pub(super) fn take(root: &Path, path: &str, to: &Path, bytes_max: u64) -> Result<u64, FileError> {
    let parts = parts(path)?;
    let relative: PathBuf = parts.iter().collect();
    // Non-blocking, in case it is a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let root = open_root(root).map_err(disk(path))?;
    let file = match rustix::fs::openat2(&root, &relative, flags, Mode::empty(), INSIDE) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(rule(path, "nothing was made there")),
        Err(Errno::LOOP | Errno::XDEV) => return Err(rule(path, "a link is on the way")),
        Err(Errno::NXIO) => return Err(rule(path, "not a regular file")),
        Err(error) => return Err(disk(path)(error.into())),
    };
    let found = rustix::fs::fstat(&file).map_err(|error| disk(path)(error.into()))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(rule(path, "not a regular file"));
    }
    let copy = || -> io::Result<u64> {
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        // One more than allowed tells the two apart, and nobody can append for ever.
        io::copy(&mut File::from(file).take(bytes_max + 1), &mut target)
    };
    let copied = copy().map_err(disk(path))?;
    if copied > bytes_max {
        drop(std::fs::remove_file(to));
        return Err(rule(path, &format!("larger than {bytes_max} bytes")));
    }
    Ok(copied)
}

/// The folder at `parts`, made where missing.
fn walk(root: &Path, path: &str, parts: &[&str], owner: u32) -> Result<OwnedFd, FileError> {
    let mut folder = open_root(root).map_err(disk(path))?;
    for name in parts {
        folder = match enter(&folder, name) {
            Err(Errno::NOENT) => make(&folder, name, owner),
            other => other,
        }
        .map_err(|error| match error {
            Errno::LOOP | Errno::XDEV | Errno::NOTDIR => rule(path, "no folder, or a link, is on the way"),
            error => disk(path)(error.into()),
        })?;
    }
    Ok(folder)
}

fn enter(folder: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(folder, name, flags, Mode::empty(), INSIDE)
}

fn make(folder: impl AsFd, name: &str, owner: u32) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755))?;
    let made = enter(&folder, name)?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
    rustix::fs::fchown(&made, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    Ok(made)
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(root, flags, Mode::empty())?)
}

fn rule(path: &str, rule: &str) -> FileError {
    let path = path.chars().filter(|letter| !letter.is_control()).take(300).collect();
    FileError::Rule { path, rule: rule.to_owned() }
}

fn disk(path: &str) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Disk { path, source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn what_a_build_planted_leads_nowhere() {
        let folder = tempfile::TempDir::new().unwrap();
        let (root, out) = (folder.path().join("upper"), folder.path().join("out"));
        fs::create_dir(&root).unwrap();
        write(&root, "/src/a/main.go", b"package main", 1000).unwrap();
        let found = fs::metadata(root.join("src/a/main.go")).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (1000, 0o644));
        assert_eq!(take(&root, "/src/a/main.go", &out, 100).unwrap(), 12);
        assert_eq!(fs::read(&out).unwrap(), b"package main");
        fs::remove_file(&out).unwrap();

        symlink("/etc/passwd", root.join("link")).unwrap();
        symlink("/", root.join("folder")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let refused = |path: &str| match take(&root, path, &out, 11) {
            Err(FileError::Rule { rule, .. }) => rule,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("/link"), "a link is on the way");
        assert_eq!(refused("/folder/etc/passwd"), "a link is on the way");
        assert_eq!(refused("/pipe"), "not a regular file");
        assert_eq!(refused("/src"), "not a regular file");
        assert_eq!(refused("/nothing"), "nothing was made there");
        assert_eq!(refused("/src/a/main.go"), "larger than 11 bytes");
        assert_eq!(refused("/src/../link"), "not an absolute path without `..` below the root");
        assert!(!out.exists(), "nothing is left of what was refused");
        assert!(matches!(write(&root, "/folder/tmp/x", b"", 1000), Err(FileError::Rule { .. })));
        // The link itself is replaced, what it leads to is not touched.
        write(&root, "/link", b"mine", 1000).unwrap();
        assert!(fs::symlink_metadata(root.join("link")).unwrap().is_file());
    }
}

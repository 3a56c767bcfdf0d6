//! Small files read and written by descriptor.

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat, renameat};
use rustix::io::{Errno, read, write};
use rustix::path::Arg;

/// Longest file [`read_small`] returns; the kernel's own files here are under 1 KiB,
/// a mount table a few hundred bytes a line.
const SMALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Opens a directory to work relative to.
pub(crate) fn open_folder(path: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// Reads a whole small file.
pub(crate) fn read_small(folder: impl AsFd, path: impl Arg) -> Result<Vec<u8>, Errno> {
    let file = openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = read(&file, &mut chunk)?;
        let part = chunk.get(..count).unwrap_or_default();
        bytes.extend_from_slice(part);
        if count == 0 {
            return Ok(bytes);
        }
        if bytes.len() > SMALL_BYTES_MAX {
            return Err(Errno::FBIG);
        }
    }
}

/// Writes to a file that exists, in one call: a file of the kernel's.
pub(crate) fn write_existing(folder: impl AsFd, path: impl Arg, bytes: &[u8]) -> Result<(), Errno> {
    let file = openat(folder, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write_all(file, bytes)
}

/// Makes a file that does not exist.
pub(crate) fn write_new(folder: impl AsFd, path: impl Arg, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    write_all(openat(folder, path, flags, mode)?, bytes)
}

/// Writes `name` so that a reader sees the old file or the whole new one.
///
/// Not synced: it survives `kill -9`, not a power cut, after which no container runs.
pub(crate) fn replace(folder: impl AsFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let folder = folder.as_fd();
    let temporary = format!(".{name}.tmp");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
    write_all(file, bytes)?;
    renameat(folder, &temporary, folder, name)
}

/// Writes all of `bytes`.
pub(crate) fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = crate::packet::retry(|| write(file.as_fd(), bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

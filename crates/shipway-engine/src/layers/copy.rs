//! One file, copied without sharing an inode.
//!
//! A reflink where the file system can (btrfs, xfs: the blocks are shared until
//! one side writes), the kernel's own copy elsewhere, and plain reading and
//! writing where neither works across file systems. Never a hard link: that
//! would share mode, owner and every edit in place with the host.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Copied by one call of the kernel's at most.
const CHUNK_BYTES: usize = 64 << 20;

/// How every path of a tree is opened: inside it, through no link of any kind.
pub(crate) const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Makes the new file `path` below `tree`; it is an error if it exists.
pub(crate) fn create_file(tree: impl AsFd, path: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(&tree, path, flags, Mode::from_raw_mode(0o600), INSIDE)?;
    // Apart from the umask, which belongs to whoever started this process.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    Ok(file.into())
}

/// Opens the directory that will hold `path`, below `tree`.
pub(crate) fn open_folder(tree: impl AsFd, folder: &Path) -> io::Result<OwnedFd> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(tree, folder, flags, Mode::empty(), INSIDE)?)
}

/// Fills the new, empty file `target` with the first `size` bytes of `source`, or
/// fewer if it ends sooner; returns the bytes copied. The bound is what keeps a
/// writer that appends for ever from being followed for ever.
pub(crate) fn fill_from(target: &mut File, source: &mut File, size: u64) -> io::Result<u64> {
    if size == 0 {
        return Ok(0);
    }
    if rustix::fs::ioctl_ficlone(&*target, &*source).is_ok() {
        return Ok(target.metadata()?.len());
    }
    let mut copied = 0;
    while copied < size {
        let chunk = usize::try_from(size - copied).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        match rustix::fs::copy_file_range(&*source, None, &*target, None, chunk) {
            // Some file systems answer 0 at once for files they make up as they go:
            // only a plain read knows whether that is the end.
            Ok(0) if copied == 0 => return fill_by_hand(target, source, size),
            Ok(0) => break,
            Ok(bytes) => copied += bytes as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) if copied == 0 => {
                return fill_by_hand(target, source, size);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(copied)
}

fn fill_by_hand(target: &mut File, source: &mut File, size: u64) -> io::Result<u64> {
    let mut source = io::BufReader::with_capacity(256 << 10, source.take(size));
    io::copy(&mut source, target)
}

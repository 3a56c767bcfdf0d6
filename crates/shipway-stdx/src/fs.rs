//! Writes that a crash cannot halve, removals that may come twice, locks that a killed
//! owner lets go of.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long an owner that was just killed may seem to hold its lock: a child of its that
/// had not come to its `exec` yet has the file open too.
const OWNER_ENDS: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Whether a finished write must survive a power cut, or only a killed process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives `kill -9`; a power cut may lose it. Costs a rename.
    Process,
    /// Survives a power cut: the file and its directory are synced.
    Power,
}

/// Writes `bytes` to `path` so that a reader sees the old file or the whole new one.
///
/// The file is made beside `path` with mode `mode` and renamed over it.
///
/// # Errors
///
/// Any error of the file system; nothing is left behind but, after a crash, a
/// file named `.<name>.<pid>.<n>.tmp`.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{}.{}.{n}.tmp", name.to_string_lossy(), std::process::id()));
    let result = write_new(&temporary, bytes, mode, durability).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = result {
        // The first error is the one worth telling; the file may not even exist.
        drop(std::fs::remove_file(&temporary));
        return Err(error);
    }
    match durability {
        Durability::Process => Ok(()),
        Durability::Power => sync_folder(folder),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Power => file.sync_all(),
    }
}

/// Removes a file; says whether it was there.
///
/// # Errors
///
/// Any error of `unlink` but that there is no such file.
pub fn remove_if_there(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locks a file for this process alone (`flock`); says whether it could. One who holds it
/// is given half a second to end.
///
/// # Errors
///
/// Any error of `flock` but that the lock is held.
pub fn lock(file: &File) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if begun.elapsed() < OWNER_ENDS => thread::park_timeout(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Takes the exclusive lock of a file, waiting for whoever has it; it ends with the file or
/// its process. Only for locks that nobody holds for longer than a moment.
///
/// # Errors
///
/// The kernel's.
pub fn lock_patiently(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            locked => return locked,
        }
    }
}

/// Makes the names in `folder` survive a power cut.
///
/// # Errors
///
/// Any error of `open` or `fsync`.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

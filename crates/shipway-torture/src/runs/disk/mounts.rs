//! Two small disks in memory, seen by one thread and by what it starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount};
use tempfile::TempDir;

/// Bytes and files of each: more than the run needs, and full in a moment.
const SIZE: &std::ffi::CStr = c"size=24m,nr_inodes=4096";

/// The disks; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Mounts {
    pub(super) database: PathBuf,
    pub(super) files: PathBuf,
    _folder: TempDir,
}

impl Mounts {
    pub(super) fn make() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("shipway-torture-disks-").tempdir()?;
        let [database, files] = ["database", "files"].map(|name| folder.path().join(name));
        for path in [&database, &files] {
            fs::create_dir(path)?;
            mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, SIZE).context("mount a tmpfs")?;
        }
        Ok(Self { database, files, _folder: folder })
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for path in [&self.database, &self.files] {
            // The namespace's end does the same.
            unmount(path, UnmountFlags::DETACH).ok();
        }
    }
}

/// Makes a disk read-only, or writable again. Refused while somebody has a file open to write.
pub(super) fn read_only(path: &Path, only: bool) -> anyhow::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let flags = if only { flags | MountFlags::RDONLY } else { flags };
    mount_remount(path, flags, "").context("remount a tmpfs")
}

/// Runs work on a thread with mounts of its own, which go with it.
pub(super) fn alone<T, W, F>(work: W) -> anyhow::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> F + Send,
    F: Future<Output = anyhow::Result<T>>,
{
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace: run this as root")?;
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).context("make mounts private")?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work())
        });
        thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread with its own mounts panicked")))
    })
}

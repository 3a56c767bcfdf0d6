//! Private disks for benches: a pool of loop file systems.
//!
//! A build writes a gigabyte when it comes to a cold cache: too much for a tmpfs, which
//! counts as memory, and a plain directory has no bound. A file system in a sparse file
//! has one that the kernel keeps, in bytes and in files, on whatever the host's own disk
//! is.
//!
//! ```text
//! FOLDER/<n>.img     the file
//! FOLDER/<n>/        mounted from it
//! FOLDER/<n>/bench/  {upper,work} of the bench that has it
//! FOLDER/<n>/ballast room that only we can give ourselves, to clear a disk that is full
//! ```
//!
//! All are made anew at every start, *before* the engine's launcher, which sees only what
//! was mounted by then; what a killed owner left goes that way. Between two benches a disk
//! is emptied and its blocks are given back to the host.
//!
//! What is written there takes room on the host's disk only later, and when there is none the kernel
//! drops it: nobody who wrote it hears of that, and reads something else afterwards. So a bench is not
//! given out where the host has little room left, and before anything that came of one is believed its
//! disk is asked whether all was written ([`Disk::check`]).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::mount::{UnmountFlags, unmount};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Programs of e2fsprogs, mount and util-linux, all of which every Debian has.
const MKFS: &str = "/sbin/mkfs.ext4";
const MOUNT: &str = "/bin/mount";
const TRIM: &str = "/sbin/fstrim";

/// Bytes of the ballast. A folder is moved up before it is removed, which on a full disk
/// needs room for the names of the largest one.
const BALLAST_BYTES: u64 = 16 << 20;

/// Room that the host must have left for a bench to be given out: what most builds write.
const HOST_ROOM: u64 = 2 << 30;

/// How many disks there are, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLimits {
    /// Benches that may be open at a time.
    pub count: usize,
    /// Bytes of each. The file is sparse: only what is written takes room on the host.
    pub bytes: u64,
    /// Files, directories and links of each.
    pub inodes: u64,
}

/// The pool.
#[derive(Debug)]
pub(super) struct Disks {
    folder: PathBuf,
    limits: DiskLimits,
    shelf: Arc<Shelf>,
}

/// The disks that nobody has.
#[derive(Debug)]
struct Shelf {
    free: Mutex<Vec<PathBuf>>,
    /// As many as there are disks on it; closed when there is none any more.
    places: Arc<Semaphore>,
    /// Disks that can be used at all.
    sound: AtomicUsize,
}

/// A disk of one bench; cleared and given back when dropped.
#[derive(Debug)]
pub(super) struct Disk {
    mount: PathBuf,
    shelf: Arc<Shelf>,
    witness: Arc<Witness>,
    /// Given back after the clearing.
    place: Option<OwnedSemaphorePermit>,
}

/// Hears of every write to a disk that failed since it was opened.
#[derive(Debug)]
struct Witness {
    mount: File,
    /// The kernel tells once.
    has_lost: AtomicBool,
}

impl Witness {
    fn open(mount: &Path) -> io::Result<Self> {
        Ok(Self { mount: File::open(mount)?, has_lost: AtomicBool::new(false) })
    }

    /// Writes what is not written yet. `syncfs` reports what was lost meanwhile from Linux 5.8 on.
    fn ask(&self) -> io::Result<()> {
        if let Err(error) = rustix::fs::syncfs(&self.mount) {
            tracing::error!(%error, "the host lost what a build wrote; is its disk full?");
            self.has_lost.store(true, Ordering::Relaxed);
        }
        match self.has_lost.load(Ordering::Relaxed) {
            true => {
                Err(io::Error::other("the host could not keep what the build wrote: its own disk is full or broken"))
            }
            false => Ok(()),
        }
    }
}

impl Disks {
    /// Makes all disks in `folder`, and unmakes those that were there.
    pub(super) fn open(folder: &Path, limits: DiskLimits) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
        unmake_all(folder)?;
        // From here on what is mounted is unmounted by `Drop`, however this goes on.
        let sound = AtomicUsize::new(limits.count);
        let shelf = Shelf { free: Mutex::default(), places: Arc::new(Semaphore::new(0)), sound };
        let disks = Self { folder: folder.to_owned(), limits, shelf: Arc::new(shelf) };
        for number in 0..limits.count {
            disks.shelf.put(make(folder, number, limits)?);
        }
        disks.shelf.places.add_permits(limits.count);
        Ok(disks)
    }

    /// Waits for a disk.
    pub(super) async fn take(&self) -> io::Result<Disk> {
        let place = Arc::clone(&self.shelf.places).acquire_owned().await;
        let place = place.map_err(|_| io::Error::other("none of the disks can be used; restart the worker"))?;
        self.has_room()?;
        let mount = self.shelf.free().pop().ok_or_else(|| io::Error::other("more places than disks"))?;
        let witness = match Witness::open(&mount) {
            Ok(witness) => Arc::new(witness),
            Err(error) => {
                self.shelf.put(mount);
                return Err(error);
            }
        };
        let disk = Disk { mount, shelf: Arc::clone(&self.shelf), witness, place: Some(place) };
        let bench = disk.bench();
        let made = tokio::task::spawn_blocking(move || furnish(&bench)).await;
        made.map_err(io::Error::other)??;
        Ok(disk)
    }
}

impl Disks {
    /// Whether the host can hold what a build writes, as far as that can be said before.
    fn has_room(&self) -> io::Result<()> {
        let found = rustix::fs::statvfs(&self.folder)?;
        let (left, wanted) = (found.f_bavail * found.f_frsize, self.limits.bytes.min(HOST_ROOM));
        if left >= wanted {
            return Ok(());
        }
        let folder = self.folder.display();
        Err(io::Error::other(format!(
            "{left} bytes are left on the host's disk at {folder}, too few for a build; make room"
        )))
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        if let Err(error) = unmake_all(&self.folder) {
            tracing::warn!(%error, "disks of benches stay mounted until the next start");
        }
    }
}

impl Disk {
    /// Holds `upper` and `work`.
    pub(super) fn bench(&self) -> PathBuf {
        self.mount.join("bench")
    }

    /// Another folder on the same file system, for what leaves the bench as a whole.
    pub(super) fn aside(&self) -> PathBuf {
        self.mount.join("aside")
    }

    /// A place for what is not wanted any more, number by number.
    pub(super) fn old(&self, number: u32) -> PathBuf {
        self.mount.join("old").join(number.to_string())
    }

    /// Bytes taken on it, without the ballast.
    pub(super) fn used_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.mount);
        let taken = found.map_or(0, |found| (found.f_blocks - found.f_bfree) * found.f_frsize);
        taken.saturating_sub(BALLAST_BYTES)
    }

    /// Whether not a block or not a file more fits on it.
    pub(super) fn is_full(&self) -> bool {
        let found = rustix::fs::statvfs(&self.mount);
        found.is_ok_and(|found| found.f_bavail == 0 || found.f_favail == 0)
    }

    /// Whether all that was written to it is kept. Writes what is not on the host's disk yet.
    pub(super) async fn check(&self) -> io::Result<()> {
        let witness = Arc::clone(&self.witness);
        tokio::task::spawn_blocking(move || witness.ask()).await.map_err(io::Error::other)?
    }

    /// Clears it and gives it back.
    pub(super) async fn give_back(mut self) {
        let place = self.place.take();
        let (mount, shelf, witness) = (self.mount.clone(), Arc::clone(&self.shelf), Arc::clone(&self.witness));
        // An error is a panic in there, which has been logged.
        drop(tokio::task::spawn_blocking(move || shelf.take_back(mount, place, &witness)).await);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let (mount, shelf, witness) = (self.mount.clone(), Arc::clone(&self.shelf), Arc::clone(&self.witness));
        // Without a runtime nobody will ask for it again, and the next start makes it anew.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || shelf.take_back(mount, Some(place), &witness)));
        }
    }
}

impl Shelf {
    fn free(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mount: PathBuf) {
        self.free().push(mount);
    }

    /// Clears a disk. One that cannot be cleared, or has lost what may have been its own books, is
    /// never given out again, and its place neither; with the last of them nobody waits any more.
    fn take_back(&self, mount: PathBuf, place: Option<OwnedSemaphorePermit>, witness: &Witness) {
        let cleared = match witness.has_lost.load(Ordering::Relaxed) {
            true => Err(io::Error::other("it has lost what was written to it")),
            false => clear(&mount),
        };
        let Err(error) = cleared else { return self.put(mount) };
        tracing::error!(disk = %mount.display(), %error, "a disk cannot be cleared; it is out of use until the next start");
        if let Some(place) = place {
            place.forget();
        }
        if self.sound.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.places.close();
        }
    }
}

fn make(folder: &Path, number: usize, limits: DiskLimits) -> io::Result<PathBuf> {
    let image = folder.join(format!("{number}.img"));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&image)?;
    file.set_len(limits.bytes)?;
    drop(file);
    // No journal: nothing on it is worth a recovery.
    let mut mkfs = Command::new(MKFS);
    mkfs.args(["-q", "-F", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", "-N"]);
    run(mkfs.arg(limits.inodes.to_string()).arg(&image))?;
    let mount = folder.join(number.to_string());
    DirBuilder::new().mode(0o700).create(&mount)?;
    run(Command::new(MOUNT).args(["-t", "ext4", "-o", "loop,nosuid,nodev,noatime"]).arg(&image).arg(&mount))?;
    fs::create_dir(mount.join("rubbish"))?;
    load(&mount)?;
    Ok(mount)
}

fn run(command: &mut Command) -> io::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let output = command.output().map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().filter(|letter| !letter.is_control()).take(300).collect();
    Err(io::Error::other(format!("{program}: {}: {said}", output.status)))
}

/// Puts the ballast on board: blocks that are really taken.
fn load(mount: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(mount.join("ballast"))?;
    Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES)?)
}

/// `upper`, which is the root directory inside, and `work`.
fn furnish(bench: &Path) -> io::Result<()> {
    for folder in [bench, &bench.join("upper"), &bench.join("work")] {
        DirBuilder::new().mode(0o755).create(folder)?;
        chown(folder, Some(0), Some(0))?;
    }
    Ok(())
}

/// Empties a disk, however full it is. Never deeper than two folders, however deep somebody
/// has dug: each folder found is moved up first.
fn clear(mount: &Path) -> io::Result<()> {
    let rubbish = mount.join("rubbish");
    // Its blocks only: on a disk without a free file none could be made again.
    OpenOptions::new().write(true).open(mount.join("ballast"))?.set_len(0)?;
    let mut found: u64 = 0;
    let mut throw = |folder: &Path| {
        found += 1;
        fs::rename(folder, rubbish.join(found.to_string())).map(|()| found)
    };
    let mut last = 0;
    for name in ["bench", "aside", "old"] {
        let folder = mount.join(name);
        if folder.exists() {
            last = throw(&folder)?;
        }
    }
    let mut next = 1;
    while next <= last {
        let folder = rubbish.join(next.to_string());
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => last = throw(&entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        fs::remove_dir(&folder)?;
        next += 1;
    }
    load(mount)?;
    if let Err(error) = run(Command::new(TRIM).arg(mount)) {
        tracing::debug!(%error, "a disk keeps the room it has on the host");
    }
    Ok(())
}

/// Unmounts and removes everything in `folder`; who still works on a disk keeps it until
/// the end.
pub(super) fn unmake_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            fs::remove_file(&path)?;
            continue;
        }
        // Until it says that nothing is mounted there.
        while unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
        fs::remove_dir(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[tokio::test]
    async fn a_disk_is_bounded_private_and_empty_for_the_next() {
        let folder = tempfile::TempDir::with_prefix("shipway-disks-").unwrap();
        let limits = DiskLimits { count: 1, bytes: 32 << 20, inodes: 2000 };
        let disks = Disks::open(folder.path(), limits).unwrap();
        let disk = disks.take().await.unwrap();
        let full = io::copy(&mut io::repeat(7), &mut File::create(disk.bench().join("full")).unwrap());
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(disk.used_bytes() > 8 << 20);
        // Deeper than anybody's stack or table of open files.
        fs::remove_file(disk.bench().join("full")).unwrap();
        let mut deep = File::open(disk.bench()).unwrap();
        for _ in 0..1500 {
            let made = rustix::fs::mkdirat(&deep, "d", rustix::fs::Mode::RWXU);
            made.unwrap();
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
            deep = rustix::fs::openat(&deep, "d", flags, rustix::fs::Mode::empty()).unwrap().into();
        }
        drop(deep);
        // Not a file and not a byte more.
        let fill = |n: u32| File::create(disk.bench().join(n.to_string()));
        let more = (0..).map_while(|n| fill(n).ok()).last().unwrap();
        assert!(io::copy(&mut io::repeat(7), &mut { more }).is_err());
        disk.give_back().await;
        let disk = disks.take().await.unwrap();
        assert_eq!(fs::read_dir(disk.bench()).unwrap().count(), 2);
        assert!(disk.used_bytes() < 4 << 20, "{}", disk.used_bytes());
        drop(disk);
        // Another start takes away what is there.
        std::mem::forget(disks);
        drop(Disks::open(folder.path(), limits).unwrap());
        assert_unmounted(folder.path());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_host_without_room_is_found_out_before_a_bench_and_after() {
        use std::io::Write as _;
        use std::os::unix::fs::FileExt as _;

        let host = tempfile::TempDir::with_prefix("shipway-disks-").unwrap();
        run(Command::new(MOUNT).args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(host.path())).unwrap();
        let limits = DiskLimits { count: 2, bytes: 64 << 20, inodes: 2000 };
        let disks = Disks::open(&host.path().join("disks"), limits).unwrap();
        let disk = disks.take().await.unwrap();
        disk.check().await.unwrap();
        let mut neighbour = File::create(host.path().join("neighbour")).unwrap();
        io::copy(&mut io::repeat(7).take(1 << 40), &mut neighbour).unwrap_err();
        let refused = disks.take().await.unwrap_err().to_string();
        assert!(refused.contains("too few for a build; make room"), "{refused}");

        // The one that is out already hears nothing of it while it writes.
        let file = File::create(disk.bench().join("binary")).unwrap();
        file.write_all_at(&vec![9; 8 << 20], 0).unwrap();
        let lost = disk.check().await.unwrap_err().to_string();
        assert!(lost.contains("full or broken"), "{lost}");
        assert!(disk.check().await.is_err(), "and it stays so");
        drop(file);
        disk.give_back().await;
        assert_eq!(disks.shelf.sound.load(Ordering::Relaxed), 1, "nobody is given it again");

        neighbour.set_len(0).unwrap();
        neighbour.flush().unwrap();
        let other = disks.take().await.unwrap();
        other.check().await.unwrap();
        other.give_back().await;
        drop(disks);
        assert_unmounted(&host.path().join("disks"));
        unmount(host.path(), UnmountFlags::DETACH).unwrap();
    }

    #[track_caller]
    fn assert_unmounted(folder: &Path) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!table.contains(folder.to_str().unwrap()));
    }

    #[test]
    fn what_a_killed_owner_left_goes_with_the_platform() {
        let folder = tempfile::TempDir::with_prefix("shipway-disks-").unwrap();
        let benches = crate::BenchConfig::new(folder.path());
        benches.clear().unwrap();
        let limits = DiskLimits { count: 2, bytes: 32 << 20, inodes: 2000 };
        std::mem::forget(Disks::open(&benches.disks_folder(), limits).unwrap());
        benches.clear().unwrap();
        assert_unmounted(folder.path());
        assert_eq!(fs::read_dir(benches.disks_folder()).unwrap().count(), 0);
    }
}

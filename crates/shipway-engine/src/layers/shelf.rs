//! A directory of trees, each named by a digest.
//!
//! ```text
//! DIR/lock                     held while something is made or removed
//! DIR/touching.lock            held for a touch, and for a removal's look and rename
//! DIR/tmp/<uuid>/              drafts: trees being made, trees being removed
//! DIR/sha256/<hex>/tree/       a finished tree
//! DIR/sha256/<hex>/…           what its maker wrote beside it
//! DIR/sha256/<hex>/pins/<who>  who needs it
//! ```
//!
//! A draft becomes a finished tree by one rename, and a finished tree becomes
//! rubbish by one rename; so whatever is under `sha256` is whole at any instant,
//! and whatever is under `tmp` while nobody holds the lock is rubbish.
//!
//! The time of a tree's own directory says when it was last *touched*: when it was made,
//! made again, or somebody was about to need it. What is removed for being unused was not
//! touched for long, and touch and removal exclude each other, across processes, by a lock
//! that nobody holds for longer than a few system calls: who has touched a tree has it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use shipway_model::Digest;

/// Longest wait for another maker. A host image takes half a minute on a slow
/// disk; twenty of those is a process that hangs.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(600);
/// How often a waiting maker looks again.
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(50);

/// See the head of this file.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    dir: Arc<Path>,
}

/// The right to make and remove. Released when dropped, or when its process dies.
#[derive(Debug)]
pub(crate) struct ShelfLock {
    _file: File,
}

/// A tree being made. Dropped before it is finished, it is removed.
#[derive(Debug)]
pub(crate) struct Draft {
    dir: PathBuf,
}

impl Draft {
    /// Its own directory: files beside the tree go here.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The tree.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `finish` there is nothing here; after an error the next open sweeps.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Shelf {
    /// Makes `dir` with mode 0700 and sweeps drafts that nobody works on.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        for folder in [dir, &dir.join("sha256"), &dir.join("tmp")] {
            make_folder(folder)?;
        }
        // 0700 is what keeps a set of the host's files from other users' programs.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
        let shelf = Self { dir: dir.into() };
        if let Some(lock) = shelf.try_lock()? {
            shelf.sweep(&lock)?;
        }
        Ok(shelf)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes the lock, or returns `None` after [`LOCK_WAIT_MAX`].
    pub(crate) async fn lock(&self) -> io::Result<Option<ShelfLock>> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(Some(lock));
            }
            if waited >= LOCK_WAIT_MAX {
                return Ok(None);
            }
            tokio::time::sleep(LOCK_LOOK_EVERY).await;
            waited += LOCK_LOOK_EVERY;
        }
    }

    /// Takes the lock if nobody has it, in this process or another.
    pub(crate) fn try_lock(&self) -> io::Result<Option<ShelfLock>> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.dir.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(ShelfLock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn sweep(&self, _lock: &ShelfLock) -> io::Result<()> {
        for entry in std::fs::read_dir(self.dir.join("tmp"))? {
            std::fs::remove_dir_all(entry?.path())?;
        }
        Ok(())
    }

    /// Begins a tree: an empty directory, mode 0755, in a directory of its own.
    pub(crate) fn draft(&self, _lock: &ShelfLock) -> io::Result<Draft> {
        let dir = self.scratch();
        DirBuilder::new().mode(0o700).create(&dir)?;
        let draft = Draft { dir };
        std::fs::create_dir(draft.tree())?;
        std::fs::set_permissions(draft.tree(), std::fs::Permissions::from_mode(0o755))?;
        Ok(draft)
    }

    /// Gives a draft its name. A tree that has the name already is kept instead:
    /// containers may be running on it.
    pub(crate) fn finish(&self, _lock: &ShelfLock, draft: &Draft, digest: &Digest) -> io::Result<()> {
        if self.touch(digest)?.is_some() {
            return Ok(());
        }
        // One sync for thousands of files: a power cut must not leave a whole name
        // on empty files.
        rustix::fs::syncfs(File::open(draft.dir())?)?;
        std::fs::rename(draft.dir(), self.home(digest))?;
        shipway_stdx::fs::sync_folder(&self.dir.join("sha256"))
    }

    /// The finished tree of this name, if there is one.
    pub(crate) fn find_tree(&self, digest: &Digest) -> Option<PathBuf> {
        let tree = self.home(digest).join("tree");
        tree.is_dir().then_some(tree)
    }

    /// The directory that holds a tree and what was written beside it.
    pub(crate) fn home(&self, digest: &Digest) -> PathBuf {
        self.dir.join("sha256").join(digest.hex())
    }

    /// Lists the names on the shelf, sorted.
    pub(crate) fn list(&self) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for entry in std::fs::read_dir(self.dir.join("sha256"))? {
            let name = entry?.file_name();
            let digest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
            digests.extend(digest);
        }
        digests.sort();
        Ok(digests)
    }

    /// Says that somebody is about to need a tree, and returns it if it is there.
    pub(crate) fn touch(&self, digest: &Digest) -> io::Result<Option<PathBuf>> {
        let _turn = self.turn()?;
        let Some(tree) = self.find_tree(digest) else { return Ok(None) };
        match File::open(self.home(digest))?.set_modified(SystemTime::now()) {
            // Nothing is removed from there either.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            touched => touched?,
        }
        Ok(Some(tree))
    }

    /// When a tree was last touched, by this host's clock.
    pub(crate) fn touched_at(&self, digest: &Digest) -> io::Result<SystemTime> {
        std::fs::metadata(self.home(digest))?.modified()
    }

    /// Bytes of a tree's files, as far as they can be looked at.
    pub(crate) fn bytes(&self, digest: &Digest) -> u64 {
        tree_bytes(&self.home(digest).join("tree"))
    }

    /// Removes a tree that was not touched since. Returns whether it was there and is gone.
    pub(crate) fn remove_untouched(&self, _lock: &ShelfLock, digest: &Digest, since: SystemTime) -> io::Result<bool> {
        let rubbish = self.scratch();
        {
            let _turn = self.turn()?;
            match self.touched_at(digest) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
                Ok(touched) if touched > since => return Ok(false),
                Ok(_) => std::fs::rename(self.home(digest), &rubbish)?,
            }
        }
        std::fs::remove_dir_all(rubbish)?;
        Ok(true)
    }

    fn turn(&self) -> io::Result<File> {
        let path = self.dir.join("touching.lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        shipway_stdx::fs::lock_patiently(&file)?;
        Ok(file)
    }

    /// Removes a tree: its name at once, its files after that.
    pub(crate) fn remove(&self, _lock: &ShelfLock, digest: &Digest) -> io::Result<()> {
        let rubbish = self.scratch();
        std::fs::rename(self.home(digest), &rubbish)?;
        std::fs::remove_dir_all(rubbish)
    }

    /// Notes that `holder` needs the tree. The holder's name was checked.
    pub(crate) fn pin(&self, _lock: &ShelfLock, digest: &Digest, holder: &str) -> io::Result<()> {
        let pins = self.home(digest).join("pins");
        make_folder(&pins)?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(pins.join(holder))?;
        shipway_stdx::fs::sync_folder(&pins)
    }

    /// Takes a pin back, if there is one.
    pub(crate) fn unpin(&self, _lock: &ShelfLock, digest: &Digest, holder: &str) -> io::Result<()> {
        shipway_stdx::fs::remove_if_there(&self.home(digest).join("pins").join(holder)).map(drop)
    }

    /// Who needs the tree, sorted.
    pub(crate) fn pins(&self, digest: &Digest) -> io::Result<Vec<String>> {
        let folder = match std::fs::read_dir(self.home(digest).join("pins")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            folder => folder?,
        };
        let mut holders = folder
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        holders.sort();
        Ok(holders)
    }

    fn scratch(&self) -> PathBuf {
        self.dir.join("tmp").join(uuid::Uuid::new_v4().to_string())
    }
}

/// What cannot be read counts for nothing: the sum decides only what goes first.
fn tree_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        Some(if metadata.is_dir() { tree_bytes(&entry.path()) } else { metadata.len() })
    });
    sizes.sum()
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

//! One bench: a disk, what it stands on, and the commands that run on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use shipway_engine::{Bind, Root, Upper};
use shipway_gofarm::sandbox::{Bench, BenchCommand, BenchOrder, Running, SandboxError};
use shipway_model::Digest;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::disks::Disk;
use super::{CacheUse, PREFIX, Parts, command, file, files, is_known, layer};
use shipway_stdx::chain;

/// User and group of everything on a bench.
pub(super) const USER: u32 = 1000;
/// The time that files of a cache get: 2038-01-01. The Go command renews the time of an
/// entry that it uses when that is more than an hour old, which on an overlay copies the
/// whole file up; one from the future it leaves alone. Later dates do not fit every disk.
const CACHE_TIME: Duration = Duration::from_secs(2_145_916_800);

/// See [`Bench`].
#[derive(Debug)]
pub(super) struct EmbeddedBench {
    ground: Arc<BenchGround>,
    /// Commands, and folders renewed, so far.
    commands: AtomicU32,
}

/// What the commands of a bench stand on; the last of them to end gives it back.
#[derive(Debug)]
pub(super) struct BenchGround {
    pub(super) parts: Arc<Parts>,
    pub(super) name: String,
    pub(super) build: String,
    pub(super) disk: Disk,
    pub(super) lowers: Vec<PathBuf>,
    pub(super) toolchain: Bind,
    _cache: Option<CacheUse>,
    /// Held by the command that runs, so that there is one at a time.
    turn: Arc<Mutex<()>>,
    /// Its folders became a cache: nothing runs on it any more.
    is_kept: AtomicBool,
}

impl BenchGround {
    /// The bench's root directory on the host, without what is below.
    pub(super) fn upper(&self) -> PathBuf {
        self.disk.bench().join("upper")
    }

    pub(super) fn root(&self) -> Root {
        Root::Overlay { lowers: self.lowers.clone(), upper: Upper::Directory { path: self.disk.bench() } }
    }
}

impl EmbeddedBench {
    pub(super) async fn open(parts: Arc<Parts>, order: BenchOrder) -> Result<Self, SandboxError> {
        let BenchOrder { build, toolchain: (source, target), cache, folders } = order;
        if !is_known(&parts.config, &source) {
            let rule = format!("the toolchain {} is in none of the configured places", source.display());
            return Err(SandboxError::Refused(rule));
        }
        files::parts(&target).map_err(|error| file(&error))?;
        let cache = cache.map(|digest| CacheUse::of(&parts, digest));
        let image = parts.images.current().await.map_err(|error| SandboxError::Unavailable(chain(&error)))?;
        let below = cache.as_ref().map(CacheUse::tree).transpose()?;
        let lowers = below.into_iter().chain([image.path]).collect();
        let taken = parts.disks.take().await;
        let disk = taken.map_err(|error| SandboxError::Unavailable(format!("no disk for the build: {error}")))?;
        let name = format!("{PREFIX}{}", &uuid::Uuid::new_v4().simple().to_string()[..16]);
        let toolchain = Bind { source, target: PathBuf::from(target), writable: false, executable: true };
        let ground = BenchGround {
            parts,
            name,
            build,
            disk,
            lowers,
            toolchain,
            _cache: cache,
            turn: Arc::default(),
            is_kept: AtomicBool::new(false),
        };
        let bench = Self { ground: Arc::new(ground), commands: AtomicU32::new(0) };
        bench.blocking(move |upper| folders.iter().try_for_each(|path| files::make_folders(upper, path, USER))).await?;
        Ok(bench)
    }

    /// Nothing is written or taken while a command runs.
    async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.ground.turn).lock_owned().await
    }

    /// Whether what is on its disk is what was written there.
    async fn check(&self) -> Result<(), SandboxError> {
        self.ground.disk.check().await.map_err(|error| SandboxError::Unavailable(error.to_string()))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, files::FileError> + Send + 'static,
    ) -> Result<T, SandboxError> {
        let upper = self.ground.upper();
        let done = tokio::task::spawn_blocking(move || work(&upper)).await;
        done.map_err(|error| SandboxError::Unavailable(error.to_string()))?.map_err(|error| file(&error))
    }
}

#[async_trait]
impl Bench for EmbeddedBench {
    async fn write(&self, path: &str, content: &[u8]) -> Result<(), SandboxError> {
        let _turn = self.turn().await;
        let (path, content) = (path.to_owned(), content.to_owned());
        self.blocking(move |upper| files::write(upper, &path, &content, USER)).await
    }

    async fn start(&self, command: BenchCommand) -> Result<Running, SandboxError> {
        let turn = self.turn().await;
        if self.ground.is_kept.load(Ordering::Relaxed) {
            return Err(SandboxError::Refused("the bench has become a cache".to_owned()));
        }
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        command::start(Arc::clone(&self.ground), number, command, turn).await
    }

    async fn take(&self, path: &str, to: &Path, bytes_max: u64) -> Result<u64, SandboxError> {
        let _turn = self.turn().await;
        self.check().await?;
        let (path, to) = (path.to_owned(), to.to_owned());
        self.blocking(move |upper| files::take(upper, &path, &to, bytes_max)).await
    }

    async fn renew(&self, folder: &str) -> Result<(), SandboxError> {
        let _turn = self.turn().await;
        let old = self.ground.disk.old(self.commands.fetch_add(1, Ordering::Relaxed));
        let folder = folder.to_owned();
        self.blocking(move |upper| {
            // Made if missing, and found to be no link.
            files::make_folders(upper, &folder, USER)?;
            let from = upper.join(folder.trim_start_matches('/'));
            let moved = fs::create_dir_all(&old).and_then(|()| fs::rename(from, old.join("folder")));
            moved.map_err(|source| files::FileError::Disk { path: folder.clone(), source })?;
            files::make_folders(upper, &folder, USER)
        })
        .await
    }

    async fn keep(&self, folders: &[&str]) -> Result<Digest, SandboxError> {
        let _turn = self.turn().await;
        self.ground.is_kept.store(true, Ordering::Relaxed);
        let folders: Vec<String> = folders.iter().map(|&path| path.to_owned()).collect();
        let aside = self.ground.disk.aside();
        let to = aside.clone();
        self.blocking(move |upper| set_aside(upper, &to, &folders)).await?;
        self.check().await?;
        self.ground.parts.caches.import_directory(&aside).await.map_err(|error| layer(&error))
    }

    async fn close(self: Box<Self>) {
        // Whoever has the turn ends soon: its leash is with somebody who has let go, or will.
        drop(self.turn().await);
        if let Some(ground) = Arc::into_inner(self.ground) {
            ground.disk.give_back().await;
        }
    }
}

/// Moves folders below `to` as they are called inside, and gives their files the time of
/// a cache.
fn set_aside(upper: &Path, to: &Path, folders: &[String]) -> Result<(), files::FileError> {
    let disk = |path: &str, source| files::FileError::Disk { path: path.to_owned(), source };
    fs::create_dir(to)
        .and_then(|()| fs::set_permissions(to, fs::Permissions::from_mode(0o755)))
        .map_err(|e| disk("/", e))?;
    for path in folders {
        let parts = files::parts(path)?;
        let (name, above) = parts.split_last().expect("a path has parts");
        // Made if missing, and found to be no link.
        files::make_folders(upper, path, USER)?;
        let parent = if above.is_empty() { String::new() } else { format!("/{}", above.join("/")) };
        if !above.is_empty() {
            files::make_folders(to, &parent, USER)?;
        }
        let relative: PathBuf = parts.iter().collect();
        let target = to.join(parent.trim_start_matches('/')).join(name);
        let from = upper.join(relative);
        fs::rename(&from, &target).and_then(|()| date(&target)).map_err(|error| disk(path, error))?;
    }
    Ok(())
}

/// Depth is bounded by the import that follows only; but nobody's code made this tree.
fn date(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            date(&entry.path())?;
        } else if kind.is_file() {
            fs::File::open(entry.path())?.set_modified(SystemTime::UNIX_EPOCH + CACHE_TIME)?;
        }
    }
    Ok(())
}

//! Benches for builds: what `shipway-gofarm` asks of an engine, kept by ours.
//!
//! ```text
//! /                overlay of   cache (if any)
//!                               the host image
//!                  below        a disk of the bench's own (`disks`)
//! the toolchain    bound, read-only
//! ```
//!
//! A command is a container on that overlay, user 1000, without a capability and without a
//! network; where it is to have a door, somebody outside listens on its loopback. Ids on
//! the disk are those inside, so the next command's container, of another id range, finds
//! its files as its own.
//!
//! Read on: `bench` (one of them), `command` (one container), `files`, `disks`.
//!
//! # Invariants
//!
//! * A bench's containers have its name in their id, which is no UUID, so no worker takes
//!   one for a workload; what a killed owner left is removed at the next start.
//! * A cache below an open bench is not removed.

mod bench;
mod command;
mod disks;
mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use shipway_engine::host_image::HostImages;
use shipway_engine::layers::manifest::Manifest;
use shipway_engine::layers::{LayerError, Layers, TreeLimits};
use shipway_engine::{Engine, EngineError};
use shipway_gofarm::sandbox::{Bench, BenchOrder, Sandbox, SandboxError};
use shipway_model::Digest;

use bench::EmbeddedBench;
use disks::Disks;
use shipway_stdx::chain;

pub use disks::DiskLimits;

/// Every container of a bench has an id that begins so.
const PREFIX: &str = "bench-";

/// What benches are made of.
#[derive(Debug, Clone)]
pub struct BenchConfig {
    /// Where their disks and caches are kept. Nobody else's.
    pub folder: PathBuf,
    /// How many there may be at a time, and how much each may write.
    pub disks: DiskLimits,
    /// Processor time of each, in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads of each. The Go command starts a few for each core.
    pub pids: u32,
    /// Where toolchains may be: the engine has to know of all places that it binds from.
    pub toolchains: Vec<PathBuf>,
}

impl BenchConfig {
    /// Two benches of 8 GiB and half a million files on all cores, the host's Go.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            folder: folder.into(),
            disks: DiskLimits { count: 2, bytes: 8 << 30, inodes: 500_000 },
            cpu_millis: u32::try_from(cores).unwrap_or(64).saturating_mul(1000),
            pids: 1024,
            toolchains: vec![PathBuf::from("/usr/local/go")],
        }
    }

    /// Unmounts and removes the disks that a killed owner left; fine when there are none. For
    /// whoever ends everything: the next owner does it by itself.
    ///
    /// # Errors
    ///
    /// One is in use, or what the file system says.
    pub fn clear(&self) -> std::io::Result<()> {
        match disks::unmake_all(&self.disks_folder()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn disks_folder(&self) -> PathBuf {
        self.folder.join("disks")
    }

    fn caches_folder(&self) -> PathBuf {
        self.folder.join("caches")
    }

    /// What the engine's launcher must see.
    pub(crate) fn sources(&self) -> impl Iterator<Item = PathBuf> + '_ {
        [self.disks_folder(), self.caches_folder()].into_iter().chain(self.toolchains.iter().cloned())
    }
}

/// What is made before the engine is opened.
#[derive(Debug)]
pub(crate) struct Ground {
    config: BenchConfig,
    disks: Disks,
    caches: Layers,
}

impl Ground {
    /// Makes the disks. What it says is for people: a host without loop devices serves
    /// everything but builds.
    pub(crate) fn prepare(config: BenchConfig) -> Result<Self, String> {
        let disks = Disks::open(&config.disks_folder(), config.disks).map_err(|error| {
            format!("cannot make disks for builds: {error} (loop devices and e2fsprogs are needed)")
        })?;
        let caches = Layers::open(&config.caches_folder(), TreeLimits::default()).map_err(|error| chain(&error))?;
        Ok(Self { config, disks, caches })
    }
}

/// The benches of one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Benches {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    engine: Engine,
    images: Arc<HostImages>,
    config: BenchConfig,
    disks: Disks,
    caches: Layers,
    /// How many benches stand on each cache. One process owns the folder, so it knows all.
    used: Mutex<BTreeMap<Digest, usize>>,
}

impl Parts {
    fn used(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Benches {
    /// Takes over the ground.
    pub(crate) fn open(engine: Engine, images: Arc<HostImages>, ground: Ground) -> Self {
        let Ground { config, disks, caches } = ground;
        Self { parts: Arc::new(Parts { engine, images, config, disks, caches, used: Mutex::default() }) }
    }
}

/// Removes what containers a killed owner left, whether or not there are to be benches now.
pub(crate) async fn sweep(engine: &Engine) -> Result<(), EngineError> {
    for seen in engine.list() {
        if seen.id.starts_with(PREFIX) {
            end(engine, &seen.id).await?;
        }
    }
    Ok(())
}

/// Ends and removes a container, whatever it is doing.
async fn end(engine: &Engine, id: &str) -> Result<(), EngineError> {
    match engine.stop(id, Duration::ZERO).await {
        Ok(_) | Err(EngineError::NotRunning(_) | EngineError::Unknown(_)) => {}
        Err(error) => return Err(error),
    }
    match engine.remove(id).await {
        Ok(()) | Err(EngineError::Unknown(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Sandbox for Benches {
    async fn bench(&self, order: BenchOrder) -> Result<Box<dyn Bench>, SandboxError> {
        Ok(Box::new(EmbeddedBench::open(Arc::clone(&self.parts), order).await?))
    }

    async fn caches(&self) -> Result<Vec<Digest>, SandboxError> {
        self.parts.caches.list().map_err(|error| layer(&error))
    }

    async fn is_intact(&self, cache: &Digest) -> Result<bool, SandboxError> {
        let tree = self.parts.caches.path_of(cache).map_err(|error| layer(&error))?;
        let scanned = tokio::task::spawn_blocking(move || Manifest::scan(&tree, TreeLimits::default())).await;
        match scanned {
            Ok(Ok(manifest)) => Ok(manifest.digest() == *cache),
            Ok(Err(error)) => {
                tracing::warn!(%cache, error = chain(&error), "a cache holds what it never held");
                Ok(false)
            }
            Err(error) => Err(SandboxError::Unavailable(error.to_string())),
        }
    }

    async fn forget(&self, cache: &Digest) -> Result<bool, SandboxError> {
        // Taken by this removal, so that no bench begins to stand on it meanwhile.
        {
            let mut used = self.parts.used();
            if used.get(cache).is_some_and(|benches| *benches > 0) {
                return Ok(false);
            }
            used.insert(cache.clone(), 1);
        }
        let removed = self.parts.caches.remove(cache).await;
        self.parts.used().remove(cache);
        match removed {
            Ok(()) | Err(LayerError::Missing(_)) => Ok(true),
            Err(error) => Err(layer(&error)),
        }
    }
}

/// A cache that a bench stands on.
#[derive(Debug)]
struct CacheUse {
    parts: Arc<Parts>,
    digest: Digest,
}

impl CacheUse {
    fn of(parts: &Arc<Parts>, digest: Digest) -> Self {
        *parts.used().entry(digest.clone()).or_insert(0) += 1;
        Self { parts: Arc::clone(parts), digest }
    }

    /// Looked for only after it is in use.
    fn tree(&self) -> Result<PathBuf, SandboxError> {
        self.parts.caches.path_of(&self.digest).map_err(|error| layer(&error))
    }
}

impl Drop for CacheUse {
    fn drop(&mut self) {
        let mut used = self.parts.used();
        if let Some(benches) = used.get_mut(&self.digest) {
            *benches = benches.saturating_sub(1);
        }
        used.retain(|_, benches| *benches > 0);
    }
}

fn layer(error: &LayerError) -> SandboxError {
    SandboxError::Unavailable(chain(error))
}

fn engine(error: &EngineError) -> SandboxError {
    match error {
        EngineError::Invalid(rule) => SandboxError::Refused(rule.clone()),
        error => SandboxError::Unavailable(chain(error)),
    }
}

fn file(error: &files::FileError) -> SandboxError {
    match error {
        files::FileError::Rule { .. } => SandboxError::Refused(error.to_string()),
        files::FileError::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            SandboxError::Full(error.to_string())
        }
        files::FileError::Disk { .. } => SandboxError::Unavailable(error.to_string()),
    }
}

/// Whether `path` is one of the places that the engine was told of, or below one.
fn is_known(config: &BenchConfig, path: &Path) -> bool {
    config.toolchains.iter().any(|known| path.starts_with(known))
}

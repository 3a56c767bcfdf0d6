//! The cache that builds stand on: which it is, how it is made, and when it goes.
//!
//! A cache is a directory tree of the Go command's module and build caches, named by the
//! digest of everything in it, made by the *warmer* from nothing: the platform's own choice
//! of programs, from modules that the checksum database knows, with nobody's plugin and
//! nothing ever run. Builds see it read-only, below a disk of their own, so that what one
//! writes over an entry is its own loss. It is never changed and never added to: another one
//! is made and takes its place, and the old one goes when the last bench on it is closed.
//!
//! ```text
//! FOLDER/current.json   which cache is the present one, and of what Go
//! ```
//!
//! Which one is present is one small file, replaced by a rename: killed anywhere, there is
//! the old one or the new one, and whatever is neither is removed at the next start.
//!
//! Every byte of it is read before the first build after a start, and before the first of each
//! day: seconds for a gigabyte, once a day, for the certainty that nobody has changed it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shipway_gobuild::plan::Plan;
use shipway_model::Digest;
use shipway_stdx::fs::{Durability, write_atomic};
use shipway_stdx::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::event::BuildEvent;
use crate::failure::{Failure, FailureKind};
use crate::farm::Farm;
use crate::sandbox::{Sandbox, SandboxError};

const CURRENT_FILE: &str = "current.json";
/// Version of that file.
const VERSION: u32 = 1;

/// How long one look at every byte is good for.
const CHECKED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The present cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    version: u32,
    /// Its name.
    pub cache: Digest,
    /// The Go that made it: entries of another are of no use.
    pub go: String,
    /// Keys of the builds that it was made of.
    pub made_of: Vec<String>,
}

/// Keeps one cache present.
#[derive(Debug)]
pub struct Caches {
    folder: PathBuf,
    sandbox: Arc<dyn Sandbox>,
    present: Mutex<Option<Present>>,
    /// When every byte of the present one was last read; whoever comes meanwhile waits for the end.
    checked: tokio::sync::Mutex<Option<Instant>>,
    /// One warmer at a time.
    warming: tokio::sync::Mutex<()>,
}

impl Caches {
    /// Reads which cache is present, and removes all others.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Unavailable`].
    pub async fn open(folder: &Path, sandbox: Arc<dyn Sandbox>) -> Result<Self, SandboxError> {
        std::fs::create_dir_all(folder).map_err(|error| disk(folder, &error))?;
        let kept = sandbox.caches().await?;
        let present = read(folder).filter(|present| kept.contains(&present.cache));
        let caches = Self {
            folder: folder.to_owned(),
            sandbox,
            present: Mutex::new(present),
            checked: tokio::sync::Mutex::new(None),
            warming: tokio::sync::Mutex::new(()),
        };
        caches.remove_others().await?;
        Ok(caches)
    }

    /// The cache for builds by this Go (`1.26.8`), if there is one and it is what it was made.
    /// Takes seconds when it is time to look.
    pub async fn present(&self, go: &str) -> Option<Digest> {
        if let Err(error) = self.check_daily().await {
            tracing::warn!(%error, "the cache of builds cannot be looked at; this build does without");
            return None;
        }
        self.slot().as_ref().filter(|present| present.go == go).map(|present| present.cache.clone())
    }

    async fn check_daily(&self) -> Result<(), SandboxError> {
        let mut checked = self.checked.lock().await;
        if checked.is_some_and(|at| at.elapsed() < CHECKED_FOR) {
            return Ok(());
        }
        self.check().await?;
        *checked = Some(Instant::now());
        Ok(())
    }

    /// All that is known of the present cache.
    #[must_use]
    pub fn look(&self) -> Option<Present> {
        self.slot().clone()
    }

    /// Reads every byte of the present cache; one that is not what it was is given up at once.
    /// Says whether all is well; if not, what was built since the last look is better built anew.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Unavailable`].
    pub async fn check(&self) -> Result<bool, SandboxError> {
        let Some(present) = self.look() else { return Ok(true) };
        if self.sandbox.is_intact(&present.cache).await? {
            return Ok(true);
        }
        tracing::error!(cache = %present.cache, "the cache of builds has been changed by somebody; it is given up. Make anew what was built since the last look");
        // At once, not after a warmer that may be at work for minutes.
        self.give_up(&present.cache)?;
        // A warmer at work removes it when it is done; builds do not wait for that.
        if let Ok(_turn) = self.warming.try_lock() {
            self.remove_others().await?;
        }
        Ok(false)
    }

    fn give_up(&self, cache: &Digest) -> Result<(), SandboxError> {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|now| now.cache == *cache) {
            *slot = None;
            let path = self.folder.join(CURRENT_FILE);
            shipway_stdx::fs::remove_if_there(&path).map_err(|error| disk(&path, &error))?;
        }
        Ok(())
    }

    /// Makes a cache of these plans, by this Go, and puts it in place of the present one. One
    /// that was made of the same by the same stays.
    ///
    /// # Errors
    ///
    /// A [`Failure`]; the present one stays.
    pub async fn warm(
        &self,
        farm: &Farm,
        go: &str,
        plans: &[Plan],
        events: mpsc::Sender<BuildEvent>,
        stop: Shutdown,
    ) -> Result<Digest, Failure> {
        let _turn = self.warming.lock().await;
        let made_of: Vec<String> = plans.iter().map(|plan| plan.key.as_str().to_owned()).collect();
        if let Some(present) = self.look().filter(|present| present.go == go && present.made_of == made_of) {
            return Ok(present.cache);
        }
        let cache = farm.warm(plans, events, stop).await?;
        let present = Present { version: VERSION, cache: cache.clone(), go: go.to_owned(), made_of };
        self.replace(present).map_err(|error| trouble(&error))?;
        if let Err(error) = self.remove_others().await {
            tracing::warn!(%error, "an old cache of builds stays until the next start");
        }
        Ok(cache)
    }

    fn replace(&self, present: Present) -> Result<(), SandboxError> {
        let path = self.folder.join(CURRENT_FILE);
        let json = serde_json::to_vec(&present).expect("texts and a number");
        let mut slot = self.slot();
        write_atomic(&path, &json, 0o600, Durability::Power).map_err(|error| disk(&path, &error))?;
        *slot = Some(present);
        Ok(())
    }

    /// Removes every cache but the present one, and those that benches still stand on. Waits
    /// for a warmer: the cache that it has just made is not the present one yet.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Unavailable`].
    pub async fn sweep(&self) -> Result<(), SandboxError> {
        let _turn = self.warming.lock().await;
        self.remove_others().await
    }

    async fn remove_others(&self) -> Result<(), SandboxError> {
        for cache in self.sandbox.caches().await? {
            let is_present = self.slot().as_ref().is_some_and(|present| present.cache == cache);
            if !is_present && !self.sandbox.forget(&cache).await? {
                tracing::debug!(%cache, "an old cache is in use and goes later");
            }
        }
        Ok(())
    }

    fn slot(&self) -> MutexGuard<'_, Option<Present>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is missing, damaged or of another version is none: another one is made.
fn read(folder: &Path) -> Option<Present> {
    let json = std::fs::read(folder.join(CURRENT_FILE)).ok()?;
    serde_json::from_slice(&json).ok().filter(|present: &Present| present.version == VERSION)
}

fn disk(path: &Path, error: &std::io::Error) -> SandboxError {
    SandboxError::Unavailable(format!("{}: {error}", path.display()))
}

fn trouble(error: &SandboxError) -> Failure {
    Failure { kind: FailureKind::Sandbox, step: None, message: error.to_string(), lines: Vec::new() }
}

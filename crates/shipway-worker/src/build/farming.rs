//! What a worker needs to make builds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use shipway_artifacts::Artifacts;
use shipway_artifacts::sign::Signers;
use shipway_gobuild::plan::Settings;
use shipway_gobuild::{Plan, Proxies, Spec};
use shipway_gofarm::Farm;
use shipway_gofarm::caches::Caches;
use shipway_model::{Build, FailureCode};
use shipway_stdx::shutdown;
use tokio::sync::mpsc;

use crate::trouble::Trouble;

/// What a worker needs to make builds.
#[derive(Debug)]
pub struct Farming {
    /// Carries plans out.
    pub farm: Farm,
    /// Where modules come from.
    pub proxies: Proxies,
    /// What they stand on.
    pub caches: Arc<Caches>,
    /// Where what they make is kept.
    pub artifacts: Artifacts,
    /// Who signs it.
    pub signers: Signers,
    /// The place that plans are made for, its Go among it.
    pub settings: Settings,
    /// Where binaries are between the sandbox and the place of artifacts.
    pub folder: PathBuf,
    /// Builds at work at once: those beyond are left to other workers.
    pub at_once: usize,
    /// How many are.
    pub seats: Seats,
    /// Longest a build may take in all.
    pub limit: Duration,
    /// Who builds, as a URI, for the provenance.
    pub builder: String,
    /// Whether a cache is made after a build that had none.
    pub warms: bool,
    /// Set while one is made.
    pub warming: Arc<AtomicBool>,
}

/// Counts the builds at work.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<AtomicUsize>);

/// One of them, as long as it lives.
#[derive(Debug)]
pub(crate) struct Seat(Seats);

impl Seats {
    fn take(&self) -> Seat {
        self.0.fetch_add(1, Ordering::SeqCst);
        Seat(self.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Farming {
    /// Whether another build would have to wait here.
    pub(crate) fn is_full(&self) -> bool {
        self.seats.0.load(Ordering::SeqCst) >= self.at_once
    }

    /// Taken with the claim, so that the next claim knows.
    pub(crate) fn seat(&self) -> Seat {
        self.seats.take()
    }

    /// Reads what is to be built, if this worker can.
    pub(crate) fn spec(&self, build: &Build) -> Result<Spec, Trouble> {
        let spec =
            Spec::parse(&build.spec).map_err(|error| Trouble::failed(FailureCode::Internal, error.to_string()))?;
        let is_mine =
            spec.key().as_str() == build.key && spec.go == self.settings.go && spec.sandbox == self.settings.sandbox;
        if is_mine {
            return Ok(spec);
        }
        // A worker of the version, or with the Go, that it was planned for has to make it.
        Err(Trouble::later(FailureCode::EngineUnavailable, "it was planned for another version of the build farm"))
    }

    /// Where the binary is to be put; what a killed worker left there is gone.
    pub(crate) fn file(&self, build: &Build) -> Result<PathBuf, Trouble> {
        let file = self.folder.join(build.id.to_string());
        let made = std::fs::create_dir_all(&self.folder).and_then(|()| shipway_stdx::fs::remove_if_there(&file));
        match made {
            Ok(_) => Ok(file),
            Err(error) => Err(disk(&self.folder, &error)),
        }
    }

    /// Makes a cache of the program alone, so that the next build of it takes seconds. In the
    /// background: nobody waits for it, and when it fails the next cold build tries again.
    pub(crate) fn warm_soon(&self, spec: &Spec) {
        let Some(platform) = self.settings.host.clone().filter(|_| self.warms) else { return };
        if self.warming.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut alone = spec.clone();
        alone.resolved.plugins.clear();
        alone.resolved.replacements.clear();
        alone.resolved.platform = platform;
        let plans = [Plan::make(&alone.recipe, &alone.resolved, &self.settings)];
        let (farm, caches, warming) = (self.farm.clone(), Arc::clone(&self.caches), Arc::clone(&self.warming));
        let go = self.settings.go.clone();
        tokio::spawn(async move {
            let (events, mut heard) = mpsc::channel(64);
            let (_keep, never) = shutdown::channel();
            let nobody = async { while heard.recv().await.is_some() {} };
            let (warmed, ()) = tokio::join!(caches.warm(&farm, &go, &plans, events, never), nobody);
            match warmed {
                Ok(cache) => tracing::info!(%cache, "builds have a warm cache"),
                Err(failure) => tracing::warn!(%failure, "no warm cache for builds"),
            }
            warming.store(false, Ordering::SeqCst);
        });
    }
}

fn disk(path: &Path, error: &std::io::Error) -> Trouble {
    Trouble::later(FailureCode::StorageUnavailable, format!("{}: {error}", path.display()))
}

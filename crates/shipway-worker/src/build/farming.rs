//! What a worker needs to make builds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shipway_artifacts::Artifacts;
use shipway_artifacts::sign::Signers;
use shipway_gobuild::plan::Settings;
use shipway_gobuild::{Proxies, Spec};
use shipway_gofarm::Farm;
use shipway_gofarm::caches::Caches;
use shipway_model::{Build, FailureCode};

use super::warmer::Warmer;
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
    /// Makes what builds stand on.
    pub warmer: Warmer,
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
}

fn disk(path: &Path, error: &std::io::Error) -> Trouble {
    Trouble::later(FailureCode::StorageUnavailable, format!("{}: {error}", path.display()))
}

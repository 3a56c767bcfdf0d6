//! What every role of this process works with: directories, the store, who we are.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use shipway_fetch::{Blobs, FetchConfig, Fetcher};
use shipway_store::{Claimant, Store};

use super::database;
use crate::config::Config;
use crate::platform::{self, Places};
use crate::state_dir::StateDir;

/// Owned by `serve` and lent to its parts.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) config: Config,
    pub(super) state: StateDir,
    pub(super) places: Places,
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) fetcher: Fetcher,
}

impl Base {
    /// Takes what the roles of this process need of the state directory, and opens the store.
    pub(super) async fn open(config: Config) -> anyhow::Result<Self> {
        let state = StateDir::open_for(&config.state_dir, config.roles)?;
        let places = Places::open(&config, &state)?;
        let store = database::open(&config, &state).await?;
        let blobs = Blobs::open(&state.join("blobs")).context("cannot open the content store")?;
        let fetcher = Fetcher::new(fetch_config(&config)?)?;
        Ok(Self { config, state, places, store, blobs, fetcher })
    }

    /// The engine root of this installation, in the words of the store: one process that has
    /// everything needs no name for it.
    pub(super) fn engine(&self) -> Option<&str> {
        self.store.is_shared().then_some(self.places.instance.as_str())
    }

    /// Who takes tasks here. Where others may too, it has a name of its own, and
    /// services stay with the engine that has their containers.
    pub(super) fn claimant(&self) -> Claimant {
        let settings = &self.config.worker;
        let named = match self.engine() {
            None => Claimant::named("worker"),
            Some(engine) => {
                let short = engine.get(..8).unwrap_or(engine);
                Claimant {
                    engine: Some(engine.to_owned()),
                    ..Claimant::named(format!("{}-{short}", platform::host_name()))
                }
            }
        };
        Claimant { project_max: settings.project_max, labels: settings.labels.clone(), ..named }
    }

    /// Where the trees of imported images are.
    pub(super) fn layers(&self) -> PathBuf {
        self.state.join("layers")
    }

    pub(super) fn run_dir(&self) -> &Path {
        &self.places.run_dir
    }
}

fn fetch_config(config: &Config) -> anyhow::Result<FetchConfig> {
    Ok(FetchConfig {
        allow: config.fetch_allow.parse()?,
        cap_bytes: config.fetch_limit_bytes,
        ..FetchConfig::default()
    })
}

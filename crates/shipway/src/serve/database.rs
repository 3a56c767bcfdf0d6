//! The store of this process: a file in the state directory, or a server.

use std::time::Duration;

use anyhow::Context as _;
use shipway_store::{Claimant, Migrate, OpenError, Store};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::platform::Places;
use crate::state_dir::StateDir;

/// How long a start waits for a server that is not there: a machine that boots starts
/// everything at once. Then the service manager tries again.
const SERVER_WAIT: Duration = Duration::from_secs(60);

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the store, and gives the tasks back that this installation held when it ended.
pub(super) async fn open(config: &Config, state: &StateDir, places: &Places) -> anyhow::Result<Store> {
    let Some(url) = &config.database_url else {
        let store = Store::open(&state.join("shipway.sqlite")).await?;
        // The only process of this state directory: whatever was running runs no more.
        store.rescue(true).await?;
        return Ok(store);
    };
    let store = connect(url.reveal()).await.context("cannot use the database of `database.url`")?;
    store.rescue_worker(&claimant(config, places).worker).await?;
    Ok(store)
}

/// Who takes tasks here. On a server others may too, so it has a name of its own, and
/// services stay with the engine that has their containers.
pub(super) fn claimant(config: &Config, places: &Places) -> Claimant {
    if config.database_url.is_none() {
        return Claimant::named("worker");
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = places.instance.get(..8).unwrap_or(&places.instance);
    Claimant { engine: Some(places.instance.clone()), ..Claimant::named(format!("{host}-{short}")) }
}

pub(crate) async fn connect(url: &str) -> Result<Store, OpenError> {
    let began = Instant::now();
    loop {
        match Store::connect(url, Migrate::Yes).await {
            Err(error @ OpenError::Open { .. }) if began.elapsed() < SERVER_WAIT => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, "waiting for the database");
                sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

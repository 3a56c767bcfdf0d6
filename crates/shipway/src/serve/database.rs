//! The store of this process: a file in the state directory, or a server.

use std::time::Duration;

use anyhow::Context as _;
use shipway_store::{Migrate, OpenError, Store};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::state_dir::StateDir;

/// How long a start waits for a server that is not there, or for tables that a janitor has to
/// bring up to date: a machine that boots starts everything at once. Then the service manager
/// tries again.
const SERVER_WAIT: Duration = Duration::from_secs(60);

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the store that the configuration names. On a server, janitors see to the tables.
pub(crate) async fn open(config: &Config, state: &StateDir) -> anyhow::Result<Store> {
    let Some(url) = &config.database_url else {
        return Ok(Store::open(&state.join("shipway.sqlite")).await?);
    };
    let migrate = if config.roles.janitor { Migrate::Yes } else { Migrate::No };
    connect(url.reveal(), migrate).await.context("cannot use the database of `database.url`")
}

async fn connect(url: &str, migrate: Migrate) -> Result<Store, OpenError> {
    let began = Instant::now();
    loop {
        match Store::connect(url, migrate).await {
            Err(error @ (OpenError::Open { .. } | OpenError::Older { .. })) if began.elapsed() < SERVER_WAIT => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, "waiting for the database");
                sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

//! The store of this process: a file in the state directory, or a server.

use std::time::Duration;

use anyhow::Context as _;
use shipway_store::{Migrate, OpenError, Store, StoreError};
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

/// Does what a start needs of the database, and again while that is away, slow or locked: under
/// load, and just after it came back, one question may fail where the next does not.
pub(super) async fn patiently<T>(doing: &str, work: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match work().await {
            Err(error) if is_away(&error) && began.elapsed() < SERVER_WAIT => {
                tracing::warn!(doing, error = format!("{error:#}"), "waiting for the database");
                sleep(PAUSE).await;
            }
            done => return done.with_context(|| format!("cannot {doing}")),
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Unavailable { .. }))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_may_pass_is_waited_for_and_nothing_else() {
        let tries = AtomicU32::new(0);
        let locked = || StoreError::Unavailable { reason: "it is locked by another process".to_owned(), source: None };
        let second = async || match tries.fetch_add(1, Ordering::SeqCst) {
            0 => Err(locked().into()),
            _ => Ok(7),
        };
        assert_eq!(patiently("count", second).await.unwrap(), 7);

        let tries = AtomicU32::new(0);
        let broken = async || -> anyhow::Result<()> {
            tries.fetch_add(1, Ordering::SeqCst);
            Err(StoreError::Corrupt("row 7".to_owned()).into())
        };
        let error = patiently("count", broken).await.unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot count: the database holds a row"), "{error:#}");
        assert_eq!(tries.into_inner(), 1);
    }
}

//! Keeps one proxy running.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::bail;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use shipway_proxy::wire::{CONTROL_SOCKET, own_socket};
use shipway_proxy::{FeedClient, ProxyConfig, startup};
use shipway_stdx::backoff::Backoff;
use shipway_stdx::shutdown::Shutdown;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::program::{self, identity};

/// A proxy that dies at once is not started in a tight loop.
const RESTARTS: Backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_secs(5) };
/// A proxy that has run so long starts afresh with its failures.
const STEADY: Duration = Duration::from_secs(30);
/// How long a new proxy may take until its control socket is there.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(2);

/// Starts proxies with one configuration, one after the other.
pub(crate) struct Supervisor {
    config: ProxyConfig,
    first: First,
}

/// The proxy that a supervisor begins with.
enum First {
    /// Somebody else's child, known by its connection.
    Adopted,
    Child(Child),
    Next,
}

impl Supervisor {
    /// Looks after a proxy that an earlier `serve` started.
    pub(crate) const fn adopting(config: ProxyConfig) -> Self {
        Self { config, first: First::Adopted }
    }

    /// Starts a proxy and waits until it can be found in the run directory.
    pub(crate) async fn starting(config: ProxyConfig) -> anyhow::Result<Self> {
        let mut child = spawn(&config)?;
        let (own, newest) = places(&config, child.id());
        let began = tokio::time::Instant::now();
        while identity(&own).is_none() || identity(&own) != identity(&newest) {
            if let Some(status) = child.try_wait()? {
                bail!("the new proxy ended at once ({status}); the log says why");
            }
            if began.elapsed() > START_LIMIT {
                child.kill()?;
                bail!("the new proxy did not open its control socket within {} s", START_LIMIT.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Self { config, first: First::Child(child) })
    }

    /// Ends the proxy that was just started.
    pub(crate) fn give_up(self) -> std::io::Result<()> {
        match self.first {
            First::Child(mut child) => child.kill(),
            First::Adopted | First::Next => Ok(()),
        }
    }

    /// Runs one proxy after the other until told to stop; the last one stays.
    /// `newest` is the feed of whichever runs.
    pub(crate) async fn run(mut self, newest: FeedClient, mut shutdown: Shutdown) {
        let mut failures = 0;
        while !shutdown.is_requested() {
            let began = tokio::time::Instant::now();
            tokio::select! {
                () = self.until_dead(&newest) => {}
                () = shutdown.requested() => return,
            }
            failures = if began.elapsed() > STEADY { 1 } else { failures + 1 };
            tracing::warn!(failures, "the proxy is gone; starting another");
            tokio::select! {
                () = tokio::time::sleep(RESTARTS.wait_after(failures)) => {}
                () = shutdown.requested() => return,
            }
        }
    }

    /// Runs one proxy until it is no more.
    async fn until_dead(&mut self, newest: &FeedClient) {
        match std::mem::replace(&mut self.first, First::Next) {
            First::Adopted => newest.disconnected().await,
            First::Child(child) => reap(child).await,
            First::Next => match spawn(&self.config) {
                Ok(child) => reap(child).await,
                Err(error) => tracing::error!(error = format!("{error:#}"), "cannot start the proxy"),
            },
        }
    }
}

fn places(config: &ProxyConfig, pid: u32) -> (PathBuf, PathBuf) {
    let run_dir = &config.settings.run_dir;
    (run_dir.join(own_socket(pid)), run_dir.join(CONTROL_SOCKET))
}

/// Starts the file that this process runs, also when another has taken its place:
/// the new one's turn comes with an upgrade.
fn spawn(config: &ProxyConfig) -> anyhow::Result<Child> {
    let own = Path::new(program::OWN);
    // By its name where that still leads there: people read it in process lists.
    let named = std::env::current_exe().ok().filter(|path| identity(path) == identity(own));
    let run_dir = config.settings.run_dir.to_string_lossy();
    Ok(startup::start(named.as_deref().unwrap_or(own), &["proxy", "--run-dir", &run_dir], config)?)
}

/// Waits until a child has ended, by a descriptor: a blocked thread would hold up
/// the end of this process.
async fn reap(mut child: Child) {
    let ended = async {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidInput)?;
        #[expect(deprecated, reason = "sound for an owned descriptor; its successor is an unsafe function")]
        let descriptor = AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::NONBLOCK)?, Interest::READABLE)?;
        drop(descriptor.readable().await?);
        child.wait()
    };
    match ended.await {
        Ok(status) => tracing::warn!(%status, "the proxy ended"),
        Err(error) => tracing::error!(%error, "the proxy cannot be waited for"),
    }
}

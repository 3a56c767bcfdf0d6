//! `shipway down`: everything of this platform on this machine is ended.
//!
//! In order: `serve`, which would restart what dies; the proxies; the containers;
//! what the engine holds of the kernel's, and the disks of builds. The state directory is kept, so the
//! next `serve` finds its services and brings back what was wanted.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use shipway_driver::{Driver as _, Phase};
use shipway_driver_embedded::BenchConfig;
use shipway_proxy::FeedClient;

use crate::config::Config;
use crate::platform::{self, BENCHES, Places};
use crate::state_dir::{self, StateDir};

/// How long `serve` may take to end.
const SERVE_LIMIT: Duration = Duration::from_secs(60);
/// How long visitors get to finish.
const PROXY_LIMIT: Duration = Duration::from_secs(5);
/// How long a container gets between being asked and being killed.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at something that is no child of ours.
const LOOK: Duration = Duration::from_millis(20);

/// What there was to end.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Ended {
    state_dir: PathBuf,
    /// Whether the directory is there at all: one that is not may have been mistyped.
    found: bool,
    served: bool,
    containers: usize,
}

impl Ended {
    /// For people, or for programs.
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = io::stdout();
        if json {
            serde_json::to_writer(&out, self)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{self}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state_dir.display();
        match (self.found, self.served, self.containers) {
            (false, ..) => write!(f, "nothing to end: there is no {state} (`state_dir`)"),
            (true, false, 0) => write!(f, "nothing ran of {state}"),
            (true, served, containers) => {
                let serve = if served { "serve and " } else { "" };
                let plural = if containers == 1 { "" } else { "s" };
                write!(
                    f,
                    "ended {serve}{containers} container{plural}; {state} is kept, and what the next serve starts from"
                )
            }
        }
    }
}

/// Ends everything. Fine when nothing runs.
pub(crate) async fn down(config: Config) -> anyhow::Result<Ended> {
    let mut ended = Ended { state_dir: config.state_dir.clone(), found: config.state_dir.exists(), ..Ended::default() };
    if !ended.found {
        return Ok(ended);
    }
    ended.served = end_serve(&config.state_dir).await?;
    let state = StateDir::open(&config.state_dir)?;
    let places = Places::open(&config, &state)?;
    end_proxies(&places).await?;
    ended.containers = end_containers(&config, &state, &places).await?;
    match std::fs::remove_dir_all(&places.run_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("cannot remove the run directory"),
        _ => Ok(ended),
    }
}

/// Returns whether there was one.
async fn end_serve(state: &Path) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut asked = BTreeSet::new();
    while let Some(&pid) = state_dir::owners(state)?.first() {
        if asked.insert(pid) {
            let pid = Pid::from_raw(pid).context("the state directory's lock names no process")?;
            // Two words: there is no waiting for tasks, the next start goes on with them.
            for signal in [Signal::TERM, Signal::INT] {
                kill_process(pid, signal).context("cannot end serve")?;
            }
        }
        if begun.elapsed() > SERVE_LIMIT {
            bail!("serve (process {pid}) does not end within {} s", SERVE_LIMIT.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(!asked.is_empty())
}

/// Ends every proxy: the one that takes visitors, and those that still finish theirs.
async fn end_proxies(places: &Places) -> anyhow::Result<()> {
    let ending = places.proxy_sockets()?.into_iter().map(|socket| end_proxy(places, socket));
    futures_util::future::join_all(ending).await.into_iter().collect()
}

async fn end_proxy(places: &Places, socket: PathBuf) -> anyhow::Result<()> {
    if std::os::unix::net::UnixStream::connect(&socket).is_err() {
        return Ok(());
    }
    let (client, task) = FeedClient::new(socket.clone(), places.instance.clone());
    let (_stop, shutdown) = shipway_stdx::shutdown::channel();
    let talking = tokio::spawn(task.run(shutdown));
    client.connected(PROXY_LIMIT).await.context("the proxy does not answer")?;
    client.drain_and_exit(PROXY_LIMIT).await.context("cannot end the proxy")?;
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        if begun.elapsed() > PROXY_LIMIT * 4 {
            bail!("the proxy does not end");
        }
        tokio::time::sleep(LOOK).await;
    }
    talking.abort();
    Ok(())
}

/// Returns how many ran.
async fn end_containers(config: &Config, state: &StateDir, places: &Places) -> anyhow::Result<usize> {
    let driver = platform::open_driver(config, state, places, None).await?;
    let containers = driver.recover().await?;
    let ending = containers.iter().map(|seen| async {
        if seen.phase == Phase::Running {
            driver.stop(seen.container, GRACE).await?;
        }
        driver.remove(seen.container).await
    });
    for ended in futures_util::future::join_all(ending).await {
        ended.context("cannot end a container")?;
    }
    driver.close().await;
    let benches = BenchConfig::new(places.builds(config, state).join(BENCHES));
    benches.clear().context("cannot unmount the disks of builds")?;
    Ok(containers.iter().filter(|seen| seen.phase == Phase::Running).count())
}

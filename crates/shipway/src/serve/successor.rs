//! The next `serve`: started by this one, watched until it is ready, and undone when
//! it is not.
//!
//! Both use the same state directory, which has one owner at a time. So this process
//! first lets go of everything, like one that is told to stop; the proxy and the
//! containers go on by themselves. The file it runs stays open in the kernel even
//! when another has taken its name, so going back is to run it again.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use shipway_stdx::fs::{Durability, remove_if_there, write_atomic};
use tokio::net::UnixDatagram;

use crate::facts::{self, Facts};
use crate::program;

/// In the run directory: how the last attempt ended.
pub(crate) const OUTCOME_FILE: &str = "upgrade.json";
/// In the run directory, while a successor is awaited: where it says that it is ready.
const READY_SOCKET: &str = "successor.sock";
const READY: &[u8] = b"READY=1";
/// How long a successor may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// One that has been ready so long is trusted to stay.
const PROBATION: Duration = Duration::from_secs(1);
/// Between two looks whether it lives.
const LOOK: Duration = Duration::from_millis(10);

/// How an attempt to hand over ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// The successor serves.
    Done,
    /// The file was not tried; nothing has changed.
    Refused,
    /// The successor failed; the one before serves again.
    RolledBack,
}

/// The attempt in words, for `shipway upgrade` and whoever looks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    /// The version that served before.
    pub(crate) from: String,
    /// The version that was tried, where it is known.
    pub(crate) to: Option<String>,
    /// Why not, if not.
    pub(crate) reason: Option<String>,
}

impl Outcome {
    fn new(ending: Ending, to: Option<String>, reason: Option<String>) -> Self {
        Self { ending, from: Facts::own().version, to, reason }
    }

    pub(crate) fn refused(reason: &anyhow::Error) -> Self {
        Self::new(Ending::Refused, None, Some(format!("{reason:#}")))
    }

    /// Writes it where `shipway upgrade` waits for it.
    pub(crate) fn record(&self, run_dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self)?;
        Ok(write_atomic(&run_dir.join(OUTCOME_FILE), &text, 0o644, Durability::Process)?)
    }
}

/// Looks at what would follow now.
///
/// # Errors
///
/// It may not follow, and why.
pub(crate) async fn check(file: PathBuf) -> anyhow::Result<Facts> {
    let facts = tokio::task::spawn_blocking(move || facts::ask(&file)).await.context("the check panicked")??;
    facts.may_follow(&Facts::own())?;
    Ok(facts)
}

/// Starts `file` as the next `serve`, with this one's arguments and environment, and
/// returns its process once it has been ready for a moment.
///
/// # Errors
///
/// It did not become ready, and is gone.
pub(crate) async fn start(file: &Path, run_dir: &Path) -> anyhow::Result<u32> {
    let socket = listen(run_dir)?;
    let mut command = Command::new(file);
    // systemd's watchdog watches whoever is the main process, not this one.
    command.args(arguments()).env_remove("WATCHDOG_PID").stdin(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", file.display()))?;
    let ready = tokio::time::timeout(READY_LIMIT, until_ready(&mut child, &socket)).await;
    let ready = ready.unwrap_or_else(|_| bail_late());
    drop(std::fs::remove_file(run_dir.join(READY_SOCKET)));
    if ready.is_err() {
        // It may have ended already.
        drop(child.kill());
        child.wait()?;
    }
    ready.map(|()| child.id())
}

fn bail_late() -> anyhow::Result<()> {
    bail!("it was not ready within {} s", READY_LIMIT.as_secs())
}

fn listen(run_dir: &Path) -> anyhow::Result<UnixDatagram> {
    let path = run_dir.join(READY_SOCKET);
    remove_if_there(&path).context("an old socket stays")?;
    let socket = UnixDatagram::bind(&path).with_context(|| format!("cannot make {}", path.display()))?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(socket)
}

async fn until_ready(child: &mut Child, socket: &UnixDatagram) -> anyhow::Result<()> {
    let mut word = [0; 64];
    loop {
        tokio::select! {
            count = socket.recv(&mut word) => if &word[..count?] == READY { break },
            () = tokio::time::sleep(LOOK) => assert_lives(child)?,
        }
    }
    let until = tokio::time::Instant::now() + PROBATION;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        assert_lives(child)?;
    }
    Ok(())
}

fn assert_lives(child: &mut Child) -> anyhow::Result<()> {
    match child.try_wait()? {
        None => Ok(()),
        Some(status) => bail!("it ended with {status} instead of serving; the log says why"),
    }
}

/// Says that this process is ready, to the `serve` that may be waiting to leave.
pub(crate) fn tell_ready(run_dir: &Path) {
    let told = std::os::unix::net::UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(READY, run_dir.join(READY_SOCKET)));
    if told.is_ok() {
        tracing::info!("taking over from the shipway before");
    }
}

/// Says how it went, once this process owns nothing any more.
pub(crate) fn done(run_dir: &Path, to: &Facts) -> anyhow::Result<()> {
    Outcome::new(Ending::Done, Some(to.version.clone()), None).record(run_dir)
}

/// Runs this very file again in this very process, after a successor has failed.
///
/// # Errors
///
/// It returns only when that cannot be done.
pub(crate) fn go_back(run_dir: &Path, to: &Facts, reason: &anyhow::Error) -> anyhow::Result<()> {
    tracing::error!(reason = format!("{reason:#}"), to = to.version, "the upgrade failed; going back");
    Outcome::new(Ending::RolledBack, Some(to.version.clone()), Some(format!("{reason:#}"))).record(run_dir)?;
    let mut same = Command::new(program::OWN);
    same.arg0(std::env::args_os().next().unwrap_or_default()).args(arguments());
    // Those have been taken, and are the proxy's by now.
    same.env_remove("LISTEN_PID").env_remove("LISTEN_FDS");
    let error = same.exec();
    Err(error).context("cannot go back")
}

fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(1)
}

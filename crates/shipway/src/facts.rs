//! What a binary says about itself, so that another can tell whether it may follow.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

/// How long a binary may take to introduce itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Longest introduction, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Versions of everything that one release leaves for the next. A number grows when
/// an older release could not work with what the newer one leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The release.
    pub(crate) version: String,
    /// The processor it is built for.
    pub(crate) machine: String,
    /// The form of the state directory.
    pub(crate) state: u32,
    /// The database's schema.
    pub(crate) schema: i64,
    /// The oldest schema whose versions work with what it leaves in the database; none:
    /// only its own.
    #[serde(default)]
    pub(crate) schema_least: Option<i64>,
    /// The feed of routes to the proxy.
    pub(crate) route_feed: u32,
    /// What is spoken with launcher and shims.
    pub(crate) shim_protocol: u32,
}

impl Facts {
    /// This binary's own.
    pub(crate) fn own() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: std::env::consts::ARCH.to_owned(),
            state: crate::state_dir::VERSION,
            schema: shipway_store::SCHEMA,
            schema_least: Some(shipway_store::SCHEMA_LEAST),
            route_feed: shipway_proxy::wire::VERSION,
            shim_protocol: shipway_engine::SHIM_PROTOCOL,
        }
    }

    /// Checks that this one can work with everything that `running` leaves.
    ///
    /// # Errors
    ///
    /// Names what it is too old for.
    pub(crate) fn may_follow(&self, running: &Self) -> anyhow::Result<()> {
        let old = |what: &str, found: i64, needed: i64| {
            ensure!(
                found >= needed,
                "version {} is older than the state: it knows {what} up to version {found}, and needs to know {needed}",
                self.version
            );
            Ok(())
        };
        ensure!(self.machine == running.machine, "it is built for {}, and this is {}", self.machine, running.machine);
        old("the state directory", self.state.into(), running.state.into())?;
        old("the database's schema", self.schema, running.schema_least.unwrap_or(running.schema))?;
        old("the route feed", self.route_feed.into(), running.route_feed.into())?;
        old("the shim protocol", self.shim_protocol.into(), running.shim_protocol.into())
    }
}

/// Asks a file what it is. It is run with no environment and no input.
///
/// # Errors
///
/// It is no program of this machine, does not answer in time, or is no Shipway.
#[expect(clippy::disallowed_methods, reason = "another program answers: nothing here to wait on but the clock")]
pub(crate) fn ask(file: &Path) -> anyhow::Result<Facts> {
    let mut command = Command::new(file);
    command.arg("facts").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("{} cannot be run on this machine", file.display()))?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if began.elapsed() > ANSWER_LIMIT => {
                child.kill()?;
                child.wait()?;
                bail!("{} does not say what it is within {} s", file.display(), ANSWER_LIMIT.as_secs());
            }
            None => std::thread::sleep(LOOK),
        }
    };
    let mut text = String::new();
    let output = child.stdout.take().context("no output")?;
    let read = output.take(ANSWER_BYTES_MAX).read_to_string(&mut text);
    ensure!(status.success(), "{} is no Shipway, or one that cannot run here: it ended with {status}", file.display());
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).with_context(|| {
        format!("{} is no Shipway, or one from before upgrades: it does not say what it is", file.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_may_follow_and_an_older_one_may_not() {
        let own = Facts::own();
        own.may_follow(&own).unwrap();
        let mut running = own.clone();
        running.schema += 1;
        // It has only added to the tables.
        own.may_follow(&running).unwrap();
        running.schema_least = None;
        own.may_follow(&running).unwrap_err();
        running.schema_least = Some(running.schema);
        let refusal = own.may_follow(&running).unwrap_err().to_string();
        assert!(refusal.contains("older than the state") && refusal.contains("schema"), "{refusal}");
        running.machine = "vax".to_owned();
        assert!(own.may_follow(&running).unwrap_err().to_string().contains("vax"));
    }

    #[test]
    fn what_is_no_shipway_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("notes.txt");
        std::fs::File::create(&text).unwrap();
        assert!(ask(&text).unwrap_err().to_string().contains("cannot be run"));
        assert!(ask(Path::new("/bin/true")).unwrap_err().to_string().contains("no Shipway"));
        assert!(ask(Path::new("/bin/false")).unwrap_err().to_string().contains("ended with"));
    }
}

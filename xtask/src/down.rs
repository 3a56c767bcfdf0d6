//! `make down`: ends what `make up` started, and leaves nothing behind.
//!
//! Shipway itself knows how to end its containers, its proxy and everything they
//! hold (`shipway down`); this adds the file server. State stays in
//! `.shipway/state`, so that the next `make up` finds its services again.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::sh::{self, say};
use crate::up::{self, Started};

/// How long a process may take to end when asked to.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Ends what `up` started. Fine when nothing runs.
pub(crate) fn down() -> anyhow::Result<()> {
    let started = Started::here();
    if up::binary().exists() && started.state().exists() {
        let state = started.state();
        let words = [
            "down",
            "--set",
            &format!("state_dir={}", state.display()),
            "--set",
            &format!("run_dir={}", started.run().display()),
        ];
        sh::run(&up::binary().to_string_lossy(), &words)?;
    }
    started.forget("shipway");
    end(&started, "files")?;
    say("nothing of `make up` runs any more; its state is kept in .shipway (remove it to start afresh)");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a process that is not our child ends: nothing to wait on but the clock")]
fn end(started: &Started, part: &str) -> anyhow::Result<()> {
    let Some(pid) = started.process(part) else { return Ok(()) };
    Command::new("kill").arg(pid.to_string()).stderr(Stdio::null()).status()?;
    let begun = Instant::now();
    while started.process(part).is_some() {
        if begun.elapsed() > END_LIMIT {
            bail!("the {part} (process {pid}) does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    started.forget(part);
    Ok(())
}

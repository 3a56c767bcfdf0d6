//! `shipway upgrade --to FILE`: another version in place of the running one.
//!
//! The file is put in place first and the running `serve` is told (SIGHUP); it looks
//! for itself, starts its successor and watches it. What happened is read from the
//! file it leaves. When it did not go well the file of before is put back.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use shipway_stdx::fs::remove_if_there;

use crate::config::Config;
use crate::facts::{self, Facts};
use crate::serve::successor::{Ending, OUTCOME_FILE, Outcome};
use crate::{program, state_dir};

/// How long the whole may take; `serve` gives its successor a minute.
const LIMIT: Duration = Duration::from_secs(150);
/// Between two looks for the outcome.
const LOOK: Duration = Duration::from_millis(20);

/// Replaces the running `serve` by `file`, and says how it went.
pub(crate) fn upgrade(config: &Config, file: &Path, as_json: bool) -> anyhow::Result<()> {
    let owners = state_dir::owners(&config.state_dir)?;
    let pid = *owners.first().with_context(|| {
        let state = config.state_dir.display();
        format!("no shipway runs with the state directory {state}: put the file in place and start it")
    })?;
    let file = fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
    let next = facts::ask(&file)?;
    let target = program::named(&pid.to_string()).context("cannot see what runs; are you root?")?;
    // `serve` checks again by what it runs; this one spares it the attempt.
    if program::is_own(pid.unsigned_abs()) == Some(true) {
        next.may_follow(&Facts::own())?;
    }
    let replaced = put_in_place(&file, &target)?;
    // Processes that share a state directory run one file; the first that fails ends it.
    let outcome = owners.iter().try_fold(None, |before: Option<Outcome>, pid| match before {
        Some(before) if before.ending != Ending::Done => Ok(Some(before)),
        _ => signal(*pid, &config.run_dir).map(Some),
    });
    let outcome = outcome.and_then(|outcome| outcome.context("nobody was told"));
    let went_well = outcome.as_ref().is_ok_and(|outcome| outcome.ending == Ending::Done);
    if !went_well && let Some(previous) = replaced {
        fs::rename(&previous, &target).with_context(|| format!("cannot put {} back", target.display()))?;
    }
    tell(&outcome?, &target, as_json)
}

/// Puts a copy of `file` at `target`, atomically; what was there is kept beside it.
/// Returns where, or nothing when `file` is what is there.
fn put_in_place(file: &Path, target: &Path) -> anyhow::Result<Option<PathBuf>> {
    if fs::canonicalize(target).is_ok_and(|there| there == file) {
        return Ok(None);
    }
    let beside = |suffix: &str| {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        target.with_file_name(name)
    };
    // Names of the moment; the operator's own file may have one of them.
    let moment = |suffixes: [&str; 2]| {
        let [first, second] = suffixes.map(beside);
        if first == file { second } else { first }
    };
    let (new, kept, previous) = (moment([".new", ".next"]), moment([".kept", ".was"]), beside(".previous"));
    program::copy(file, &new)?;
    // `file` may be the previous one: it has been copied by now.
    remove_if_there(&kept)?;
    if target.exists() {
        fs::hard_link(target, &kept).with_context(|| format!("cannot keep {}", target.display()))?;
        fs::rename(&kept, &previous)?;
    }
    fs::rename(&new, target).with_context(|| format!("cannot replace {}", target.display()))?;
    Ok(previous.exists().then_some(previous))
}

/// Tells `serve` and waits for what becomes of it.
#[expect(clippy::disallowed_methods, reason = "another process answers: nothing here to wait on but the clock")]
fn signal(pid: i32, run_dir: &Path) -> anyhow::Result<Outcome> {
    let path = run_dir.join(OUTCOME_FILE);
    remove_if_there(&path).context("an old outcome stays")?;
    let pid = Pid::from_raw(pid).context("the state directory's lock names no process")?;
    kill_process(pid, Signal::HUP).context("cannot tell the running shipway")?;
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        if let Ok(text) = fs::read(&path) {
            return serde_json::from_slice(&text).context("the outcome cannot be read");
        }
        std::thread::sleep(LOOK);
    }
    bail!("nothing has happened for {} s; see the log", LIMIT.as_secs())
}

fn tell(outcome: &Outcome, target: &Path, as_json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout();
    if as_json {
        serde_json::to_writer(&mut out, outcome)?;
        writeln!(out)?;
    }
    let reason = outcome.reason.as_deref().unwrap_or("no reason was given");
    let to = outcome.to.as_deref().unwrap_or("unknown");
    ensure!(outcome.ending != Ending::Refused, "refused, and nothing has changed: {reason}");
    ensure!(
        outcome.ending != Ending::RolledBack,
        "version {to} did not become ready, and {} serves again: {reason}",
        outcome.from
    );
    if !as_json {
        writeln!(out, "version {to} serves, from {}; before it {} did", target.display(), outcome.from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_file_stays_whatever_its_name() {
        for name in ["next-version", "shipway.new", "shipway.kept", "shipway.next", "shipway.was"] {
            let folder = tempfile::tempdir().unwrap();
            let (target, file) = (folder.path().join("shipway"), folder.path().join(name));
            fs::copy("/bin/true", &target).unwrap();
            fs::copy("/bin/false", &file).unwrap();
            let previous = put_in_place(&file, &target).unwrap().expect("there was one before");
            assert_eq!(fs::read(&previous).unwrap(), fs::read("/bin/true").unwrap(), "{name}");
            assert_eq!(fs::read(&target).unwrap(), fs::read("/bin/false").unwrap(), "{name}");
            assert_eq!(fs::read(&file).unwrap(), fs::read("/bin/false").unwrap(), "{name}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "{name}: nothing else is left");
        }
    }

    #[test]
    fn going_back_to_the_previous_one_swaps_them() {
        let folder = tempfile::tempdir().unwrap();
        let (target, previous) = (folder.path().join("shipway"), folder.path().join("shipway.previous"));
        fs::copy("/bin/true", &target).unwrap();
        fs::copy("/bin/false", &previous).unwrap();
        assert_eq!(put_in_place(&previous, &target).unwrap(), Some(previous.clone()));
        assert_eq!(fs::read(&target).unwrap(), fs::read("/bin/false").unwrap());
        assert_eq!(fs::read(&previous).unwrap(), fs::read("/bin/true").unwrap());
        assert_eq!(put_in_place(&target, &target).unwrap(), None, "it is there already");
    }
}

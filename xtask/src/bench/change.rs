//! `redeploy` and `upgrade`: everything is replaced while visitors are there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shipway_testkit::wait_until;

use super::row::Row;
use super::visitors::{Crowd, Tally, Uploads, assert_some};
use super::work::Field;
use crate::up::binary;

const VISITORS: usize = 8;
const UPLOADS: usize = 20;
const REDEPLOYS: usize = 50;
const REQUESTS: u64 = 100_000;
const UPGRADES: usize = 100;
/// How much longer the slowest hundredth may take while versions change, in milliseconds.
const ADDED_P99_MS: f64 = 20.0;
/// Visitors before and after, to compare with.
const CALM: u64 = 20_000;
/// Longest wait for visitors.
const LIMIT: Duration = Duration::from_secs(600);

/// Says how many bytes it was sent.
const COUNTER: &str = "#!/bin/sh\nwc -c\n";
/// Its uploads last as long as the bench.
const LASTING: [&str; 5] = ["--script", "--timeout", "15m", "--concurrency", "64"];

pub(super) fn redeploy(_rounds: usize) -> anyhow::Result<Vec<Row>> {
    let field = Field::new()?;
    let address = field.platform.address();
    field.deploy("page", "<p>0</p>", "--static")?;
    field.deploy_with("counter", COUNTER, &LASTING)?;
    let uploads = Uploads::start(address, "counter.localhost", UPLOADS);
    let crowd = Crowd::start(address, "page.localhost", VISITORS);
    for n in 1..=REDEPLOYS {
        field.deploy("page", &format!("<p>{n}</p>"), "--static")?;
        field.deploy_with("counter", &format!("{COUNTER}# {n}\n"), &LASTING)?;
    }
    wait_until("enough requests", LIMIT, || (crowd.asked() >= REQUESTS).then_some(()));
    let tally = crowd.end()?;
    let cut = uploads.end()?;
    let work = format!("{REDEPLOYS} redeploys of two services, {UPLOADS} uploads open");
    Ok(vec![row("redeploy", work, &tally, &cut)?])
}

pub(super) fn upgrade(_rounds: usize) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (own, other) = (folder.path().join("shipway"), folder.path().join("other"));
    fs::copy(binary(), &own).context("cannot copy the binary")?;
    fs::copy(binary(), &other)?;
    // What follows a program's end is not looked at: another file that does the same.
    fs::File::options().append(true).open(&other)?.write_all(b"other")?;
    let versions = [other, folder.path().join("same")];
    fs::copy(binary(), &versions[1])?;
    let field = Field::of(&own)?;
    let address = field.platform.address();
    field.deploy("page", "<p>0</p>", "--static")?;
    field.deploy_with("counter", COUNTER, &LASTING)?;
    let calm = visits(Crowd::start(address, "page.localhost", VISITORS), CALM)?;
    let uploads = Uploads::start(address, "counter.localhost", UPLOADS);
    let crowd = Crowd::start(address, "page.localhost", VISITORS);
    for n in 0..UPGRADES {
        change_version(&field, &versions[n % 2])?;
    }
    let tally = crowd.end()?;
    let cut = uploads.end()?;
    let added = tally.percentile(99) - calm.percentile(99);
    let work = format!("{UPGRADES} upgrades and downgrades, {UPLOADS} uploads open");
    let latency = Row {
        bench: "upgrade",
        work: "p99 of visits meanwhile".to_owned(),
        peer: format!("nothing changes: {:.1} ms", calm.percentile(99)),
        ours: format!("{:.1} ms", tally.percentile(99)),
        ratio: None,
        bar: format!("+ {ADDED_P99_MS} ms"),
        held: Some(added < ADDED_P99_MS),
    };
    Ok(vec![row("upgrade", work, &tally, &cut)?, latency])
}

fn visits(crowd: Crowd, count: u64) -> anyhow::Result<Tally> {
    wait_until("enough requests", LIMIT, || (crowd.asked() >= count).then_some(()));
    let tally = crowd.end()?;
    assert_some(&tally)?;
    Ok(tally)
}

fn change_version(field: &Field, to: &Path) -> anyhow::Result<()> {
    let set = |key: &str, path: PathBuf| format!("{key}={}", path.display());
    let state = set("state_dir", field.platform.state_dir());
    let run = set("run_dir", field.platform.run_dir());
    let output = field.platform.cli(&["upgrade", "--to", &to.to_string_lossy(), "--set", &state, "--set", &run])?;
    ensure!(output.code == 0, "cannot upgrade: {}", output.stderr);
    Ok(())
}

/// Nobody failed and nothing was cut, or it is missed.
fn row(bench: &'static str, work: String, tally: &Tally, cut: &[String]) -> anyhow::Result<Row> {
    assert_some(tally)?;
    let failures = tally.failures.len();
    for reason in tally.failures.iter().chain(cut).take(3) {
        crate::sh::say(&format!("{bench}: {reason}"));
    }
    Ok(Row {
        bench,
        work: format!("{work}, {} visits", tally.times.len() + failures),
        peer: "-".to_owned(),
        ours: format!("{failures} failed, {} cut", cut.len()),
        ratio: None,
        bar: "0 failed, 0 cut".to_owned(),
        held: Some(failures == 0 && cut.is_empty()),
    })
}

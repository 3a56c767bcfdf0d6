//! `queue`: how soon a task is picked up, how soon it is taken from a worker that was killed,
//! and how many are claimed and finished a second, against the same statements sent by a
//! program that does nothing else.
//!
//! What is measured is the example `measure_queue` of `shipway-store`, on databases whose
//! disk is waited for as in earnest. The statements are not written down here: the example
//! says what the store sends.

mod pgbench;
mod script;
mod sqlite;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use shipway_testkit::{Postgres, Stop};

use super::row::{Row, median};
use crate::sh;
use script::Script;

const PICKUP_P50_MS: f64 = 10.0;
const PICKUP_P99_MS: f64 = 50.0;
const LEASE_MS: f64 = 2000.0;
/// What a reclaim may take beside the lease.
const RECLAIM_ADDED_MS: f64 = 2000.0;
const RATIO: f64 = 0.7;

/// Tasks in the queue when a comparison begins; more than any side gets through.
const TASKS: &str = "40000";
/// How long each side runs.
const SECONDS: &str = "3";
/// A process of Shipway's has four connections that write; more clients are more processes.
const LOOPS_OF_PROCESS: usize = 4;
const CLIENTS: [usize; 3] = [1, 4, 16];

pub(super) fn queue(rounds: usize) -> anyhow::Result<Vec<Row>> {
    let built = sqlite::build()?;
    let (server, folder) = (server()?, tempfile::tempdir()?);
    let mut rows = Vec::new();
    let file = folder.path().join("latency");
    let database = server.url(&server.create(None)?);
    for (name, place) in [("SQLite", file.display().to_string()), ("PostgreSQL", database)] {
        rows.push(pickup(&built.measure, name, &place, rounds)?);
        rows.push(reclaim(&built.measure, name, &place, rounds)?);
    }
    let peer = built.peer(folder.path())?;
    rows.push(sqlite::turns(&built.measure, &peer, folder.path(), rounds)?);
    rows.extend(postgres_turns(&built.measure, &server, folder.path(), rounds)?);
    Ok(rows)
}

/// A server that, unlike those of the tests, waits for its disk.
fn server() -> anyhow::Result<Postgres> {
    let server = Postgres::start().context("PostgreSQL is needed: scripts/setup.sh test")?;
    for setting in ["fsync", "full_page_writes"] {
        server.query("postgres", &format!("ALTER SYSTEM SET {setting} = on"))?;
    }
    server.stop(Stop::Fast)?;
    server.resume()?;
    Ok(server)
}

fn pickup(measure: &Path, name: &str, place: &str, rounds: usize) -> anyhow::Result<Row> {
    let count = rounds * 40;
    let times = times(&said(measure, &["pickup", place, &count.to_string()])?)?;
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    let whose = if name == "SQLite" { "a sleeping worker" } else { "a sleeping worker of another process" };
    Ok(Row {
        bench: "queue",
        work: format!("{name}: asked to {whose}'s having it, {count} times"),
        peer: "-".to_owned(),
        ours: format!("p50 {p50:.1} ms, p99 {p99:.1} ms"),
        ratio: None,
        bar: format!("≤ {PICKUP_P50_MS}, ≤ {PICKUP_P99_MS} ms"),
        held: Some(p50 <= PICKUP_P50_MS && p99 <= PICKUP_P99_MS),
    })
}

fn reclaim(measure: &Path, name: &str, place: &str, rounds: usize) -> anyhow::Result<Row> {
    let times = times(&said(measure, &["reclaim", place, &rounds.to_string(), &LEASE_MS.to_string()])?)?;
    let (middle, worst) = (percentile(&times, 50), percentile(&times, 100));
    let limit = LEASE_MS + RECLAIM_ADDED_MS;
    Ok(Row {
        bench: "queue",
        work: format!("{name}: kill -9 to another's having it, lease {LEASE_MS} ms, {rounds} times"),
        peer: "-".to_owned(),
        ours: format!("p50 {middle:.0} ms, worst {worst:.0} ms"),
        ratio: None,
        bar: format!("≤ {limit} ms"),
        held: Some(worst <= limit),
    })
}

fn postgres_turns(measure: &Path, server: &Postgres, folder: &Path, rounds: usize) -> anyhow::Result<Vec<Row>> {
    let full = server.create(None)?;
    said(measure, &["fill", &server.url(&full), TASKS, "1"])?;
    server.disconnect(&full)?;
    let fresh = || -> anyhow::Result<String> {
        let database = server.create(Some(&full))?;
        server.query(&database, "CHECKPOINT")?;
        Ok(database)
    };
    let database = fresh()?;
    let script = Script::of(&said(measure, &["statements", &server.url(&database)])?)?;
    let file = folder.join("script.sql");
    shipway_stdx::fs::write_atomic(
        &file,
        pgbench::text(&script).as_bytes(),
        0o644,
        shipway_stdx::fs::Durability::Process,
    )?;
    let options = pgbench::options(&script);
    server.remove(&database)?;
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let mut measured = Vec::new();
        for _ in 0..rounds {
            let (theirs, ours) = (fresh()?, fresh()?);
            measured.push((
                pgbench::run(&server.url(&theirs), &options, &file, clients, SECONDS)?,
                our_turns(measure, &server.url(&ours), clients)?,
            ));
            server.remove(&theirs)?;
            server.remove(&ours)?;
        }
        rows.push(compared(&format!("PostgreSQL, {clients} clients"), "pgbench", measured));
    }
    Ok(rows)
}

/// Turns a second of Shipway's, by as many processes as that many clients need.
fn our_turns(measure: &Path, place: &str, clients: usize) -> anyhow::Result<f64> {
    let loops = clients.min(LOOPS_OF_PROCESS).to_string();
    let start = || -> anyhow::Result<_> {
        Ok(Command::new(measure).args(["turns", place, &loops, SECONDS]).stdout(Stdio::piped()).spawn()?)
    };
    let running = (0..clients.div_ceil(LOOPS_OF_PROCESS)).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    let mut all = 0.0;
    for one in running {
        let output = one.wait_with_output()?;
        ensure!(output.status.success(), "measure_queue turns ended with {}", output.status);
        all += rate(&serde_json::from_slice(&output.stdout)?)?;
    }
    Ok(all)
}

fn rate(said: &Value) -> anyhow::Result<f64> {
    let number = |key: &str| said[key].as_f64().with_context(|| format!("no {key} in {said}"));
    Ok(number("turns")? / number("seconds")?)
}

/// A row of the peer's and our turns a second, round by round.
fn compared(what: &str, peer: &str, measured: Vec<(f64, f64)>) -> Row {
    let ratio = median(measured.iter().map(|(theirs, ours)| ours / theirs).collect());
    let (theirs, ours): (Vec<f64>, Vec<f64>) = measured.into_iter().unzip();
    Row {
        bench: "queue",
        work: format!("{what}: claim and fenced finish, a second"),
        peer: format!("{peer}: {:.0}", median(theirs)),
        ours: format!("{:.0}", median(ours)),
        ratio: Some(ratio),
        bar: format!("≥ {RATIO} ×"),
        held: Some(ratio >= RATIO),
    }
}

/// What a role of the example printed.
fn said(measure: &Path, words: &[&str]) -> anyhow::Result<Value> {
    let text = sh::read(&measure.to_string_lossy(), words)?;
    serde_json::from_str(&text).with_context(|| format!("{words:?} printed {text}"))
}

fn times(said: &Value) -> anyhow::Result<Vec<f64>> {
    let mut times: Vec<f64> = serde_json::from_value(said.clone()).context("no list of times")?;
    ensure!(!times.is_empty(), "nothing was measured");
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Of sorted values: the smallest that so many of a hundred do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}

/// The programs of a comparison on SQLite.
struct Built {
    measure: PathBuf,
    /// The library that is linked into it, and the folder of its header.
    library: PathBuf,
    include: PathBuf,
}

#[cfg(test)]
mod tests;

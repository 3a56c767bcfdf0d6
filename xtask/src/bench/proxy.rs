//! `proxy`: the same origin behind Shipway's proxy and behind nginx, each on one
//! core; the load and the origin have the other.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shipway_testkit::wait_until;

use super::row::{Row, median};
use super::work::{Field, Nginx, load, pin};
use crate::sh::say;

const SECONDS: u32 = 3;
/// The fast path's bars: at few connections, at many, and for a second of processor.
const BAR_FEW: f64 = 1.0;
const BAR_MANY: f64 = 1.1;
const BAR_CPU: f64 = 1.15;
/// What `/proc` counts processor time in, a second: the same on all of Linux's
/// usual platforms (`proc_pid_stat(5)`).
const TICKS: f64 = 100.0;
/// Where the proxy runs, and nginx.
const PROXY_CPU: u32 = 0;
/// Where the load and the origin run.
const OTHER_CPU: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn proxy(rounds: usize) -> anyhow::Result<Vec<Row>> {
    let field = Field::new()?;
    one_thread(&field)?;
    // What is started from here on, every service's runner, inherits it.
    for pid in descendants(field.platform.pid()) {
        pin(pid, OTHER_CPU)?;
    }
    pin(proxy_pid(&field)?, PROXY_CPU)?;
    let mut rows = Vec::new();
    for (name, size) in [("b95", 95), ("k16", 16 << 10), ("m1", 1 << 20)] {
        field.deploy(name, &"x".repeat(size), "--static")?;
        for connections in [64, 512] {
            let point = Point { name, size, connections };
            rows.extend(compare(&field, point, rounds).unwrap_or_else(|error| failed(point, &error)));
        }
    }
    Ok(rows)
}

/// Makes the proxy start over where it sees one processor: it serves with a thread for
/// each it sees, and two on one would only be in each other's way. nginx has one
/// worker, too.
fn one_thread(field: &Field) -> anyhow::Result<()> {
    for pid in descendants(field.platform.pid()) {
        pin(pid, PROXY_CPU)?;
    }
    let before = proxy_pid(field)?;
    let status = Command::new("kill").args(["-KILL", &before.to_string()]).status()?;
    ensure!(status.success(), "cannot end the proxy");
    wait_until("the proxy is back", PATIENCE, || proxy_pid(field).ok().filter(|now| *now != before));
    Ok(())
}

/// One point: what was asked for, by how many.
#[derive(Debug, Clone, Copy)]
struct Point<'a> {
    name: &'a str,
    size: usize,
    connections: usize,
}

/// What one side did in the rounds: requests a second, and a second of its processor.
#[derive(Debug, Default)]
struct Rates {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Rates {
    /// Loads `address` once, served by the process `pid`.
    fn measure(&mut self, pid: u32, address: SocketAddr, point: Point<'_>) -> anyhow::Result<()> {
        let host = format!("{}.localhost", point.name);
        let before = cpu_seconds(pid)?;
        let rate = load(address, &host, point.connections, SECONDS, Some(OTHER_CPU))?;
        let used = cpu_seconds(pid)? - before;
        self.wall.push(rate);
        self.cpu.push(rate * f64::from(SECONDS) / used);
        Ok(())
    }
}

fn compare(field: &Field, point: Point<'_>, rounds: usize) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let nginx = nginx(folder.path(), &origin(field, point.name))?;
    let worker = nginx.worker().context("nginx has a worker")?;
    pin(worker, PROXY_CPU)?;
    let proxy = proxy_pid(field)?;
    let (mut theirs, mut ours) = (Rates::default(), Rates::default());
    for _ in 0..rounds {
        theirs.measure(worker, nginx.address, point).with_context(|| last_words(folder.path()))?;
        ours.measure(proxy, field.platform.address(), point).context("shipway")?;
    }
    Ok(vec![
        row(point, "requests/s", bar(point), &theirs.wall, &ours.wall),
        row(point, "requests/CPU s", BAR_CPU, &theirs.cpu, &ours.cpu),
    ])
}

/// nginx in front of the same origin. Bodies go straight through, as ours do: with
/// its usual buffers a large answer is first written to a file on the disk.
fn nginx(folder: &Path, origin: &Path) -> anyhow::Result<Nginx> {
    let http = format!("upstream origin {{ server unix:{}; keepalive 512; }}", origin.display());
    let server = "location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ''; \
                  proxy_set_header Host $host; proxy_max_temp_file_size 0; }";
    Nginx::start(folder, &http, server)
}

/// What nginx wrote down last, when it answered badly.
fn last_words(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
    format!("nginx, whose log ends with {:?}", log.lines().last().unwrap_or_default())
}

/// With the fast path, by connections.
const fn bar(point: Point<'_>) -> f64 {
    if point.connections > 64 { BAR_MANY } else { BAR_FEW }
}

fn row(point: Point<'_>, unit: &str, bar: f64, theirs: &[f64], ours: &[f64]) -> Row {
    let ratio = median(theirs.iter().zip(ours).map(|(theirs, ours)| ours / theirs).collect());
    Row {
        bench: "proxy",
        work: work(point, unit),
        peer: format!("nginx: {:.0}", median(theirs.to_vec())),
        ours: format!("{:.0}", median(ours.to_vec())),
        ratio: Some(ratio),
        bar: format!("≥ {bar} ×"),
        held: Some(ratio >= bar),
    }
}

fn work(point: Point<'_>, unit: &str) -> String {
    format!("{} bytes, {} connections, {unit}", point.size, point.connections)
}

/// A point where not every request was answered well holds no bar, and does not
/// take the other points with it.
fn failed(point: Point<'_>, error: &anyhow::Error) -> Vec<Row> {
    say(&format!("{}: {error:#}", work(point, "requests/s")));
    let row = |unit, bar| Row {
        bench: "proxy",
        work: work(point, unit),
        peer: "-".to_owned(),
        ours: "not measured".to_owned(),
        ratio: None,
        bar: format!("≥ {bar} ×"),
        held: Some(false),
    };
    vec![row("requests/s", bar(point)), row("requests/CPU s", BAR_CPU)]
}

/// Processor time a process has used, in seconds, all its threads together.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before them may have spaces, but ends with the last bracket.
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let times: Vec<f64> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    ensure!(times.len() == 2, "no times in {stat:?}");
    Ok(times.iter().sum::<f64>() / TICKS)
}

/// The listening socket of the service's runner: root may connect too. The proxy
/// writes its routes down a moment after it has them.
fn origin(field: &Field, name: &str) -> PathBuf {
    let file = field.platform.run_dir().join("routes/routes.json");
    wait_until("the proxy writes the route down", PATIENCE, || {
        let routes = fs::read_to_string(&file).ok()?;
        // One JSON object a line; the first and the last are no routes.
        let mut rows = routes.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let row = rows.find(|row| row["name"] == name)?;
        row["state"]["endpoint"]["path"].as_str().map(PathBuf::from)
    })
}

fn proxy_pid(field: &Field) -> anyhow::Result<u32> {
    let wanted = format!("proxy --run-dir {}", field.platform.run_dir().display());
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let command = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut ours = pids.filter(|pid| String::from_utf8_lossy(&command(pid)).replace('\0', " ").contains(&wanted));
    ours.next().context("the proxy runs")
}

/// A process and all below it.
fn descendants(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> =
        children.flat_map(|text| text.split_whitespace().flat_map(str::parse).collect::<Vec<_>>()).collect();
    std::iter::once(pid).chain(children.into_iter().flat_map(descendants)).collect()
}

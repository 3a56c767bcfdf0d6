//! `proxy`: the same origin behind Shipway's proxy and behind nginx, each on one
//! core; the load and the origin have the other.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use shipway_testkit::wait_until;

use super::row::{Row, median};
use super::work::{Field, Nginx, load, pin};
use crate::sh::say;

const SECONDS: u32 = 3;
/// The general path's bar; the hand-written one comes later.
const BAR: f64 = 0.85;
/// Where the proxy runs, and nginx.
const PROXY_CPU: u32 = 0;
/// Where the load and the origin run.
const OTHER_CPU: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn proxy(rounds: usize) -> anyhow::Result<Vec<Row>> {
    let field = Field::new()?;
    // What is started from here on, every service's runner, inherits it.
    for pid in descendants(field.platform.pid()) {
        pin(pid, OTHER_CPU)?;
    }
    pin(proxy_pid(&field)?, PROXY_CPU)?;
    let mut rows = Vec::new();
    for (name, size) in [("b95", 95), ("k16", 16 << 10), ("m1", 1 << 20)] {
        field.deploy(name, &"x".repeat(size), "--static")?;
        for connections in [64, 512] {
            let measured = compare(&field, name, size, connections, rounds);
            rows.push(measured.unwrap_or_else(|error| failed(size, connections, &error)));
        }
    }
    Ok(rows)
}

fn compare(field: &Field, name: &str, size: usize, connections: usize, rounds: usize) -> anyhow::Result<Row> {
    let folder = tempfile::tempdir()?;
    let origin = origin(field, name);
    let http = format!("upstream origin {{ server unix:{}; keepalive 512; }}", origin.display());
    let server = "location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; }";
    let nginx = Nginx::start(folder.path(), &http, server)?;
    pin(nginx.worker().context("nginx has a worker")?, PROXY_CPU)?;
    let host = format!("{name}.localhost");
    let (mut theirs, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let their_rate = load(nginx.address, &host, connections, SECONDS, Some(OTHER_CPU)).context("nginx")?;
        let our_rate =
            load(field.platform.address(), &host, connections, SECONDS, Some(OTHER_CPU)).context("shipway")?;
        theirs.push(their_rate);
        ours.push(our_rate);
        ratios.push(our_rate / their_rate);
    }
    let ratio = median(ratios);
    Ok(Row {
        bench: "proxy",
        work: format!("{size} bytes, {connections} connections, requests/s"),
        peer: format!("nginx: {:.0}", median(theirs)),
        ours: format!("{:.0}", median(ours)),
        ratio: Some(ratio),
        bar: format!("≥ {BAR} ×"),
        held: Some(ratio >= BAR),
    })
}

/// A point where not every request was answered well holds no bar, and does not
/// take the other points with it.
fn failed(size: usize, connections: usize, error: &anyhow::Error) -> Row {
    say(&format!("{size} bytes, {connections} connections: {error:#}"));
    Row {
        bench: "proxy",
        work: format!("{size} bytes, {connections} connections, requests/s"),
        peer: "-".to_owned(),
        ours: "not measured".to_owned(),
        ratio: None,
        bar: format!("≥ {BAR} ×"),
        held: Some(false),
    }
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

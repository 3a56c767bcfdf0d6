//! A thousand who ask for one build at once: it is made once, all are given the same bytes, and
//! the server's memory stays within what so many transfers need.

use std::fs;
use std::io::Write as _;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use shipway_testkit::http;

use super::super::row::Row;
use super::VERSION;
use super::farm::{Farm, arch};

const CLIENTS: usize = 1000;

/// Each reads so much of the binary: all of it, a thousand times, would measure memory copies.
const PART_BYTES: u64 = 1 << 20;

/// More than a chunk that is verified and one that is on its way, for each client.
const BAR_MIB: u64 = 2 * CLIENTS as u64;

/// What a client got: the digest that names the binary, and a part of it.
type Got = (String, Vec<u8>);

pub(super) fn thousand(farm: &Farm, plugin: &str) -> anyhow::Result<Row> {
    let path = format!("/api/download?os=linux&arch={}&version={VERSION}&p={plugin}", arch());
    let before = builds(farm)?;
    let resting = resident(farm, "VmRSS:")?;
    // The peak from here on.
    forget_peak(farm.platform.pid())?;
    let begun = Instant::now();
    let (same, wrong) = ask_all(farm, &path);
    let took = begun.elapsed();
    ensure!(wrong.is_empty(), "{} of {CLIENTS} were not served: {:?}", wrong.len(), wrong.first());
    let made = builds(farm)? - before;
    let grown = resident(farm, "VmHWM:")?.saturating_sub(resting) >> 20;
    let held = made == 1 && same && grown <= BAR_MIB;
    Ok(Row {
        bench: "gobuild",
        work: format!("{CLIENTS} clients ask for one build at once"),
        peer: "-".to_owned(),
        ours: format!(
            "{made} build, {}, {:.1} s, + {grown} MiB",
            if same { "the same bytes" } else { "DIFFERENT BYTES" },
            took.as_secs_f64()
        ),
        ratio: None,
        bar: format!("1; the same; ≤ {BAR_MIB} MiB"),
        held: Some(held),
    })
}

/// Whether all got the same, and who got nothing.
fn ask_all(farm: &Farm, path: &str) -> (bool, Vec<String>) {
    let (got, wrong): (Mutex<Vec<Got>>, Mutex<Vec<String>>) = (Mutex::default(), Mutex::default());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let client = thread::Builder::new().stack_size(128 << 10);
            let spawned = client.spawn_scoped(scope, || match ask(farm, path) {
                Ok(answer) => keep(&got, answer),
                Err(error) => lock(&wrong).push(format!("{error:#}")),
            });
            if let Err(error) = spawned {
                lock(&wrong).push(error.to_string());
            }
        }
    });
    let same = lock(&got).len() == 1;
    let wrong = std::mem::take(&mut *lock(&wrong));
    (same, wrong)
}

/// One of each kind is kept.
fn keep(got: &Mutex<Vec<Got>>, answer: Got) {
    let mut got = lock(got);
    if !got.contains(&answer) {
        got.push(answer);
    }
}

fn ask(farm: &Farm, path: &str) -> anyhow::Result<Got> {
    let range = format!("bytes=0-{}", PART_BYTES - 1);
    let answer = http::request(farm.platform.address(), "GET", "localhost", path, &[("range", &range)], b"")?;
    ensure!(answer.status == 206, "{}: {}", answer.status, answer.text().chars().take(300).collect::<String>());
    Ok((answer.header("etag").context("no ETag")?.to_owned(), answer.body))
}

fn builds(farm: &Farm) -> anyhow::Result<usize> {
    let page = farm.get("/v1/builds?limit=100")?;
    Ok(page["items"].as_array().context("a page of builds")?.len())
}

/// Has the kernel count the peak of a process anew.
fn forget_peak(pid: u32) -> anyhow::Result<()> {
    let mut file = fs::File::options().write(true).open(format!("/proc/{pid}/clear_refs"))?;
    Ok(file.write_all(b"5")?)
}

/// Of `serve`, in bytes.
fn resident(farm: &Farm, field: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", farm.platform.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such line")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

fn lock<T>(kept: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

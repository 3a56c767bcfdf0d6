//! How soon a worker has a task: one that sleeps, when somebody asks for a change; another
//! one, when the first is killed.

use std::io::{self, BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shipway_model::Outcome;
use tokio::sync::mpsc;

use crate::{fill, is_postgres, open, worker};

/// Nothing is looked at before the worker has slept this long, so that it is its waking
/// that is measured.
const ASLEEP: Duration = Duration::from_millis(20);

/// This program in another role; killed when it is dropped.
struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(words: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).args(words).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        Ok(Self { child, lines: BufReader::new(out).lines() })
    }

    /// Waits until it says this.
    fn hear(&mut self, word: &str) -> io::Result<()> {
        for line in self.lines.by_ref() {
            if line?.trim_matches('"') == word {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("it ended before it said {word}")))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// From the call that asks for a change to a sleeping worker's having it, in milliseconds:
/// in another process on PostgreSQL, in this one on SQLite.
pub(crate) async fn pickup(place: &str, rounds: u64) -> io::Result<Value> {
    let times = if is_postgres(place) { across(place, rounds).await? } else { within(place, rounds).await? };
    Ok(json!(times))
}

async fn across(place: &str, rounds: u64) -> io::Result<Vec<f64>> {
    let store = open(place).await?;
    let mut sleeper = Other::start(&["sleeper", place])?;
    let mut times = Vec::new();
    for round in 0..rounds {
        sleeper.hear("asleep")?;
        tokio::time::sleep(ASLEEP).await;
        let request = fill::request(&format!("pickup-{round}"))?;
        let begun = Instant::now();
        let asked = tokio::spawn({
            let store = store.clone();
            async move { store.request(request).await }
        });
        // Reading the pipe blocks this thread; the other one asks.
        tokio::task::block_in_place(|| sleeper.hear("taken"))?;
        times.push(millis(begun));
        asked.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    Ok(times)
}

async fn within(place: &str, rounds: u64) -> io::Result<Vec<f64>> {
    let store = open(place).await?;
    let (say, mut hear) = mpsc::unbounded_channel();
    let sleeper = tokio::spawn({
        let store = store.clone();
        async move {
            loop {
                let asleep = || say.send("asleep").unwrap_or_default();
                let Ok(lease) = worker::take(&store, "sleeper", Duration::from_secs(20), asleep).await else { return };
                say.send("taken").unwrap_or_default();
                drop(store.finish(&lease, &Outcome::Done { release: None, changed: true }).await);
            }
        }
    });
    let mut times = Vec::new();
    for round in 0..rounds {
        while hear.recv().await.ok_or_else(|| io::Error::other("the worker ended"))? != "asleep" {}
        tokio::time::sleep(ASLEEP).await;
        let request = fill::request(&format!("pickup-{round}"))?;
        let begun = Instant::now();
        store.request(request).await.map_err(io::Error::other)?;
        while hear.recv().await.ok_or_else(|| io::Error::other("the worker ended"))? != "taken" {}
        times.push(millis(begun));
    }
    sleeper.abort();
    Ok(times)
}

/// From `kill -9` of a worker that holds a task to another one's having it, in
/// milliseconds. The other looks for lost tasks as often as a worker does.
pub(crate) async fn reclaim(place: &str, rounds: u64, lease_ms: u64) -> io::Result<Value> {
    let (store, heartbeat) = (open(place).await?, Duration::from_millis(lease_ms));
    let rescue = tokio::spawn(worker::rescue_for_ever(store.clone(), heartbeat));
    let mut times = Vec::new();
    for round in 0..rounds {
        let mut holder = Other::start(&["holder", place, &lease_ms.to_string()])?;
        let asked = store.request(fill::request(&format!("reclaim-{round}"))?).await.map_err(io::Error::other)?;
        tokio::task::block_in_place(|| holder.hear("taken"))?;
        let begun = Instant::now();
        drop(holder);
        let lease = worker::take(&store, "next", heartbeat, || ()).await.map_err(io::Error::other)?;
        times.push(millis(begun));
        if (lease.task.id, lease.task.attempt) != (asked.task, 2) {
            return Err(io::Error::other("it is not the task that was held"));
        }
        store.finish(&lease, &Outcome::Done { release: None, changed: true }).await.map_err(io::Error::other)?;
    }
    rescue.abort();
    Ok(json!(times))
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

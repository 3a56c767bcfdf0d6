//! Measures the queue for `cargo xtask bench queue`, which knows what to do with the
//! figures: each role prints one JSON value and ends.
//!
//! ```text
//! measure_queue fill PLACE TASKS PROJECTS     a new database full of queued tasks
//! measure_queue statements PLACE              what a claim and a finish send
//! measure_queue turns PLACE LOOPS SECONDS     claims and finishes, by so many loops
//! measure_queue pickup PLACE ROUNDS           from asking to a sleeping worker's having it
//! measure_queue reclaim PLACE ROUNDS LEASE_MS from kill -9 to another worker's having it
//! ```
//!
//! `PLACE` is a file, or a URL of PostgreSQL.

mod fill;
mod latency;
mod turns;
mod worker;

use std::io::{self, Write as _};
use std::path::Path;

use serde_json::Value;
use shipway_store::{Claimant, Migrate, Store};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = match words[..] {
        ["fill", place, tasks, projects] => fill::fill(place, number(tasks)?, number(projects)?).await?,
        ["statements", place] => turns::statements(place).await?,
        ["turns", place, loops, seconds] => turns::turns(place, number(loops)?, number(seconds)?).await?,
        ["pickup", place, rounds] => latency::pickup(place, number(rounds)?).await?,
        ["reclaim", place, rounds, lease] => latency::reclaim(place, number(rounds)?, number(lease)?).await?,
        // The other processes of the last two.
        ["sleeper", place] => return worker::sleep_and_take(place).await,
        ["holder", place, lease] => return worker::hold(place, number(lease)?).await,
        _ => return Err(io::Error::other("no such role: see the head of this file")),
    };
    say(&said)
}

/// One line, at once.
pub(crate) fn say(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn number(word: &str) -> io::Result<u64> {
    word.parse().map_err(|_| io::Error::other(format!("{word} is no number")))
}

pub(crate) fn is_postgres(place: &str) -> bool {
    place.starts_with("postgres")
}

pub(crate) async fn open(place: &str) -> io::Result<Store> {
    let opened = if is_postgres(place) {
        Store::connect(place, Migrate::Yes).await
    } else {
        Store::open(Path::new(place)).await
    };
    opened.map_err(io::Error::other)
}

/// A worker as the product has them: with an engine root.
pub(crate) fn claimant(worker: &str) -> Claimant {
    Claimant { engine: Some("engine-1".to_owned()), ..Claimant::named(worker) }
}

//! What a part did with its leases, line by line, as its worker believed.
//!
//! The worker says how each task left its hands in its log, under which token. That
//! record is kept here; the checker compares it with the database's own history: a write
//! that a worker believes in and the history does not know, or knows under another token,
//! was a stale one that was accepted.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A task left the worker's hands.
    Left(Left),
    /// So many stale writes were rejected in this process's life.
    Stale(u64),
}

/// A task that left a worker's hands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its id.
    pub task: String,
    /// Of its lease.
    pub token: i64,
    /// How: `Done`, `Failed`, `GivenBack` or `Lost`.
    pub how: String,
}

/// Begins to keep the journal; everything else worth knowing goes to standard error.
///
/// # Errors
///
/// The file cannot be made.
pub fn begin(path: &Path) -> io::Result<()> {
    let keeper = Keeper { file: append(path)? };
    let ends = Targets::new().with_target("shipway_worker::job", LevelFilter::DEBUG);
    let ends = ends.with_target("shipway_worker::build", LevelFilter::INFO);
    let told = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(io::stderr);
    tracing_subscriber::registry().with(keeper.with_filter(ends)).with(told.with_filter(LevelFilter::INFO)).init();
    Ok(())
}

/// Adds how many stale writes this process has had rejected.
///
/// # Errors
///
/// Any error of the file system.
pub fn say_stale(path: &Path, count: u64) -> io::Result<()> {
    write(&append(path)?, &Line::Stale(count))
}

/// Reads a journal; the last line of a killed process may be missing, never halved.
///
/// # Errors
///
/// Any error of the file system, and a line that is none.
pub fn read(path: &Path) -> io::Result<Vec<Line>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

fn write(mut file: &File, line: &Line) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

struct Keeper {
    file: File,
}

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut left = Left::default();
        event.record(&mut Fields(&mut left));
        if !left.how.is_empty() {
            // A journal that cannot be written says less; it never stops the worker.
            drop(write(&self.file, &Line::Left(left)));
        }
    }
}

struct Fields<'a>(&'a mut Left);

impl Visit for Fields<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "lease.token" {
            self.0.token = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "task.id" => self.0.task = format!("{value:?}"),
            "left" => self.0.how = format!("{value:?}"),
            _ => {}
        }
    }
}

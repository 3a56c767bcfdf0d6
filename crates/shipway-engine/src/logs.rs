//! Reading what containers wrote.
//!
//! A log is segments, `00000000.log`, `00000001.log`, … in the form of the
//! Kubernetes runtime interface, a record a line:
//!
//! ```text
//! 2026-11-22T10:00:00.123456789Z stdout F the text of the line
//! ```
//!
//! `P` instead of `F` marks a piece of a line that goes on in the next record. The
//! shim appends, begins a new segment by size and unlinks the oldest; readers never
//! write. A [`Cursor`] is the end of a record, so "after this one" is a place, and
//! reading on after a restart of everything neither skips nor repeats a record.
//!
//! Memory is bounded: a reader holds one chunk, whatever the log's length.

mod line;
mod reader;
mod watcher;

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::Phase;
use reader::Reader;
pub(crate) use watcher::Watcher;

/// A place in a log: the end of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Number of the segment.
    pub segment: u64,
    /// Byte after the record.
    pub offset: u64,
}

/// Which of the two outputs a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When the shim read it, microseconds since the epoch.
    pub at: i64,
    /// Where it came from.
    pub source: Source,
    /// Whether its line goes on in the next record.
    pub partial: bool,
    /// Its text; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Where it ends.
    pub cursor: Cursor,
}

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on when the end is reached, until the container ends.
    pub follow: bool,
    /// Only the last so many records of what is there.
    pub tail: Option<usize>,
    /// Only records of this time or later, microseconds since the epoch.
    pub since: Option<i64>,
    /// Only records after this one.
    pub after: Option<Cursor>,
}

/// Everything a reading goes on with.
struct Reading {
    reader: Reader,
    ready: VecDeque<LogLine>,
    since: i64,
    /// Wakes when the log grows; `None` when not following.
    grown: Option<watch::Receiver<u64>>,
    phase: watch::Receiver<Phase>,
}

/// Reads the log in `folder`.
pub(crate) async fn read(
    folder: &Path,
    query: LogQuery,
    watcher: &Watcher,
    phase: watch::Receiver<Phase>,
) -> io::Result<impl Stream<Item = io::Result<LogLine>> + Send + use<>> {
    // Watching begins before reading does, so that no growth goes unseen.
    let grown = match query.follow {
        true => Some(watcher.watch(folder)?),
        false => None,
    };
    let mut reader = Reader::new(folder, query.after);
    if let Some(records) = query.tail {
        reader = blocking(move || reader.skip_to_tail(records)).await?;
    }
    let reading = Reading { reader, ready: VecDeque::new(), since: query.since.unwrap_or(i64::MIN), grown, phase };
    Ok(stream::try_unfold(reading, |mut reading| async {
        let next = reading.next().await?;
        Ok(next.map(|line| (line, reading)))
    }))
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            // Looked at before reading: an end seen now is read up to.
            let ended = !self.goes_on();
            if let Some(grown) = &mut self.grown {
                grown.mark_unchanged();
            }
            if !self.fill().await? && (ended || !self.wait().await) {
                return Ok(None);
            }
        }
    }

    fn goes_on(&self) -> bool {
        self.grown.is_some() && self.phase.has_changed().is_ok() && !matches!(*self.phase.borrow(), Phase::Exited(_))
    }

    /// Reads a chunk; false at the end of what is there.
    async fn fill(&mut self) -> io::Result<bool> {
        let mut reader = std::mem::take(&mut self.reader);
        let (reader, lines) = blocking(move || {
            let lines = reader.read()?;
            Ok((reader, lines))
        })
        .await?;
        self.reader = reader;
        let Some(lines) = lines else {
            return Ok(false);
        };
        let since = self.since;
        self.ready.extend(lines.into_iter().filter(|line| line.at >= since));
        Ok(true)
    }

    /// Waits for the log to grow or the container to end; false when neither can
    /// come any more.
    async fn wait(&mut self) -> bool {
        let Some(grown) = &mut self.grown else {
            return false;
        };
        tokio::select! {
            changed = grown.changed() => changed.is_ok(),
            // Ended or removed: what is left is read once more.
            _ = self.phase.wait_for(|phase| matches!(phase, Phase::Exited(_))) => true,
        }
    }
}

/// Files are read where waiting for a disk stops nobody else.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;

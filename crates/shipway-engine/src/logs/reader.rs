//! Reading segments in order, while they grow, rotate and go.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Cursor, LogLine, line};

/// Read at once. Larger costs memory per reader, smaller system calls.
const CHUNK_BYTES: usize = 64 * 1024;
/// Longest record. The shim cuts lines far below; more is damage, and passed over.
const RECORD_BYTES_MAX: usize = 256 * 1024;

/// A place in a log and what has been read from there.
#[derive(Debug, Default)]
pub(super) struct Reader {
    folder: PathBuf,
    /// Where `pending` begins.
    at: Option<Cursor>,
    file: Option<File>,
    /// Read, but not a whole record yet.
    pending: Vec<u8>,
    /// A later segment exists, so this one does not grow any more.
    is_last_look: bool,
}

impl Reader {
    /// Begins after `after`, or at the oldest record there is.
    pub(super) fn new(folder: &Path, after: Option<Cursor>) -> Self {
        Self { folder: folder.to_owned(), at: after, ..Self::default() }
    }

    /// Moves on to the last `records` records of what is there.
    pub(super) fn skip_to_tail(mut self, records: usize) -> io::Result<Self> {
        let mut left = records;
        let mut start = None;
        for segment in self.segments()?.into_iter().rev() {
            let Some(file) = self.open(segment)? else {
                break;
            };
            let (offset, found) = tail_of(&file, left)?;
            start = Some(Cursor { segment, offset });
            left -= found;
            if left == 0 {
                break;
            }
        }
        // `max`: whoever has read past the tail is not sent back.
        self.at = self.at.max(start);
        Ok(self)
    }

    /// Reads on; `None` when all that is there has been read. May be empty when a
    /// chunk ended within a record.
    pub(super) fn read(&mut self) -> io::Result<Option<Vec<LogLine>>> {
        loop {
            if self.file.is_none() && !self.open_here()? {
                return Ok(None);
            }
            let Some(file) = &mut self.file else {
                return Ok(None);
            };
            let before = self.pending.len();
            self.pending.resize(before + CHUNK_BYTES, 0);
            let read = file.read(&mut self.pending[before..]);
            let read = read.inspect_err(|_| self.pending.truncate(before))?;
            self.pending.truncate(before + read);
            if read > 0 {
                return Ok(Some(self.take_records()));
            }
            if !self.move_on()? {
                return Ok(None);
            }
        }
    }

    /// Opens the segment of `at`, or the oldest one after it; false when there is none.
    fn open_here(&mut self) -> io::Result<bool> {
        let segments = self.segments()?;
        let (segment, offset) = match self.at {
            None => (segments.first().copied(), 0),
            Some(at) if segments.contains(&at.segment) => (Some(at.segment), at.offset),
            // Its segment has been dropped: what is left begins later.
            Some(at) => (segments.into_iter().find(|s| *s > at.segment), 0),
        };
        let Some(segment) = segment else {
            return Ok(false);
        };
        // It may be dropped between the listing and here: the caller looks again.
        let Some(mut file) = self.open(segment)? else {
            return Ok(false);
        };
        file.seek(SeekFrom::Start(offset))?;
        self.at = Some(Cursor { segment, offset });
        self.file = Some(file);
        self.pending.clear();
        self.is_last_look = false;
        Ok(true)
    }

    /// At the end of a segment: goes to the next if there is one. The end is read
    /// twice, because the last records may have come between the end and our look
    /// for a next segment. What is left of half a record then will never be whole.
    fn move_on(&mut self) -> io::Result<bool> {
        let Some(at) = self.at else {
            return Ok(false);
        };
        let Some(next) = self.segments()?.into_iter().find(|s| *s > at.segment) else {
            return Ok(false);
        };
        if self.is_last_look {
            self.file = None;
            self.at = Some(Cursor { segment: next, offset: 0 });
        }
        self.is_last_look = true;
        Ok(true)
    }

    /// Takes the whole records out of `pending`.
    fn take_records(&mut self) -> Vec<LogLine> {
        let Some(at) = &mut self.at else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        let mut taken = 0;
        while let Some(length) = self.pending[taken..].iter().position(|b| *b == b'\n') {
            let record = &self.pending[taken..taken + length];
            taken += length + 1;
            at.offset += length as u64 + 1;
            lines.extend(line::parse(record, *at));
        }
        self.pending.drain(..taken);
        if self.pending.len() > RECORD_BYTES_MAX {
            at.offset += self.pending.len() as u64;
            self.pending.clear();
        }
        lines
    }

    /// Lists the segments there are, rising.
    fn segments(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut segments: Vec<u64> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                name.to_str()?.strip_suffix(".log")?.parse().ok()
            })
            .collect();
        segments.sort_unstable();
        Ok(segments)
    }

    fn open(&self, segment: u64) -> io::Result<Option<File>> {
        match File::open(self.folder.join(format!("{segment:08}.log"))) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Finds where the last `records` records of a segment begin, and how many of them
/// it has. Reads backwards, a chunk at a time.
fn tail_of(file: &File, records: usize) -> io::Result<(u64, usize)> {
    let mut end = file.metadata()?.len();
    if records == 0 {
        return Ok((end, 0));
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut found = 0;
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        let part = &mut chunk[..usize::try_from(end - start).unwrap_or(CHUNK_BYTES)];
        file.read_exact_at(part, start)?;
        for (place, _) in part.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            // The line feed that ends a record also begins the one after it.
            if found == records {
                return Ok((start + place as u64 + 1, found));
            }
            found += 1;
        }
        end = start;
    }
    Ok((0, found))
}

//! A container's log: lines of time, stream, full or partial, and text, in segments.
//!
//! The form is that of the Kubernetes runtime interface:
//!
//! ```text
//! 2026-11-22T05:00:00.123456789Z stdout F listening on 8080
//! ```
//!
//! Segments are `00000000.log`, `00000001.log`, …: a new one begins when the next line
//! would not fit, and the oldest go. A restarted container goes on in the last one, so
//! that a reader's cursor (segment and offset) stays true.
//!
//! A log that cannot be written (disk full) never stops the container: lines are
//! dropped and counted, and the next one that can be written is preceded by a note.

mod line;

use alloc::format;
use alloc::string::String;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat, ftruncate, openat, unlinkat};
use rustix::io::{Errno, pread};
use shipway_shim::protocol::LogLimits;

use crate::failure::MayFail as _;
use crate::status::since_epoch;
use line::Records;
pub(crate) use line::{Lines, Name};

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    /// `None`: nowhere, and every line is lost.
    folder: Option<OwnedFd>,
    limits: LogLimits,
    segment: Option<Segment>,
    /// Lines lost since the last one that was written.
    dropped: u64,
}

/// The segment being written.
#[derive(Debug)]
struct Segment {
    number: u64,
    file: OwnedFd,
    size: u64,
}

impl Log {
    /// A log in `folder`. Nothing is touched before the first line.
    pub(crate) fn new(folder: Option<OwnedFd>, limits: LogLimits) -> Self {
        Self { folder, limits, segment: None, dropped: 0 }
    }

    /// Appends what `lines` makes of `chunk`, with the time of now.
    pub(crate) fn append(&mut self, lines: &mut Lines, chunk: &[u8]) {
        let mut records = Records::new(since_epoch());
        lines.take(chunk, &mut records);
        self.store(&records);
    }

    /// Appends what is left of a line when its stream has ended.
    pub(crate) fn finish(&mut self, lines: &mut Lines) {
        let mut records = Records::new(since_epoch());
        lines.finish(&mut records);
        self.store(&records);
    }

    /// Writes records in as few calls as segments allow.
    fn store(&mut self, records: &Records) {
        let (mut start, mut ends) = (0, records.ends.as_slice());
        while let Some(first) = ends.first() {
            let Ok(room) = self.room() else {
                self.dropped += ends.len() as u64;
                return;
            };
            let fits = |end: &&usize| ((**end - start) as u64) <= room.bytes;
            let count = match ends.iter().take_while(fits).count() {
                // Longer than a whole segment: one of its own.
                0 if room.is_whole => 1,
                0 => {
                    self.segment = self.segment.take().and_then(|full| self.next(full.number).ok());
                    continue;
                }
                count => count,
            };
            let end = *ends.get(count - 1).unwrap_or(first);
            let bytes = records.bytes.get(start..end).unwrap_or_default();
            self.write(bytes, count as u64);
            ends = ends.get(count..).unwrap_or_default();
            start = end;
        }
    }

    /// Writes whole records, after a note about those that were lost.
    fn write(&mut self, bytes: &[u8], count: u64) {
        if self.dropped > 0 {
            let note = format!("shipway: {} log lines lost, the disk refused them", self.dropped);
            let mut records = Records::new(since_epoch());
            records.add(Name::Errors, true, note.as_bytes());
            match self.put(&records.bytes) {
                Ok(()) => self.dropped = 0,
                Err(_) => self.dropped += count,
            }
        }
        if self.dropped == 0 && self.put(bytes).is_err() {
            self.dropped += count;
        }
    }

    /// Writes all of `bytes` or nothing.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let segment = self.segment.as_mut().ok_or(Errno::BADF)?;
        match crate::files::write_all(&segment.file, bytes) {
            Ok(()) => {
                segment.size += bytes.len() as u64;
                Ok(())
            }
            Err(errno) => {
                // Half a line would run into the next one.
                ftruncate(&segment.file, segment.size).may_fail();
                Err(errno)
            }
        }
    }

    /// What still fits into the current segment, which is opened if there is none.
    fn room(&mut self) -> Result<Room, Errno> {
        let segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.resume()?,
        };
        let room = Room { bytes: self.limits.segment_bytes.saturating_sub(segment.size), is_whole: segment.size == 0 };
        self.segment = Some(segment);
        Ok(room)
    }

    /// Opens the last segment there is, or the first.
    fn resume(&self) -> Result<Segment, Errno> {
        let mut last = None;
        for entry in Dir::read_from(self.folder()?)? {
            last = last.max(number(entry?.file_name().to_bytes()));
        }
        let number = last.unwrap_or(0);
        let mut segment = self.open(number)?;
        if segment.size > 0 && !ends_a_line(&segment)? {
            crate::files::write_all(&segment.file, b"\n")?;
            segment.size += 1;
        }
        Ok(segment)
    }

    /// Opens the segment after `number` and removes the one that is too old now.
    fn next(&self, number: u64) -> Result<Segment, Errno> {
        let next = self.open(number + 1)?;
        if let Some(oldest) = next.number.checked_sub(u64::from(self.limits.segments)) {
            // Gone already if the engine cleaned up.
            unlinkat(self.folder()?, file_name(oldest), AtFlags::empty()).may_fail();
        }
        Ok(next)
    }

    fn folder(&self) -> Result<&OwnedFd, Errno> {
        self.folder.as_ref().ok_or(Errno::BADF)
    }

    fn open(&self, number: u64) -> Result<Segment, Errno> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(self.folder()?, file_name(number), flags, Mode::RUSR | Mode::WUSR)?;
        let size = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
        Ok(Segment { number, file, size })
    }
}

/// What still fits into a segment.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    /// Whether nothing is in it yet.
    is_whole: bool,
}

fn ends_a_line(segment: &Segment) -> Result<bool, Errno> {
    let mut last = [0];
    pread(&segment.file, &mut last, segment.size - 1)?;
    Ok(last == *b"\n")
}

fn file_name(number: u64) -> String {
    format!("{number:08}.log")
}

fn number(name: &[u8]) -> Option<u64> {
    core::str::from_utf8(name).ok()?.strip_suffix(".log")?.parse().ok()
}

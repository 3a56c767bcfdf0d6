//! Cutting a stream into lines, and writing one line of the log.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest text of one line; a longer one goes on in further lines, all but the last
/// marked partial. A follower can rely on it.
pub(super) const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// stdout, or a terminal.
    Output,
    /// stderr.
    Errors,
}

/// One stream being cut into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    name: Name,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl Lines {
    /// Lines of the named stream.
    pub(crate) fn new(name: Name) -> Self {
        Self { name, rest: Vec::new() }
    }

    /// Cuts `chunk` into records; what follows the last newline is kept.
    pub(super) fn take(&mut self, chunk: &[u8], records: &mut Records) {
        let mut pieces = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let ends_here = pieces.peek().is_some();
            self.add(piece, records);
            if ends_here {
                records.add(self.name, true, &self.rest);
                self.rest.clear();
            }
        }
        if self.rest.is_empty() {
            // A silent container holds no memory for lines.
            self.rest = Vec::new();
        }
    }

    fn add(&mut self, mut piece: &[u8], records: &mut Records) {
        while self.rest.len() + piece.len() > TEXT_BYTES_MAX {
            let (head, tail) = piece.split_at(TEXT_BYTES_MAX - self.rest.len());
            self.rest.extend_from_slice(head);
            records.add(self.name, false, &self.rest);
            self.rest.clear();
            piece = tail;
        }
        self.rest.extend_from_slice(piece);
    }

    /// The end of the stream: a line without an end is a line.
    pub(super) fn finish(&mut self, records: &mut Records) {
        if !self.rest.is_empty() {
            records.add(self.name, true, &self.rest);
            self.rest = Vec::new();
        }
    }
}

/// Lines of the log, one after the other.
#[derive(Debug)]
pub(super) struct Records {
    /// All of them.
    pub(super) bytes: Vec<u8>,
    /// Where each ends.
    pub(super) ends: Vec<usize>,
    /// The time of each.
    time: String,
}

impl Records {
    /// None yet; all will have happened at `since_epoch`.
    pub(super) fn new(since_epoch: (i64, u32)) -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), time: rfc3339(since_epoch) }
    }

    /// Adds one.
    pub(super) fn add(&mut self, name: Name, is_full: bool, text: &[u8]) {
        let stream: &[u8] = match name {
            Name::Output => b" stdout ",
            Name::Errors => b" stderr ",
        };
        let tag: &[u8] = if is_full { b"F " } else { b"P " };
        for part in [self.time.as_bytes(), stream, tag, text, b"\n"] {
            self.bytes.extend_from_slice(part);
        }
        self.ends.push(self.bytes.len());
    }
}

/// RFC 3339 in UTC with nanoseconds, by Howard Hinnant's civil-from-days.
pub(super) fn rfc3339((seconds, nanos): (i64, u32)) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

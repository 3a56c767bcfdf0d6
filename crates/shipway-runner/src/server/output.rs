//! What waits to be written to a client.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;

use crate::content::Segment;
use crate::http::range::Part;

/// A piece of a file up to this size is copied behind the head, so that one write
/// (and one wake-up of the reader) carries both; a larger one goes by `sendfile`.
const COPIED_MAX: u64 = 16 * 1024;

/// Most bytes written before others get their turn.
const TURN_BYTES: usize = 1 << 20;

/// How far writing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Everything is written.
    All,
    /// The client, or our turn, takes no more now.
    Some,
}

/// A queue of bytes and pieces of files.
#[derive(Debug, Default)]
pub struct Output {
    segments: VecDeque<Segment>,
    /// How much of the first segment's bytes is written.
    written: usize,
}

impl Output {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many bytes are held in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.segments
            .iter()
            .map(|segment| match segment {
                Segment::Bytes(bytes) => bytes.len(),
                Segment::File { .. } => 0,
            })
            .sum::<usize>()
            - self.written
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some(Segment::Bytes(last)) = self.segments.back_mut() {
            last.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            self.segments.push_back(Segment::Bytes(bytes.to_vec()));
        }
    }

    /// Adds a segment.
    ///
    /// # Errors
    ///
    /// Any error of reading a file that is small enough to be copied.
    pub fn push_segment(&mut self, segment: Segment) -> io::Result<()> {
        match segment {
            Segment::Bytes(bytes) => self.push(&bytes),
            Segment::File { part, .. } if part.start >= part.end => {}
            Segment::File { file, part } if part.end - part.start <= COPIED_MAX => {
                self.push(&read_part(&file, part)?);
            }
            segment @ Segment::File { .. } => self.segments.push_back(segment),
        }
        Ok(())
    }

    /// Writes what the client takes. Returns how far it came, and whether
    /// anything was written at all.
    ///
    /// # Errors
    ///
    /// The client is gone, or the file became shorter.
    pub fn flush(&mut self, socket: impl AsFd) -> io::Result<(Flushed, bool)> {
        let mut total = 0;
        while let Some(segment) = self.segments.front_mut() {
            if total >= TURN_BYTES {
                return Ok((Flushed::Some, true));
            }
            let result = match segment {
                Segment::Bytes(bytes) => rustix::io::write(&socket, &bytes[self.written..]),
                Segment::File { file, part } => send(&socket, file, part)?,
            };
            match result {
                Ok(count) => total += count,
                Err(Errno::AGAIN) => return Ok((Flushed::Some, total > 0)),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            self.advance(result.unwrap_or(0));
        }
        Ok((Flushed::All, total > 0))
    }

    fn advance(&mut self, count: usize) {
        let is_over = match self.segments.front_mut() {
            Some(Segment::Bytes(bytes)) => {
                self.written += count;
                self.written >= bytes.len()
            }
            Some(Segment::File { part, .. }) => part.start >= part.end,
            None => false,
        };
        if is_over {
            self.segments.pop_front();
            self.written = 0;
        }
    }
}

fn read_part(file: &Rc<OwnedFd>, part: Part) -> io::Result<Vec<u8>> {
    let length = usize::try_from(part.end - part.start).unwrap_or(0);
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let count = rustix::io::pread(file, &mut bytes[filled..], part.start + filled as u64)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
    }
    Ok(bytes)
}

/// Sends a part of a file; `part.start` moves on by what was sent.
fn send(socket: impl AsFd, file: &Rc<OwnedFd>, part: &mut Part) -> io::Result<Result<usize, Errno>> {
    let left = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
    match rustix::fs::sendfile(socket, file, Some(&mut part.start), left.min(TURN_BYTES)) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        result => Ok(result),
    }
}

//! The container's log, as seen from inside: our stderr.
//!
//! Scripts' stderr goes there line by line, so that lines of scripts that run at
//! once do not mix, in lines of bounded length. Nobody may stop the loop by
//! filling it: it is written to only when it can take a page, and while it
//! cannot, scripts' stderr is simply not read.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stderr;

/// Longest line; a longer one goes on in the next.
pub const LINE_MAX: usize = 4000;

/// What a pipe that calls itself writable takes without blocking (`PIPE_BUF`).
const PAGE: usize = 4096;

/// What may wait to be written before scripts' stderr is no longer read.
const PENDING_MAX: usize = 64 * 1024;

/// What waits to be written to our stderr.
#[derive(Debug, Default)]
pub struct Log {
    pending: Vec<u8>,
    was_full: bool,
}

impl Log {
    /// Whether no more lines are wanted now.
    pub const fn is_full(&mut self) -> bool {
        let is_full = self.pending.len() >= PENDING_MAX;
        self.was_full |= is_full;
        is_full
    }

    /// Whether something waits: lines for our stderr to take them, or scripts to be
    /// told that it has.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || self.was_full
    }

    /// Whether every line is written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Says, once, that it was full and no longer is.
    pub fn resume(&mut self) -> bool {
        self.flush();
        let was_full = self.was_full;
        self.was_full &= self.pending.len() >= PENDING_MAX / 2;
        was_full && !self.was_full
    }

    /// Adds a line.
    pub fn line(&mut self, line: &[u8]) {
        self.pending.extend_from_slice(&line[..line.len().min(LINE_MAX)]);
        self.pending.push(b'\n');
    }

    /// Adds a line of the runner's own, unless there is no room: what scripts say
    /// must not be able to make this grow.
    pub fn say(&mut self, message: &str) {
        if self.pending.len() < PENDING_MAX {
            self.line(format!("shipway-runner: {message}").as_bytes());
        }
    }

    /// Writes what can be written without blocking.
    pub fn flush(&mut self) {
        let mut written = 0;
        while written < self.pending.len() && is_writable() {
            let end = self.pending.len().min(written + PAGE);
            match rustix::io::write(stderr(), &self.pending[written..end]) {
                Ok(count) => written += count,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => break,
                // Nobody listens any more; there is nobody to tell.
                Err(_) => written = self.pending.len(),
            }
        }
        self.pending.drain(..written);
    }
}

fn is_writable() -> bool {
    let stderr = stderr();
    let mut fds = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // An error or a hang-up shows when writing.
    poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Cuts what one script writes to its stderr into lines.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes what was read; passes on the lines it completes.
    pub fn take(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let mut rest = text;
            while self.partial.len() + rest.len() > LINE_MAX {
                let (now, later) = rest.split_at(LINE_MAX - self.partial.len());
                self.partial.extend_from_slice(now);
                line(&std::mem::take(&mut self.partial));
                rest = later;
            }
            self.partial.extend_from_slice(rest);
            if is_whole {
                line(&std::mem::take(&mut self.partial));
            }
        }
    }

    /// Passes on what was not ended by a line's end.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&std::mem::take(&mut self.partial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_bounded_however_they_arrive() {
        let text = format!("a\n\n{}\nend", "x".repeat(LINE_MAX + 1));
        for step in [1, 7, LINE_MAX, text.len()] {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(step) {
                lines.take(piece, |line| seen.push(line.to_vec()));
            }
            lines.finish(|line| seen.push(line.to_vec()));
            let lengths: Vec<usize> = seen.iter().map(Vec::len).collect();
            assert_eq!(lengths, [1, 0, LINE_MAX, 1, 3], "in pieces of {step}");
        }
    }
}

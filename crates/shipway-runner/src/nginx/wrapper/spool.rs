//! A request's body on its way to the script.
//!
//! fcgiwrap passes nothing of an answer on before it has passed the whole body, so a
//! script that answers while it reads, or does not read at all, must not hold the body
//! up. What the script does not take at once waits here: a little in memory, more of it
//! in a file without a name in the container's own tmpfs, which counts as the service's
//! memory and disk.

use std::env;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags};

use crate::server::limits;

/// Bytes in the order they came.
#[derive(Debug, Default)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    /// Where in the file the next byte to give is, and the next to come.
    given: u64,
    taken: u64,
}

impl Spool {
    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.given == self.taken
    }

    /// Adds what has come.
    ///
    /// # Errors
    ///
    /// There is no room left, or no place to make a file in.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.given == self.taken && self.memory.len() + bytes.len() <= limits::INPUT_BYTES {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(nameless()?);
        }
        if let Some(file) = &self.file {
            file.write_all_at(bytes, self.taken)?;
            self.taken += bytes.len() as u64;
        }
        Ok(())
    }

    /// Gives what is next to `write`, which says how much it took.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn give<E>(
        &mut self,
        scratch: &mut [u8],
        write: impl FnOnce(&[u8]) -> Result<usize, E>,
    ) -> io::Result<Result<(), E>> {
        if !self.memory.is_empty() {
            return Ok(write(&self.memory).map(|count| drop(self.memory.drain(..count))));
        }
        let Some(file) = &self.file else {
            return Ok(Ok(()));
        };
        let most = scratch.len().min(usize::try_from(self.taken - self.given).unwrap_or(usize::MAX));
        let count = file.read_at(&mut scratch[..most], self.given)?;
        let written = write(&scratch[..count]).map(|count| self.given += count as u64);
        if self.given == self.taken {
            // What has been given takes no room any more.
            file.set_len(0)?;
            (self.given, self.taken) = (0, 0);
        }
        Ok(written)
    }

    /// Drops everything: nobody will take it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn nameless() -> io::Result<File> {
    let folder = env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order_however_they_come_and_go() {
        let text: Vec<u8> = (0_u32..200_000).flat_map(u32::to_le_bytes).collect();
        for (step_in, step_out) in [(1000, 100_000), (70_000, 999), (65_536, 65_536)] {
            let (mut spool, mut seen) = (Spool::default(), Vec::new());
            let mut scratch = vec![0; 32 * 1024];
            let mut give = |spool: &mut Spool| {
                let write = |bytes: &[u8]| {
                    let count = bytes.len().min(step_out);
                    seen.extend_from_slice(&bytes[..count]);
                    Ok::<_, ()>(count)
                };
                spool.give(&mut scratch, write).unwrap().unwrap();
            };
            for piece in text.chunks(step_in) {
                spool.push(piece).unwrap();
                give(&mut spool);
            }
            while !spool.is_empty() {
                give(&mut spool);
            }
            assert!(seen == text, "in by {step_in}, out by {step_out}");
        }
    }
}

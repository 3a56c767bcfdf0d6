//! A reader that knows the digest of what it has read.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use shipway_model::Digest;

/// Hashes what passes.
pub(super) struct Checked<R> {
    inner: R,
    hash: Sha256,
    size_bytes: u64,
}

impl<R: Read> Checked<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), size_bytes: 0 }
    }

    pub(super) fn finish(self) -> (Digest, u64) {
        (Digest::from_sha256(self.hash.finalize().into()), self.size_bytes)
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.size_bytes += read as u64;
        Ok(read)
    }
}

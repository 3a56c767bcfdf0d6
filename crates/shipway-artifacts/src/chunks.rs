//! How a part of an artifact is verified without reading the rest.
//!
//! An artifact is cut into chunks of 1 MiB, and a list of their SHA-256 is kept beside it. The
//! list's own digest is in [`Stored`](crate::Stored), which the caller keeps: so whoever
//! damages both the artifact and the list is found out too. A list is text that a person can check with
//! `split -b 1M` and `sha256sum`:
//!
//! ```text
//! shipway-chunks 1 1048576 2097153
//! 5647f05ec18958947d32874eeb788fa396a05d0bab7c1b71f112ceb7e9b31eee
//! …
//! ```

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use shipway_model::Digest;

use crate::error::ArtifactError;

/// Bytes of a chunk. What a reader must have in memory before a byte goes out, so not
/// larger; a list has a line for each, so not smaller.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// Most bytes of an artifact. Its list is then a megabyte of text.
pub const ARTIFACT_BYTES_MAX: u64 = 16 << 30;

const WORDS: &str = "shipway-chunks 1";

/// The digests of an artifact's chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkList {
    size_bytes: u64,
    digests: Vec<[u8; 32]>,
}

impl ChunkList {
    /// A list of one chunk, or none, is known without being kept: its one digest is the
    /// artifact's own.
    pub(crate) fn implied(digest: &Digest, size_bytes: u64) -> Option<Self> {
        match chunks_of(size_bytes) {
            0 => Some(Self { size_bytes, digests: Vec::new() }),
            1 => Some(Self { size_bytes, digests: vec![bytes(digest)] }),
            _ => None,
        }
    }

    /// Reads a list back.
    ///
    /// # Errors
    ///
    /// In words, what is wrong with it.
    pub fn parse(text: &str, size_bytes: u64) -> Result<Self, &'static str> {
        let mut lines = text.split_terminator('\n');
        if lines.next() != Some(&head(size_bytes)) {
            return Err("the list of chunks has another head");
        }
        let digest = |line: &str| format!("sha256:{line}").parse().ok();
        let digests = lines.map(|line| digest(line).map(|found| bytes(&found))).collect::<Option<Vec<_>>>();
        let digests = digests.ok_or("a line of the list of chunks is no digest")?;
        if digests.len() as u64 != chunks_of(size_bytes) {
            return Err("the list of chunks has another length");
        }
        Ok(Self { size_bytes, digests })
    }

    /// The list as it is kept.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.digests.iter().map(|digest| Digest::from_sha256(*digest).hex() + "\n");
        head(self.size_bytes) + "\n" + &lines.collect::<String>()
    }

    /// The digest of the list as it is kept.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::from_sha256(Sha256::digest(self.text().as_bytes()).into())
    }

    /// Whether these are the bytes of a chunk.
    #[must_use]
    pub fn verify(&self, index: u64, chunk: &[u8]) -> bool {
        self.digest_of(index).is_some_and(|wanted| wanted[..] == Sha256::digest(chunk)[..])
    }

    /// A chunk's digest.
    pub(crate) fn digest_of(&self, index: u64) -> Option<[u8; 32]> {
        usize::try_from(index).ok().and_then(|index| self.digests.get(index)).copied()
    }

    /// Where a chunk begins and ends.
    #[must_use]
    pub fn span(&self, index: u64) -> Range<u64> {
        let start = (index * CHUNK_BYTES).min(self.size_bytes);
        start..(start + CHUNK_BYTES).min(self.size_bytes)
    }

    /// The artifact's size.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// Makes a list, and the artifact's digest beside it, of bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct Chunker {
    whole: Sha256,
    chunk: Sha256,
    in_chunk: u64,
    size_bytes: u64,
    digests: Vec<[u8; 32]>,
}

impl Chunker {
    /// Takes the next bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) -> Result<(), ArtifactError> {
        self.whole.update(bytes);
        self.size_bytes += bytes.len() as u64;
        if self.size_bytes > ARTIFACT_BYTES_MAX {
            return Err(ArtifactError::TooLarge { limit: ARTIFACT_BYTES_MAX });
        }
        while !bytes.is_empty() {
            let room = usize::try_from(CHUNK_BYTES - self.in_chunk).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.update(now);
            self.in_chunk += now.len() as u64;
            if self.in_chunk == CHUNK_BYTES {
                self.close();
            }
            bytes = later;
        }
        Ok(())
    }

    fn close(&mut self) {
        self.digests.push(self.chunk.finalize_reset().into());
        self.in_chunk = 0;
    }

    /// The artifact's digest and its list.
    pub(crate) fn finish(mut self) -> (Digest, ChunkList) {
        if self.in_chunk > 0 {
            self.close();
        }
        let digest = Digest::from_sha256(self.whole.finalize().into());
        (digest, ChunkList { size_bytes: self.size_bytes, digests: self.digests })
    }
}

/// How many chunks an artifact has.
pub(crate) const fn chunks_of(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(CHUNK_BYTES)
}

/// Most bytes that the list of an artifact can have.
pub(crate) const fn list_bytes_max(size_bytes: u64) -> u64 {
    128 + chunks_of(size_bytes) * 65
}

fn head(size_bytes: u64) -> String {
    format!("{WORDS} {CHUNK_BYTES} {size_bytes}")
}

fn bytes(digest: &Digest) -> [u8; 32] {
    let hex = digest.hex();
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16);
    std::array::from_fn(|at| byte(at).expect("a digest is hexadecimal"))
}

#[cfg(test)]
mod tests;

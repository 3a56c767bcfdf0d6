//! A local file becomes a digest, a size and a list of chunks.
//!
//! The name of an artifact is known only when all of it was read, so a file that is put is
//! read twice: once to measure it, once to send it. What is sent is compared with what
//! was measured, chunk by chunk, so a file that somebody writes to meanwhile is refused
//! instead of kept under a wrong name.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use shipway_model::Digest;

use crate::chunks::{CHUNK_BYTES, ChunkList, Chunker};
use crate::error::ArtifactError;
use crate::layout::Stored;

/// Bytes read at a time.
const PIECE: usize = 256 << 10;

/// A local file that was read through, still open.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What it will be called.
    pub stored: Stored,
    /// By which its parts are verified.
    pub list: ChunkList,
    pub(crate) path: PathBuf,
    file: Arc<File>,
}

/// Reads a file through.
///
/// # Errors
///
/// [`ArtifactError::Local`] and [`ArtifactError::TooLarge`].
pub async fn measure(path: &Path) -> Result<Measured, ArtifactError> {
    let path = path.to_owned();
    blocking(move || measure_now(path)).await
}

fn measure_now(path: PathBuf) -> Result<Measured, ArtifactError> {
    let mut file = File::open(&path).map_err(ArtifactError::local(&path))?;
    if !file.metadata().map_err(ArtifactError::local(&path))?.is_file() {
        return Err(ArtifactError::local(&path)(std::io::Error::other("it is no file")));
    }
    let mut chunker = Chunker::default();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => chunker.update(&piece[..read])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ArtifactError::local(&path)(error)),
        }
    }
    let (digest, list) = chunker.finish();
    let stored = Stored { digest, size_bytes: list.size_bytes(), chunks: list.digest() };
    Ok(Measured { stored, list, path, file: Arc::new(file) })
}

impl Measured {
    /// Its digest.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.stored.digest
    }

    /// Reads the chunks from the one at `start` (a multiple of a chunk's length) to `end`
    /// (another, or the size), compared with the list. They stay apart: large blocks of memory that come
    /// and go are what an allocator is worst at.
    pub(crate) fn read_chunks(&self, start: u64, end: u64) -> Result<Vec<Bytes>, ArtifactError> {
        (start / CHUNK_BYTES..end.div_ceil(CHUNK_BYTES)).map(|index| self.read_chunk(index)).collect()
    }

    fn read_chunk(&self, index: u64) -> Result<Bytes, ArtifactError> {
        let span = self.list.span(index);
        let mut bytes = vec![0; usize::try_from(span.end - span.start).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, span.start).map_err(ArtifactError::local(&self.path))?;
        if self.list.verify(index, &bytes) {
            return Ok(bytes.into());
        }
        Err(ArtifactError::local(&self.path)(std::io::Error::other("it was changed while it was put")))
    }
}

/// Runs what waits for a disk, or computes, where it holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // A runtime that ends does not begin such work any more.
        Err(error) => Err(ArtifactError::unavailable(format!("it was not done: {error}"))),
    }
}

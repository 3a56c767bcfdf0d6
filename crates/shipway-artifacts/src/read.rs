//! A stream that never gives out a wrong byte.
//!
//! An artifact is read chunk by chunk: one is held until it is whole and was compared with
//! the list, and only then given out. What was cut off, or came wrong, is asked for again from the
//! beginning of that chunk, a bounded number of times; so a connection that breaks in the
//! middle of a download is not seen by who downloads. When it cannot be had the stream ends in an
//! error, which whoever serves it must pass on as a broken transfer.
//!
//! What another reader holds just then is not read again (see `held`).
//!
//! A read of the whole artifact is compared with the artifact's own digest, too, before its last
//! chunk is given out.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use shipway_model::Digest;
use shipway_stdx::backoff::Backoff;
use tokio::sync::OwnedSemaphorePermit;

use crate::artifacts::{Artifacts, Raw};
use crate::chunks::{CHUNK_BYTES, ChunkList};
use crate::error::ArtifactError;
use crate::held::Next;
use crate::layout::Stored;

/// Tries for one chunk, each with the bounded tries of the place beneath.
const TRIES: u32 = 4;
const BETWEEN: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(2) };

/// The bytes of an artifact, or of a part of it, each verified.
pub struct Reading {
    stream: BoxStream<'static, Result<Bytes, ArtifactError>>,
    length: u64,
}

impl Reading {
    /// Opens it, and has its first chunk, so that what is missing or refused is heard now.
    pub(crate) async fn open(
        artifacts: Artifacts,
        stored: Stored,
        list: ChunkList,
        range: Range<u64>,
    ) -> Result<Self, ArtifactError> {
        let length = range.end - range.start;
        let whole = (range.start == 0 && range.end == stored.size_bytes).then(Sha256::new);
        let mut reader = Reader { artifacts, stored, list, range, whole, flow: None };
        let first = reader.next().await?;
        let rest = stream::try_unfold(reader, async |mut reader| {
            let piece = reader.next().await?;
            Ok(piece.map(|piece| (piece, reader)))
        });
        let stream = stream::iter(first.map(Ok)).chain(rest).boxed();
        Ok(Self { stream, length })
    }

    /// How many bytes will come.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }
}

impl Stream for Reading {
    type Item = Result<Bytes, ArtifactError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(context)
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("length", &self.length).finish_non_exhaustive()
    }
}

struct Reader {
    artifacts: Artifacts,
    stored: Stored,
    list: ChunkList,
    /// What is still to be given out.
    range: Range<u64>,
    /// Of a whole artifact, the digest so far.
    whole: Option<Sha256>,
    /// Bytes from the beginning of the next chunk on, while they flow.
    flow: Option<Flow>,
}

struct Flow {
    /// What came already.
    ahead: Bytes,
    rest: Raw,
    /// Whether they may flow past the chunk that they were asked for.
    allowed: Option<OwnedSemaphorePermit>,
}

impl Reader {
    /// The next verified bytes, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ArtifactError> {
        if self.range.is_empty() {
            return self.verdict().map(|()| None);
        }
        let index = self.range.start / CHUNK_BYTES;
        let span = self.list.span(index);
        let chunk = self.chunk(index, &span).await?;
        if let Some(whole) = &mut self.whole {
            whole.update(&chunk);
        }
        let at = |position: u64| usize::try_from(position - span.start).unwrap_or(usize::MAX);
        let until = span.end.min(self.range.end);
        let piece = chunk.slice(at(self.range.start)..at(until));
        self.range.start = until;
        if self.range.is_empty() {
            self.verdict()?;
        }
        Ok(Some(piece))
    }

    /// Whether the whole was what its name says.
    fn verdict(&mut self) -> Result<(), ArtifactError> {
        let Some(whole) = self.whole.take() else { return Ok(()) };
        if Digest::from_sha256(whole.finalize().into()) == self.stored.digest {
            return Ok(());
        }
        Err(ArtifactError::damaged(&self.stored.digest, "its parts are as listed, the whole is another"))
    }

    /// One chunk, verified, by whoever was first.
    async fn chunk(&mut self, index: u64, span: &Range<u64>) -> Result<Bytes, ArtifactError> {
        let held = Arc::clone(self.artifacts.held());
        let digest = self.list.digest_of(index);
        let digest = digest.ok_or_else(|| ArtifactError::damaged(&self.stored.digest, "it has fewer chunks"))?;
        let mut failures = 0;
        loop {
            let turn = match held.next(&digest).await {
                Next::Share(chunk) => {
                    // What flows is behind now; it is asked for anew when it is needed.
                    self.flow = None;
                    return Ok(chunk);
                }
                Next::Fetch(turn) => turn,
            };
            let fetched = self.fetch(span).await;
            drop(turn);
            let error = match fetched {
                Ok(chunk) if self.list.verify(index, &chunk) => return Ok(held.keep(&digest, chunk)),
                Ok(_) => ArtifactError::damaged(&self.stored.digest, format!("chunk {index} has another digest")),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            self.flow = None;
            failures += 1;
            if failures >= TRIES {
                return Err(error);
            }
            tracing::debug!(digest = %self.stored.digest, index, %error, "a chunk is read again");
            tokio::time::sleep(BETWEEN.wait_after(failures)).await;
        }
    }

    /// The bytes of a chunk as they come.
    async fn fetch(&mut self, span: &Range<u64>) -> Result<Bytes, ArtifactError> {
        let length = usize::try_from(span.end - span.start).unwrap_or(usize::MAX);
        let mut flow = match self.flow.take() {
            Some(flow) => flow,
            None => self.open(span).await?,
        };
        let mut chunk = BytesMut::with_capacity(length);
        loop {
            let part = flow.ahead.split_to(flow.ahead.len().min(length - chunk.len()));
            chunk.extend_from_slice(&part);
            if chunk.len() == length {
                self.flow = flow.allowed.is_some().then_some(flow);
                return Ok(chunk.freeze());
            }
            flow.ahead = match flow.rest.next().await {
                Some(piece) => piece?,
                None => return Err(ArtifactError::unavailable("it ended too early")),
            };
        }
    }

    /// Asks for a chunk, and for all behind it where bytes may go on flowing.
    async fn open(&mut self, span: &Range<u64>) -> Result<Flow, ArtifactError> {
        let allowed = self.artifacts.held().flow();
        let until = if allowed.is_some() { self.until() } else { span.end };
        let rest = self.artifacts.raw(&self.stored.digest, span.start..until).await?;
        Ok(Flow { ahead: Bytes::new(), rest, allowed })
    }

    /// The end of the last chunk that has something to be given out.
    fn until(&self) -> u64 {
        self.list.span((self.range.end - 1) / CHUNK_BYTES).end
    }
}

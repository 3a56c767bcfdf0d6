//! Verified chunks that somebody is just passing on, so that many who read the same bytes hold
//! them once.
//!
//! A slow client keeps the chunk it was given for as long as it takes. A thousand of them on one artifact
//! then need no more memory than that artifact, and who comes after them reads and hashes nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Chunks that may be on their way from a place at a time. More at once make no place faster.
const FETCHES: usize = 64;
/// Readers whose bytes go on flowing while they pass on what they have. A connection to S3 buffers most of a
/// chunk meanwhile, so the others ask for each chunk by itself.
const FLOWS: usize = 64;

type Sha256 = [u8; 32];

/// What readers of one place hold. Chunks are known by their own digests, by which they were verified.
#[derive(Debug)]
pub(crate) struct Held {
    chunks: Mutex<HashMap<Sha256, Weak<Chunk>>>,
    fetches: Semaphore,
    flows: Arc<Semaphore>,
}

impl Default for Held {
    fn default() -> Self {
        let flows = Arc::new(Semaphore::new(FLOWS));
        Self { chunks: Mutex::default(), fetches: Semaphore::new(FETCHES), flows }
    }
}

/// What a reader does next for a chunk.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// Nothing: somebody has it.
    Share(Bytes),
    /// Fetches it, while it has this.
    Fetch(Option<SemaphorePermit<'a>>),
}

impl Held {
    /// A chunk that somebody has, or the turn to fetch it, waited for.
    pub(crate) async fn next(&self, digest: &Sha256) -> Next<'_> {
        if let Some(chunk) = self.find(digest) {
            return Next::Share(chunk);
        }
        // It is never closed; were it, nothing but the bound would be lost.
        let turn = self.fetches.acquire().await.ok();
        // Whoever had the turn before may have fetched just this.
        self.find(digest).map_or(Next::Fetch(turn), Next::Share)
    }

    /// Whether another reader may let its bytes flow, as long as it has this.
    pub(crate) fn flow(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.flows).try_acquire_owned().ok()
    }

    fn find(&self, digest: &Sha256) -> Option<Bytes> {
        let chunk = self.chunks().get(digest).and_then(Weak::upgrade)?;
        Some(Bytes::from_owner(Share(chunk)))
    }

    /// Holds a verified chunk until nobody has it any more; the one that is held already, if
    /// another reader was first.
    pub(crate) fn keep(self: &Arc<Self>, digest: &Sha256, bytes: Bytes) -> Bytes {
        if let Some(first) = self.find(digest) {
            return first;
        }
        let chunk = Arc::new(Chunk { bytes, digest: *digest, held: Arc::downgrade(self) });
        self.chunks().insert(*digest, Arc::downgrade(&chunk));
        Bytes::from_owner(Share(chunk))
    }

    fn chunks(&self) -> std::sync::MutexGuard<'_, HashMap<Sha256, Weak<Chunk>>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.chunks().len()
    }
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    digest: Sha256,
    held: Weak<Held>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let Some(held) = self.held.upgrade() else { return };
        let mut chunks = held.chunks();
        // Another may have come into its place since nobody had this one.
        if chunks.get(&self.digest).is_some_and(|found| std::ptr::eq(found.as_ptr(), self)) {
            chunks.remove(&self.digest);
        }
    }
}

struct Share(Arc<Chunk>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn chunk(byte: u8) -> Bytes {
        vec![byte; 100].into()
    }

    #[test]
    fn what_two_hold_is_there_once_and_gone_after_both() {
        let held = Arc::new(Held::default());
        let one = held.keep(&[1; 32], chunk(1));
        let late = held.keep(&[1; 32], chunk(1));
        assert_eq!((one.as_ptr(), held.count()), (late.as_ptr(), 1));
        drop(one);
        let part = late.slice(10..20);
        drop(late);
        assert_eq!(held.find(&[1; 32]).unwrap(), chunk(1), "a part of it keeps it");
        assert_eq!(held.find(&[2; 32]), None);
        drop(part);
        assert_eq!((held.find(&[1; 32]), held.count()), (None, 0));
    }

    #[test]
    fn what_comes_in_the_place_of_another_stays() {
        let held = Arc::new(Held::default());
        let first = Arc::new(Chunk { bytes: chunk(1), digest: [1; 32], held: Arc::downgrade(&held) });
        let second = held.keep(&[1; 32], chunk(1));
        drop(first);
        assert_eq!(held.find(&[1; 32]).unwrap().as_ptr(), second.as_ptr());
    }

    #[tokio::test]
    async fn who_waited_for_a_turn_finds_what_came_meanwhile() {
        let held = Arc::new(Held::default());
        let mut turns = Vec::new();
        for _ in 0..FETCHES {
            turns.push(held.next(&[1; 32]).await);
        }
        let mut waits = Box::pin(held.next(&[1; 32]));
        assert!(waits.as_mut().now_or_never().is_none(), "all turns are taken");
        let first = held.keep(&[1; 32], chunk(1));
        drop(turns.pop());
        assert!(matches!(waits.await, Next::Share(found) if found.as_ptr() == first.as_ptr()));
        assert!(matches!(held.next(&[1; 32]).await, Next::Share(_)), "it needs no turn");
    }

    #[test]
    fn a_chunk_outlives_its_place() {
        let held = Arc::new(Held::default());
        let one = held.keep(&[1; 32], chunk(1));
        drop(held);
        assert_eq!(one, chunk(1));
    }
}

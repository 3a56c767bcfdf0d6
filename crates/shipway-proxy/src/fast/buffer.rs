//! Memory that bytes pass through, and that nobody holds while nothing passes.
//!
//! A connection has a buffer only from the moment bytes arrive until they have
//! been passed on, so thousands of quiet connections cost nothing, and a few
//! pieces of memory stay warm in the processor's cache. They are recycled within
//! a thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Room for a request's head, and for most answers.
pub(super) const SMALL: usize = 64 * 1024;
/// Room for a large answer on its way, or a large head of one.
pub(super) const LARGE: usize = 256 * 1024;

/// Large ones in use at a time, for one thread; whoever comes later makes do with
/// a small one. With [`LARGE`] it bounds them to 16 MiB.
const LARGE_MAX: usize = 64;

/// A few bytes that are waited with move to memory of just their size.
const PARKED_MAX: usize = 16 * 1024;

/// Unused ones kept, for one thread.
const SMALL_KEPT: usize = 16;
const LARGE_KEPT: usize = 4;

thread_local! {
    static SMALLS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static LARGES: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static LARGE_USED: Cell<usize> = const { Cell::new(0) };
}

fn take_small() -> Box<[u8]> {
    let kept = SMALLS.with_borrow_mut(Vec::pop);
    kept.unwrap_or_else(|| vec![0; SMALL].into_boxed_slice())
}

fn take_large() -> Option<Box<[u8]>> {
    let used = LARGE_USED.get();
    if used >= LARGE_MAX {
        return None;
    }
    LARGE_USED.set(used + 1);
    let kept = LARGES.with_borrow_mut(Vec::pop);
    Some(kept.unwrap_or_else(|| vec![0; LARGE].into_boxed_slice()))
}

fn give_back(memory: Box<[u8]>) {
    let is_large = memory.len() == LARGE;
    if !is_large && memory.len() != SMALL {
        return;
    }
    let (places, kept) = if is_large { (&LARGES, LARGE_KEPT) } else { (&SMALLS, SMALL_KEPT) };
    if is_large {
        // One taken by another thread may be given back here: that only costs room.
        LARGE_USED.set(LARGE_USED.get().saturating_sub(1));
    }
    places.with_borrow_mut(|places| {
        if places.len() < kept {
            places.push(memory);
        }
    });
}

/// Bytes that were read and not used yet.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    memory: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    wants_large: bool,
}

impl Buffer {
    /// Begins with nothing.
    pub(super) const fn new() -> Self {
        Self { memory: None, start: 0, end: 0, wants_large: false }
    }

    /// Begins with bytes already read.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut memory = take_small();
        debug_assert!(bytes.len() <= memory.len(), "first bytes are few");
        let end = bytes.len().min(memory.len());
        memory[..end].copy_from_slice(&bytes[..end]);
        Self { memory: Some(memory), end, ..Self::default() }
    }

    /// What is in it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory[self.start..self.end])
    }

    /// What is in it, to be changed in place.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.start, self.end);
        self.memory.as_mut().map_or(&mut [], |memory| &mut memory[start..end])
    }

    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether it holds as much as it can.
    pub(super) fn is_full(&self) -> bool {
        let size = self.memory.as_ref().map_or(0, |memory| memory.len());
        size >= SMALL && self.len() == size
    }

    /// Forgets the first `count` bytes. An empty buffer holds no memory.
    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "only what is there");
        self.start += count;
        if self.is_empty() {
            self.release();
        }
    }

    /// From now on it takes large memory where it can.
    pub(super) fn enlarge(&mut self) {
        self.wants_large = true;
        let is_large = self.memory.as_ref().is_some_and(|memory| memory.len() == LARGE);
        if !is_large
            && self.is_full()
            && let Some(memory) = take_large()
        {
            self.move_to(memory);
        }
    }

    /// Holds on to no more memory than it needs while it waits.
    pub(super) fn park(&mut self) {
        let count = self.len();
        if count == 0 {
            self.release();
        } else if count <= PARKED_MAX && self.memory.as_ref().is_some_and(|memory| memory.len() != count) {
            self.move_to(vec![0; count].into_boxed_slice());
        }
    }

    fn move_to(&mut self, mut memory: Box<[u8]>) {
        let count = self.len();
        memory[..count].copy_from_slice(self.bytes());
        self.release();
        self.memory = Some(memory);
        self.end = count;
    }

    /// Makes room behind what is there.
    fn make_room(&mut self) {
        if self.memory.as_ref().is_none_or(|memory| memory.len() < SMALL) {
            let large = if self.wants_large { take_large() } else { None };
            self.move_to(large.unwrap_or_else(take_small));
        }
        if let Some(memory) = &mut self.memory
            && self.end == memory.len()
        {
            memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Reads once behind what is there; 0 is the end. Must not be full.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut space = ReadBuf::new(self.memory.as_mut().map_or(&mut [], |memory| &mut memory[self.end..]));
        let read = Pin::new(io).poll_read(cx, &mut space);
        let count = space.filled().len();
        self.end += count;
        if count == 0 {
            self.park();
        }
        ready!(read)?;
        Poll::Ready(Ok(count))
    }

    fn release(&mut self) {
        (self.start, self.end) = (0, 0);
        if let Some(memory) = self.memory.take() {
            give_back(memory);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, mut bytes: &[u8]) -> usize {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match buffer.poll_fill(&mut cx, &mut bytes) {
            Poll::Ready(Ok(count)) => count,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buffer = Buffer::default();
        assert_eq!(fill(&mut buffer, b"hello"), 5);
        buffer.consume(2);
        assert_eq!(buffer.bytes(), b"llo");
        buffer.consume(3);
        assert!(buffer.memory.is_none());
        assert_eq!(fill(&mut buffer, b""), 0);
        assert!(buffer.memory.is_none());
    }

    #[test]
    fn what_is_left_moves_to_the_front_when_there_is_no_room_behind_it() {
        let mut buffer = Buffer::default();
        assert_eq!(fill(&mut buffer, &[b'a'; SMALL + 5]), SMALL);
        assert!(buffer.is_full());
        buffer.consume(SMALL - 3);
        assert_eq!(fill(&mut buffer, b"xyz"), 3);
        assert_eq!(buffer.bytes(), b"aaaxyz");
    }

    #[test]
    fn who_waits_with_little_holds_little() {
        let mut buffer = Buffer::of(b"GET");
        assert_eq!(fill(&mut buffer, b""), 0);
        assert_eq!(buffer.memory.as_ref().unwrap().len(), 3);
        assert!(!buffer.is_full());
        assert_eq!(fill(&mut buffer, b" /"), 2);
        assert_eq!(buffer.bytes(), b"GET /");
    }

    #[test]
    fn large_ones_are_bounded_and_come_back() {
        let mut all: Vec<Buffer> = (0..=LARGE_MAX).map(|_| Buffer::of(&[b'x'; SMALL])).collect();
        all.iter_mut().for_each(Buffer::enlarge);
        assert_eq!(LARGE_USED.get(), LARGE_MAX);
        assert_eq!(all.pop().unwrap().memory.as_ref().unwrap().len(), SMALL);
        assert!(all.iter().all(|buffer| buffer.bytes() == [b'x'; SMALL]));
        assert_eq!(fill(&mut all[0], b"y"), 1);
        drop(all);
        assert_eq!(LARGE_USED.get(), 0);
    }
}

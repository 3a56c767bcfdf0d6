//! Unused connections to one endpoint.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Sender;
use crate::streams::Inner;

/// Threads beyond this many share a place.
const PLACES: usize = 8;

/// What is kept in a pool.
pub(crate) trait Kept {
    /// Whether the next request may go out on it: its peer has not closed it, and
    /// no unasked-for bytes have arrived.
    fn is_usable(&self) -> bool;
    /// Whether it has ended.
    fn is_closed(&self) -> bool;
}

impl Kept for Sender {
    fn is_usable(&self) -> bool {
        Self::is_ready(self)
    }
    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}

impl Kept for Inner {
    fn is_usable(&self) -> bool {
        self.is_quiet()
    }
    fn is_closed(&self) -> bool {
        !self.is_quiet()
    }
}

/// Unused connections, newest last.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    places: [Mutex<Vec<Unused<T>>>; PLACES],
}

#[derive(Debug)]
struct Unused<T> {
    connection: T,
    since: Instant,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { places: Default::default() }
    }
}

impl<T: Kept> Pool<T> {
    /// Takes the connection used last, if that was at most `age_max` ago.
    pub(crate) fn take(&self, age_max: Duration) -> Option<T> {
        let mut place = self.place();
        while let Some(unused) = place.pop() {
            if unused.since.elapsed() > age_max {
                // Everything below it is older still. A later request that minds
                // less may use this one, if it is not closed by then.
                place.push(unused);
                return None;
            }
            // One that is not usable now never will be.
            if unused.connection.is_usable() {
                return Some(unused.connection);
            }
        }
        None
    }

    /// Keeps a connection; past `idle_max` the oldest one is closed.
    pub(crate) fn put(&self, connection: T, idle_max: usize) {
        if connection.is_closed() || idle_max == 0 {
            return;
        }
        let mut place = self.place();
        if place.len() >= idle_max {
            place.remove(0);
        }
        place.push(Unused { connection, since: Instant::now() });
    }

    /// Closes connections unused for `age`.
    pub(crate) fn close_idle(&self, age: Duration) {
        for place in &self.places {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            place.retain(|unused| unused.since.elapsed() < age && !unused.connection.is_closed());
            if place.is_empty() {
                *place = Vec::new();
            }
        }
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Vec<Unused<T>>> {
        let place = &self.places[thread_number() % PLACES];
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers the threads that ask, from 0.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    MINE.with(|number| *number)
}

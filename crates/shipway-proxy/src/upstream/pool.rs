//! Unused connections to one endpoint.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use crate::body::RequestBody;

/// A connection that can carry one request at a time.
pub(crate) type Sender = SendRequest<RequestBody>;

/// Threads beyond this many share a place.
const PLACES: usize = 8;

/// Unused connections, newest last.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    places: [Mutex<Vec<Unused>>; PLACES],
}

#[derive(Debug)]
struct Unused {
    sender: Sender,
    since: Instant,
}

impl Pool {
    /// Takes the connection used last, if that was at most `age_max` ago.
    pub(crate) fn take(&self, age_max: Duration) -> Option<Sender> {
        let mut place = self.place();
        while let Some(unused) = place.pop() {
            if unused.since.elapsed() > age_max {
                // Everything below it is older still. A later request that minds
                // less may use this one, if it is not closed by then.
                place.push(unused);
                return None;
            }
            // A connection that its peer has closed, or on which unasked-for bytes
            // arrived, is not ready and never will be.
            if unused.sender.is_ready() {
                return Some(unused.sender);
            }
        }
        None
    }

    /// Keeps a connection; past `idle_max` the oldest one is closed.
    pub(crate) fn put(&self, sender: Sender, idle_max: usize) {
        if sender.is_closed() || idle_max == 0 {
            return;
        }
        let mut place = self.place();
        if place.len() >= idle_max {
            place.remove(0);
        }
        place.push(Unused { sender, since: Instant::now() });
    }

    /// Closes connections unused for `age`.
    pub(crate) fn close_idle(&self, age: Duration) {
        for place in &self.places {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            place.retain(|unused| unused.since.elapsed() < age && !unused.sender.is_closed());
            if place.is_empty() {
                *place = Vec::new();
            }
        }
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Vec<Unused>> {
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

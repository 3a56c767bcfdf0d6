//! Connections between two uses.
//!
//! A pool asks every connection that comes back whether it still lives: one message there
//! and back for each transaction, and for each statement that only reads. The one writer
//! of SQLite waits for it. Here a connection that came back *known* to be good goes on a
//! shelf, and from there to the next caller; all others go back to the pool, which does
//! what it does.
//!
//! There are as many seats as the pool has connections, so whoever has a seat finds one on
//! the shelf or gets one from the pool without waiting for somebody else's.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::door::Doubt;

/// Connections of one pool, some of them resting.
#[derive(Debug)]
pub(crate) struct Shelf<D: Database> {
    pool: Pool<D>,
    doubt: Doubt,
    seats: Arc<Semaphore>,
    /// The one that came last is taken first.
    resting: Mutex<Vec<Resting<D>>>,
    /// One that rested longer is asked whether it lives; `None` where they do not die.
    rest_max: Option<Duration>,
}

#[derive(Debug)]
struct Resting<D: Database> {
    connection: PoolConnection<D>,
    taken_at: Instant,
    since: Instant,
}

/// A connection that rested for so long goes back to the pool, which may close it.
const IDLE_MAX: Duration = Duration::from_secs(60);

impl<D: Database> Shelf<D> {
    pub(crate) fn new(pool: Pool<D>, doubt: Doubt, rest_max: Option<Duration>) -> Arc<Self> {
        let seats = usize::try_from(pool.options().get_max_connections()).unwrap_or(1);
        let (seats, resting) = (Arc::new(Semaphore::new(seats)), Mutex::default());
        Arc::new(Self { pool, doubt, seats, resting, rest_max })
    }

    /// A connection that lives, as far as anybody knows.
    ///
    /// # Errors
    ///
    /// There was none within the pool's time, or it cannot be opened.
    pub(crate) async fn take(self: &Arc<Self>) -> sqlx::Result<Taken<D>> {
        let seat = Arc::clone(&self.seats).acquire_owned();
        let seat = timeout(self.pool.options().get_acquire_timeout(), seat).await;
        let seat = seat.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        while let Some(mut resting) = self.next() {
            if !self.doubt.trusts(resting.taken_at.elapsed()) {
                resting.connection.close_on_drop();
                continue;
            }
            let rested = self.rest_max.is_some_and(|most| resting.since.elapsed() >= most);
            if rested && resting.connection.ping().await.is_err() {
                resting.connection.close_on_drop();
                continue;
            }
            let Resting { connection, taken_at, .. } = resting;
            return Ok(self.taken(connection, taken_at, seat));
        }
        let connection = self.pool.acquire().await?;
        Ok(self.taken(connection, Instant::now(), seat))
    }

    fn taken(
        self: &Arc<Self>,
        connection: PoolConnection<D>,
        taken_at: Instant,
        seat: OwnedSemaphorePermit,
    ) -> Taken<D> {
        Taken { connection: Some(connection), is_good: false, taken_at, shelf: Arc::clone(self), _seat: seat }
    }

    /// The last that came; and those that nobody wanted for long leave.
    fn next(&self) -> Option<Resting<D>> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let last = resting.pop();
        resting.retain(|one| one.since.elapsed() < IDLE_MAX);
        last
    }

    /// Gives all that rest back to the pool.
    pub(crate) fn clear(&self) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Closes all connections, and waits for those in use.
    pub(crate) async fn close(&self) {
        // In this order: what comes back from now on finds the pool closed.
        let closed = self.pool.close();
        self.clear();
        closed.await;
    }

    #[cfg(feature = "testing")]
    pub(crate) const fn pool(&self) -> &Pool<D> {
        &self.pool
    }
}

impl<D: Database> Drop for Shelf<D> {
    /// A connection that goes back to its pool needs a runtime for that; who drops a store
    /// may have none. These are closed as they are.
    fn drop(&mut self) {
        let resting = self.resting.get_mut().unwrap_or_else(PoisonError::into_inner);
        resting.drain(..).for_each(|one| drop(one.connection.detach()));
    }
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Taken<D: Database> {
    connection: Option<PoolConnection<D>>,
    is_good: bool,
    /// From the pool: it was opened before.
    taken_at: Instant,
    shelf: Arc<Shelf<D>>,
    /// Let go of when the connection is on the shelf already.
    _seat: OwnedSemaphorePermit,
}

impl<D: Database> Taken<D> {
    /// Says that its last statement came to its end, and that no transaction is open.
    pub(crate) const fn is_good(&mut self) {
        self.is_good = true;
    }

    /// Closes it instead of giving it back.
    pub(crate) fn close_on_drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
        self.is_good = false;
    }
}

impl<D: Database> Drop for Taken<D> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut resting = self.shelf.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_good && !self.shelf.pool.is_closed() {
            resting.push(Resting { connection, taken_at: self.taken_at, since: Instant::now() });
        }
    }
}

impl<D: Database> Deref for Taken<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        self.connection.as_ref().expect("it is there until it is dropped")
    }
}

impl<D: Database> DerefMut for Taken<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        self.connection.as_mut().expect("it is there until it is dropped")
    }
}

#[cfg(test)]
mod tests;

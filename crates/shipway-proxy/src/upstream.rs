//! One endpoint of a container: connecting to it, and keeping connections to it.
//!
//! A connection is used by one request at a time, also where it speaks HTTP/2: so no
//! visitor can hold up another by not reading, and an end is an end. It goes back to the pool only
//! after its response has ended properly; whatever ends otherwise is closed.
//! Pools belong to the thread that opened the connection, so that a request never
//! wakes another processor.

mod connect;
mod h2c;
mod pool;
mod sender;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::streams::Inner;
use crate::wire::{Endpoint, Protocol};

pub(crate) use connect::{ConnectError, open, open_unix};
pub(crate) use pool::Pool;
pub(crate) use sender::{Sender, handshake};

/// An endpoint and the connections to it.
///
/// There are 100,000 of these and most are never used, so the pool is made by
/// the first request.
#[derive(Debug)]
pub(crate) struct Upstream {
    path: Box<str>,
    is_dialer: bool,
    protocol: Protocol,
    retired: AtomicBool,
    in_flight: AtomicU32,
    pools: OnceLock<Box<Pools>>,
}

/// Unused connections: those hyper drives, and those of the fast path.
#[derive(Debug, Default)]
struct Pools {
    driven: Pool<Sender>,
    plain: Pool<Inner>,
}

impl Upstream {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let (path, is_dialer) = match endpoint {
            Endpoint::Unix { path } => (path, false),
            Endpoint::Dialer { path, .. } => (path, true),
        };
        Self {
            protocol: endpoint.protocol(),
            path: path.as_str().into(),
            is_dialer,
            retired: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            pools: OnceLock::new(),
        }
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let path = self.path.to_string();
        let protocol = self.protocol;
        if self.is_dialer { Endpoint::Dialer { path, protocol } } else { Endpoint::Unix { path } }
    }

    /// What is spoken there. The fast path knows HTTP/1.1 only.
    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether it is at `endpoint`'s place.
    pub(crate) fn answers_at(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Unix { path } => !self.is_dialer && *self.path == **path,
            Endpoint::Dialer { path, .. } => self.is_dialer && *self.path == **path,
        }
    }

    /// Requests on their way here or being answered.
    pub(crate) const fn in_flight(&self) -> &AtomicU32 {
        &self.in_flight
    }

    /// Opens a new connection.
    pub(crate) async fn connect(&self) -> Result<Sender, ConnectError> {
        let io = open(&self.path, self.is_dialer).await?;
        match self.protocol {
            Protocol::Http1 => handshake(io).await,
            Protocol::H2c => h2c::handshake(io).await,
        }
    }

    /// Takes an unused connection, not older than `age_max` since its last use.
    pub(crate) fn take(&self, age_max: Duration) -> Option<Sender> {
        self.pools.get()?.driven.take(age_max)
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, sender: Sender, idle_max: usize) {
        if !self.retired.load(Ordering::Relaxed) {
            self.pools.get_or_init(Box::default).driven.put(sender, idle_max);
        }
    }

    /// Opens a new connection for the fast path.
    pub(crate) async fn connect_plain(&self) -> Result<Inner, ConnectError> {
        open(&self.path, self.is_dialer).await
    }

    /// [`Self::take`] for the fast path.
    pub(crate) fn take_plain(&self, age_max: Duration) -> Option<Inner> {
        self.pools.get()?.plain.take(age_max)
    }

    /// [`Self::put`] for the fast path.
    pub(crate) fn put_plain(&self, connection: Inner, idle_max: usize) {
        if !self.retired.load(Ordering::Relaxed) {
            self.pools.get_or_init(Box::default).plain.put(connection, idle_max);
        }
    }

    /// Closes unused connections and keeps none from now on.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.close_idle(Duration::ZERO);
    }

    /// Closes connections unused for `age`.
    pub(crate) fn close_idle(&self, age: Duration) {
        if let Some(pools) = self.pools.get() {
            pools.driven.close_idle(age);
            pools.plain.close_idle(age);
        }
    }
}

//! Where a label leads right now, and how long to wait when that is nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::answer::Failure;
use crate::server::Proxy;
use crate::table::{Found, Lease, Service, Target};
use crate::upstream::ConnectError;

/// Between two looks at a service that is not ready: the first wait, and the longest.
const LOOK_FIRST: Duration = Duration::from_millis(2);
const LOOK_LONGEST: Duration = Duration::from_millis(25);

/// Finds the endpoint of a label now, and counts the request in there.
pub(crate) fn find(proxy: &Proxy, label: &str) -> Result<(Arc<Service>, Lease), Failure> {
    loop {
        let service = proxy.table.find(label).ok_or(Failure::NoSuchService)?;
        let concurrency = service.limits().concurrency.unwrap_or(proxy.limits.concurrency);
        return match service.lease(concurrency) {
            Found::Lease(lease) => Ok((service, lease)),
            Found::Full => Err(Failure::Busy),
            Found::Not(target) => match &**target {
                Target::Moved => continue,
                Target::Unavailable(reason) => Err(Failure::Unavailable(reason.clone())),
                Target::Stopped => Err(Failure::Stopped),
                Target::Starting | Target::Live(_) => Err(Failure::Starting),
            },
        };
    }
}

/// How long a service may take to the first byte of its answer. One that is a stream of
/// messages may begin with silence.
pub(crate) fn first_byte(proxy: &Proxy, service: &Service, is_stream: bool) -> Duration {
    let usual = if is_stream { proxy.limits.stream_idle } else { proxy.limits.first_byte };
    service.limits().first_byte_ms.map_or(usual, |ms| Duration::from_millis(ms.into()))
}

/// The patience with a service that is not there: short, bounded, and for a
/// bounded number of requests at a time.
pub(crate) struct Wait<'a> {
    proxy: &'a Proxy,
    deadline: Option<Instant>,
    next: Duration,
    held: Option<Held<'a>>,
}

impl<'a> Wait<'a> {
    pub(crate) const fn new(proxy: &'a Proxy) -> Self {
        Self { proxy, deadline: None, next: LOOK_FIRST, held: None }
    }

    /// Waits a moment, or gives `failure` back because waiting will not help.
    pub(crate) async fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        let passes = matches!(failure, Failure::Starting | Failure::Unreachable(ConnectError::Absent(_)));
        if !passes {
            return Err(failure);
        }
        let now = Instant::now();
        let deadline = *self.deadline.get_or_insert(now + self.proxy.limits.patience);
        if now >= deadline {
            return Err(failure);
        }
        if self.held.is_none() {
            self.held = Some(Held::new(self.proxy).ok_or(Failure::HeldFull)?);
        }
        sleep(self.next.min(deadline - now)).await;
        self.next = (self.next * 2).min(LOOK_LONGEST);
        Ok(())
    }
}

/// One of the requests held at a time.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn new(proxy: &'a Proxy) -> Option<Self> {
        let before = proxy.held.fetch_add(1, Ordering::AcqRel);
        let held = Self(&proxy.held);
        (before < proxy.limits.held).then_some(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

//! Accepting visitors, within bounds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{self, Accepted};
use crate::config::{Limits, Serves, Settings};
use crate::host::Hosts;
use crate::metrics::{Limit, Metrics};
use crate::table::Table;
use crate::wire::API_SOCKET;

/// After the kernel could not hand over a connection (out of descriptors, mostly).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection without a request is kept for so long after the proxy began to
/// drain: the next request may be on its way already, and closing would lose it. It
/// is answered, and told that the connection ends.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// What all threads of a proxy share.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) limits: Limits,
    pub(crate) hosts: Hosts,
    pub(crate) table: Table,
    pub(crate) metrics: Metrics,
    pub(crate) api_socket: PathBuf,
    /// Requests waiting for a service that is not there.
    pub(crate) held: AtomicUsize,
    /// Cancelled when no new work is taken any more.
    pub(crate) drain: CancellationToken,
    /// Cancelled once the control plane has sent every route.
    pub(crate) routed: CancellationToken,
    pub(crate) places: Places,
    /// Whether connections begin on the fast path.
    pub(crate) is_fast: bool,
}

impl Proxy {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            limits: settings.limits.clone(),
            hosts: Hosts::new(&settings.host_suffixes, &settings.api_hosts),
            table: Table::default(),
            metrics: Metrics::default(),
            api_socket: settings.run_dir.join(API_SOCKET),
            held: AtomicUsize::new(0),
            drain: CancellationToken::new(),
            routed: CancellationToken::new(),
            places: Places::new(&settings.limits),
            is_fast: settings.fast_path,
        }
    }
}

impl Proxy {
    /// Ready when connections without a request must end, because the proxy drains.
    pub(crate) async fn drained(&self) {
        self.drain.cancelled().await;
        tokio::time::sleep(DRAIN_GRACE).await;
    }
}

/// Accepts on one listener until the proxy drains.
pub(crate) async fn accept(proxy: Arc<Proxy>, listener: TcpListener, serves: Serves, tasks: TaskTracker) {
    let drain = proxy.drain.clone();
    loop {
        let permit = tokio::select! {
            permit = proxy.places.permit(&proxy.metrics) => permit,
            () = drain.cancelled() => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                proxy.metrics.connections.add(1);
                let Some(place) = proxy.places.take(permit, peer.ip()) else {
                    proxy.metrics.limit(Limit::ConnectionsPerAddress);
                    continue;
                };
                let accepted = Accepted { socket, peer, serves, place, tasks: tasks.clone() };
                tasks.spawn(client::serve(Arc::clone(&proxy), accepted));
            }
            Err(error) => {
                proxy.metrics.accept_errors.add(1);
                tracing::debug!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Room for visitors.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    total: usize,
    per_address: usize,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One visitor's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    fn new(limits: &Limits) -> Self {
        let total = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(total)),
            total,
            per_address: limits.connections_per_address,
            addresses: Arc::default(),
        }
    }

    /// Visitors now; those about to be accepted count too.
    pub(crate) fn taken(&self) -> usize {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.values().sum::<usize>().min(self.total)
    }

    /// Waits for room. Until there is some, visitors wait in the kernel's queue.
    async fn permit(&self, metrics: &Metrics) -> OwnedSemaphorePermit {
        if self.free.available_permits() == 0 {
            metrics.limit(Limit::Connections);
        }
        let permit = Arc::clone(&self.free).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Gives a visitor a place, unless its address has too many.
    fn take(&self, permit: OwnedSemaphorePermit, ip: IpAddr) -> Option<Place> {
        let address = neighbourhood(ip);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Place { _permit: permit, address, addresses: Arc::clone(&self.addresses) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: an IPv6 customer owns at least a /64.
fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    }
}

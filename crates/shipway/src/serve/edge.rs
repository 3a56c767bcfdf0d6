//! The proxy, as the rest of `serve` sees it: supervised, fed, kept when it has
//! outlived the `serve` before, and replaced without losing a visitor when it is
//! another version or was told something else.
//!
//! The listening sockets are opened here and handed over, so that they stay open
//! when a proxy dies: visitors wait in the kernel's queue instead of being refused.

mod fleet;
mod found;
mod neighbour;
mod supervisor;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use serde_json::json;
use shipway_api::ReadyCheck;
use shipway_model::ServiceId;
use shipway_model::instance::Endpoint;
use shipway_proxy::wire::CONTROL_SOCKET;
use shipway_proxy::{FeedClient, Limits, Listener, ProxyConfig, Settings, User};
use shipway_stdx::fs::{Durability, write_atomic};
use shipway_stdx::shutdown::Shutdown;
use shipway_worker::Drain;
use tokio::task::JoinSet;

use super::base::Base;
use super::routes::RouteFeed;
use super::serves;
use crate::config::{Config, ListenerConfig, Serves};
use crate::listeners;
use crate::platform::{LISTENERS_FILE, Places};
use crate::program;
use fleet::Connection;
pub(crate) use fleet::{Fleet, Published};
use found::{Found, Verdict};
pub(crate) use neighbour::Neighbour;
use supervisor::Supervisor;

/// How long a deploy waits for the proxy to have its route. A proxy that is away
/// gets it when it comes back.
const APPLY_LIMIT: Duration = Duration::from_secs(5);
/// How long a new proxy waits for its routes before it serves by the last good ones.
const ROUTES_WAIT: Duration = Duration::from_secs(1);
/// How long a new proxy may take to be connected.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long streams and upgraded connections may last when their proxy or their
/// service has been replaced.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);
/// Between two looks at the proxy's counters.
const COUNTERS_EVERY: Duration = Duration::from_secs(2);

/// The proxy as the rest of `serve` sees it.
#[derive(Debug)]
pub(crate) struct Edge {
    fleet: Fleet,
    routes: RouteFeed,
    listeners: Vec<(SocketAddr, Serves)>,
    counters: Arc<RwLock<String>>,
}

impl Edge {
    /// Keeps the proxy that lives, or starts one that takes over from it; then keeps
    /// one running and fed.
    pub(crate) async fn start(base: &Base, shutdown: &Shutdown, parts: &mut JoinSet<()>) -> anyhow::Result<Self> {
        let Base { config, places, store, .. } = base;
        let inherited = listeners::inherited()?;
        let found = found::find(places, shutdown).await?;
        let (mut taking, leaving): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| !found.listeners.is_empty());
        let newest = if taking.is_empty() { None } else { Some(taking.remove(0)) };
        let Succession { supervisor, listeners, before } = succeed(config, places, inherited, newest).await?;
        let newest = Connection::open(places.run_dir.join(CONTROL_SOCKET), &places.instance, shutdown);
        let fleet = Fleet::new(newest);
        leaving.into_iter().for_each(|found| fleet.follow(found.connection));
        let routes = RouteFeed::new(store.clone(), base.engine().map(str::to_owned), fleet.clone());
        let before: Vec<_> = before.into_iter().chain(taking.into_iter().map(|found| found.connection)).collect();
        if let Err(error) = hand_over(&fleet, &routes, before).await {
            // Whoever served until now goes on.
            supervisor.give_up().context("cannot end the new proxy")?;
            return Err(error);
        }
        parts.spawn(supervisor.run(fleet.newest().clone(), shutdown.clone()));
        parts.spawn(routes.clone().run(shutdown.clone()));
        let counters = Arc::new(RwLock::new(String::new()));
        parts.spawn(read_counters(fleet.newest().clone(), Arc::clone(&counters), shutdown.clone()));
        Ok(Self { fleet, routes, listeners, counters })
    }

    /// The addresses listened on; a port 0 of the configuration is a real one here.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(address, _)| *address).collect()
    }

    /// Those of them that the API's rule for loopback holds for.
    pub(crate) fn loopback_addresses(&self) -> Vec<SocketAddr> {
        let api =
            self.listeners.iter().filter(|(address, serves)| address.ip().is_loopback() && *serves != Serves::Services);
        api.map(|(address, _)| *address).collect()
    }

    /// Writes the addresses where programs find them.
    pub(crate) fn announce(&self, places: &Places) -> anyhow::Result<()> {
        let rows: Vec<_> = self
            .listeners
            .iter()
            .map(|(address, serves)| json!({"address": address.to_string(), "serves": serves.word()}))
            .collect();
        let text = serde_json::to_vec(&rows)?;
        Ok(write_atomic(&places.run_dir.join(LISTENERS_FILE), &text, 0o644, Durability::Process)?)
    }

    /// What the worker asks of the proxy.
    pub(crate) fn drain(&self) -> EdgeDrain {
        EdgeDrain { fleet: self.fleet.clone(), routes: self.routes.clone() }
    }

    /// For `/readyz`.
    pub(crate) fn ready_check(&self) -> ReadyCheck {
        let feed = self.fleet.newest().clone();
        let check = move || -> shipway_api::CheckResult {
            let connected = feed.is_connected();
            Box::pin(async move { if connected { Ok(()) } else { Err("the proxy is not connected".to_owned()) } })
        };
        ReadyCheck { name: "proxy", check: Arc::new(check) }
    }

    /// The proxy's counters as they were at the last look.
    pub(crate) fn metrics(&self) -> impl Fn() -> String + Send + Sync + 'static {
        let counters = Arc::clone(&self.counters);
        move || counters.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who supervises from now on, and whom the new proxy takes over from.
struct Succession {
    supervisor: Supervisor,
    listeners: Vec<(SocketAddr, Serves)>,
    before: Option<Connection>,
}

/// Keeps the newest living proxy, or starts the next one on its sockets.
async fn succeed(
    config: &Config,
    places: &Places,
    inherited: Vec<Listener>,
    newest: Option<Found>,
) -> anyhow::Result<Succession> {
    let settings = settings(config, places)?;
    let Some(Found { connection, peer, listeners, .. }) = newest else {
        let sockets = sockets(config, inherited)?;
        let listeners = addresses(&sockets)?;
        let supervisor = Supervisor::starting(ProxyConfig { settings, listeners: sockets }).await?;
        return Ok(Succession { supervisor, listeners, before: None });
    };
    // Not knowing (without root) counts as the same.
    let same = program::is_own(peer.pid).unwrap_or(true);
    let listens = addresses(&listeners)?;
    let verdict = found::judge(same, peer.settings.as_deref(), &settings, &listens, &config.listeners);
    let sockets = sockets(config, listeners)?;
    let listeners = addresses(&sockets)?;
    let config = ProxyConfig { settings, listeners: sockets };
    match verdict {
        Verdict::Keep => {
            tracing::info!(pid = peer.pid, "adopted the living proxy");
            let supervisor = Supervisor::adopting(config);
            Ok(Succession { supervisor, listeners, before: None })
        }
        Verdict::Replace(reason) => {
            tracing::info!(pid = peer.pid, reason, "another proxy takes over from the living one");
            let supervisor = Supervisor::starting(config).await?;
            Ok(Succession { supervisor, listeners, before: Some(connection) })
        }
    }
}

/// Feeds the newest proxy; once it goes by the routes, those before it take nobody new.
async fn hand_over(fleet: &Fleet, routes: &RouteFeed, before: Vec<Connection>) -> anyhow::Result<()> {
    fleet.newest().connected(CONNECT_LIMIT).await.context("the proxy does not answer")?;
    let published = routes.refresh().await?;
    fleet.applied(&published, APPLY_LIMIT).await.context("the proxy does not take the routes")?;
    for proxy in before {
        fleet.dismiss(proxy, IDLE_LIMIT).await.context("cannot send the proxy of before away")?;
    }
    // Those that leave hear of routes from the feed, which is about to run.
    Ok(())
}

/// The sockets that are wanted: of those that are `there` already (a living proxy's,
/// or the service manager's), where they are the same, else opened.
fn sockets(config: &Config, mut there: Vec<Listener>) -> anyhow::Result<Vec<Listener>> {
    let mut one = |wanted: &ListenerConfig| {
        let is_wanted = |listener: &Listener| {
            listener.socket.local_addr().is_ok_and(|address| found::is_wanted(address, wanted.address))
        };
        let socket = match there.iter().position(is_wanted) {
            Some(at) => there.remove(at).socket,
            None => listeners::open(wanted.address)?,
        };
        Ok(Listener { name: wanted.address.to_string(), serves: serves(wanted.serves), socket })
    };
    config.listeners.iter().map(&mut one).collect()
}

fn addresses(sockets: &[Listener]) -> anyhow::Result<Vec<(SocketAddr, Serves)>> {
    let one = |listener: &Listener| {
        let serves = match listener.serves {
            shipway_proxy::Serves::Api => Serves::Api,
            shipway_proxy::Serves::Services => Serves::Services,
            shipway_proxy::Serves::Both => Serves::Both,
        };
        Ok((listener.socket.local_addr()?, serves))
    };
    sockets.iter().map(one).collect()
}

fn settings(config: &Config, places: &Places) -> anyhow::Result<Settings> {
    let limits = Limits {
        connections: config.connections_max,
        connections_per_address: config.connections_per_address_max,
        ..Limits::default()
    };
    Ok(Settings {
        run_dir: places.run_dir.clone(),
        snapshot_dir: places.routes_folder().context("cannot make the proxy's folder")?,
        user: rustix::process::geteuid().is_root().then_some(User { uid: places.proxy.uid, gid: places.proxy.gid }),
        host_suffixes: vec![config.host.clone()],
        api_hosts: vec![config.api_host.clone()],
        instance: places.instance.clone(),
        threads: 0,
        routes_wait: ROUTES_WAIT,
        fast_path: true,
        limits,
    })
}

async fn read_counters(feed: FeedClient, counters: Arc<RwLock<String>>, mut shutdown: Shutdown) {
    loop {
        if let Ok(text) = feed.metrics().await {
            *counters.write().unwrap_or_else(PoisonError::into_inner) = text;
        }
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(COUNTERS_EVERY) => {}
        }
    }
}

/// Knows when visitors have moved on.
#[derive(Debug, Clone)]
pub(crate) struct EdgeDrain {
    fleet: Fleet,
    routes: RouteFeed,
}

#[async_trait]
impl Drain for EdgeDrain {
    async fn published(&self, service: ServiceId) {
        match self.routes.refresh().await {
            Ok(published) => {
                if let Err(error) = self.fleet.applied(&published, APPLY_LIMIT).await {
                    tracing::warn!(service.id = %service, %error, "the proxy does not have the route yet");
                }
            }
            Err(error) => tracing::warn!(service.id = %service, %error, "the routes cannot be read"),
        }
    }

    async fn idle(&self, endpoint: &Endpoint) {
        if !self.fleet.wait_idle(endpoint, IDLE_LIMIT).await {
            tracing::info!(?endpoint, "an old instance still has visitors and is stopped");
        }
    }
}

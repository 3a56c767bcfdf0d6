//! The proxy, supervised: started, fed, started again when it dies, adopted when
//! it has outlived the `serve` before.
//!
//! The listening sockets are opened here and handed over, so that they stay open
//! when a proxy dies: visitors wait in the kernel's queue instead of being refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;
use shipway_api::ReadyCheck;
use shipway_model::ServiceId;
use shipway_model::instance::Endpoint;
use shipway_proxy::wire::CONTROL_SOCKET;
use shipway_proxy::{FeedClient, Limits, Listener, ProxyConfig, Settings, User, startup};
use shipway_stdx::backoff::Backoff;
use shipway_stdx::fs::{Durability, write_atomic};
use shipway_stdx::shutdown::Shutdown;
use shipway_store::Store;
use shipway_worker::Drain;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use super::routes::RouteFeed;
use super::serves;
use crate::config::{Config, Serves};
use crate::listeners;
use crate::platform::{LISTENERS_FILE, Places};

/// How long a living proxy may take to answer before it counts as dead.
const ADOPTION_LIMIT: Duration = Duration::from_secs(3);
/// How long a deploy waits for the proxy to have its route. A proxy that is away
/// gets it when it comes back.
const APPLY_LIMIT: Duration = Duration::from_secs(5);
/// How long an old instance may keep a stream or an upgraded connection open.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);
/// A proxy that dies at once is not started in a tight loop.
const RESTARTS: Backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_secs(5) };
/// A proxy that has run so long starts afresh with its failures.
const STEADY: Duration = Duration::from_secs(30);
/// Between two looks at the proxy's counters.
const COUNTERS_EVERY: Duration = Duration::from_secs(2);

/// The proxy as the rest of `serve` sees it.
#[derive(Debug)]
pub(crate) struct Edge {
    feed: FeedClient,
    routes: RouteFeed,
    listeners: Vec<(SocketAddr, Serves)>,
    counters: Arc<RwLock<String>>,
}

impl Edge {
    /// Adopts the proxy that lives, or starts one; then keeps one running and fed.
    pub(crate) async fn start(
        config: &Config,
        places: &Places,
        store: &Store,
        shutdown: &Shutdown,
        parts: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let socket = places.run_dir.join(CONTROL_SOCKET);
        // Asked before the feed connects: the proxy talks to whoever came last.
        let lives = std::os::unix::net::UnixStream::connect(&socket).is_ok();
        let (feed, task) = FeedClient::new(socket.clone(), places.instance.clone());
        parts.spawn(task.run(shutdown.clone()));
        let adopted = if lives { adopt(config, &feed, &socket).await? } else { None };
        let (sockets, is_adopted) = match adopted {
            Some(sockets) => (sockets, true),
            None => (open(config)?, false),
        };
        let listeners = addresses(&sockets)?;
        let supervisor = Supervisor { config: proxy_config(config, places, sockets)?, is_adopted, feed: feed.clone() };
        parts.spawn(supervisor.run(shutdown.clone()));
        let routes = RouteFeed::new(store.clone(), feed.clone());
        parts.spawn(routes.clone().run(shutdown.clone()));
        let counters = Arc::new(RwLock::new(String::new()));
        parts.spawn(read_counters(feed.clone(), Arc::clone(&counters), shutdown.clone()));
        Ok(Self { feed, routes, listeners, counters })
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
        EdgeDrain { feed: self.feed.clone(), routes: self.routes.clone() }
    }

    /// For `/readyz`.
    pub(crate) fn ready_check(&self) -> ReadyCheck {
        let feed = self.feed.clone();
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

/// Takes over a living proxy's listeners, if they are the ones that are wanted.
async fn adopt(config: &Config, feed: &FeedClient, socket: &Path) -> anyhow::Result<Option<Vec<Listener>>> {
    if feed.connected(ADOPTION_LIMIT).await.is_err() {
        bail!("a proxy lives at {} and does not talk to this Shipway; end it first", socket.display());
    }
    let sockets = feed.listeners().await.context("cannot take over the listeners of the living proxy")?;
    let same = |(wanted, socket): (&crate::config::ListenerConfig, &Listener)| {
        let Ok(address) = socket.socket.local_addr() else { return false };
        let port = wanted.address.port();
        wanted.address.ip() == address.ip()
            && (port == 0 || port == address.port())
            && serves(wanted.serves) == socket.serves
    };
    if sockets.len() == config.listeners.len() && config.listeners.iter().zip(&sockets).all(same) {
        tracing::info!("adopted the living proxy");
        return Ok(Some(sockets));
    }
    tracing::info!("the living proxy listens elsewhere; another takes its place");
    drop(sockets);
    feed.drain_and_exit(ADOPTION_LIMIT).await.context("cannot end the living proxy")?;
    Ok(None)
}

fn open(config: &Config) -> anyhow::Result<Vec<Listener>> {
    let open = |wanted: &crate::config::ListenerConfig| {
        let socket = listeners::open(wanted.address)?;
        Ok(Listener { name: wanted.address.to_string(), serves: serves(wanted.serves), socket })
    };
    config.listeners.iter().map(open).collect()
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

fn proxy_config(config: &Config, places: &Places, listeners: Vec<Listener>) -> anyhow::Result<ProxyConfig> {
    let limits = Limits {
        connections: config.connections_max,
        connections_per_address: config.connections_per_address_max,
        ..Limits::default()
    };
    let settings = Settings {
        run_dir: places.run_dir.clone(),
        snapshot_dir: places.routes_folder().context("cannot make the proxy's folder")?,
        user: rustix::process::geteuid().is_root().then_some(User { uid: places.proxy.uid, gid: places.proxy.gid }),
        host_suffixes: vec![config.host.clone()],
        api_hosts: vec![config.api_host.clone()],
        instance: places.instance.clone(),
        threads: 0,
        fast_path: true,
        limits,
    };
    Ok(ProxyConfig { settings, listeners })
}

/// Keeps one proxy running.
struct Supervisor {
    config: ProxyConfig,
    is_adopted: bool,
    feed: FeedClient,
}

impl Supervisor {
    async fn run(mut self, mut shutdown: Shutdown) {
        let mut failures = 0;
        while !shutdown.is_requested() {
            let began = tokio::time::Instant::now();
            tokio::select! {
                () = self.until_dead() => {}
                () = shutdown.requested() => return,
            }
            failures = if began.elapsed() > STEADY { 1 } else { failures + 1 };
            tracing::warn!(failures, "the proxy is gone; starting another");
            tokio::select! {
                () = tokio::time::sleep(RESTARTS.wait_after(failures)) => {}
                () = shutdown.requested() => return,
            }
        }
    }

    /// Runs one proxy until it is no more. A child is waited for; an adopted one is
    /// nobody's child here, and known by its connection.
    async fn until_dead(&mut self) {
        if std::mem::take(&mut self.is_adopted) {
            self.feed.disconnected().await;
            return;
        }
        match self.spawn() {
            Ok(child) => reap(child).await,
            Err(error) => tracing::error!(error = format!("{error:#}"), "cannot start the proxy"),
        }
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
        let run_dir = self.config.settings.run_dir.to_string_lossy();
        Ok(startup::start(&program, &["proxy", "--run-dir", &run_dir], &self.config)?)
    }
}

/// Waits until a child has ended, by a descriptor: a blocked thread would hold up
/// the end of this process.
async fn reap(mut child: Child) {
    let ended = async {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidInput)?;
        #[expect(deprecated, reason = "sound for an owned descriptor; its successor is an unsafe function")]
        let descriptor = AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::NONBLOCK)?, Interest::READABLE)?;
        drop(descriptor.readable().await?);
        child.wait()
    };
    match ended.await {
        Ok(status) => tracing::warn!(%status, "the proxy ended"),
        Err(error) => tracing::error!(%error, "the proxy cannot be waited for"),
    }
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
    feed: FeedClient,
    routes: RouteFeed,
}

#[async_trait]
impl Drain for EdgeDrain {
    async fn published(&self, service: ServiceId) {
        match self.routes.refresh().await {
            Ok(generation) => {
                if let Err(error) = self.feed.applied(generation, APPLY_LIMIT).await {
                    tracing::warn!(service.id = %service, %error, "the proxy does not have the route yet");
                }
            }
            Err(error) => tracing::warn!(service.id = %service, %error, "the routes cannot be read"),
        }
    }

    async fn idle(&self, endpoint: &Endpoint) {
        if !self.feed.wait_idle(endpoint, IDLE_LIMIT).await {
            tracing::info!(?endpoint, "an old instance still has visitors and is stopped");
        }
    }
}

//! `shipway serve`: the parts built, plugged together and run until told to stop.
//!
//! Killing this process at any instruction loses nothing that was answered: the
//! proxy and the containers go on, and the next `serve` finds them again. Being
//! asked to stop (SIGTERM, SIGINT) is only the polite form of that, and making room
//! for another version (SIGHUP) is the same with a successor.

pub(crate) mod database;
mod edge;
mod housekeeping;
mod images;
mod live;
mod recorder;
mod routes;
mod service_manager;
pub(crate) mod successor;
mod warm;

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use shipway_api::{ApiConfig, Contract, Contracts, Door, OpenLoopback, Parts};
use shipway_driver::Driver;
use shipway_fetch::{Blobs, FetchConfig, Fetcher};
use shipway_proxy::wire::API_SOCKET;
use shipway_stdx::clock::HostClock;
use shipway_stdx::shutdown::{self, Shutdown};
use shipway_store::Claimant;
use shipway_worker::{Worker, WorkerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::admin_token;
use crate::config::{Config, OpenTo, Serves};
use crate::facts::Facts;
use crate::platform::{self, ADMIN_SOCKET, Places};
use crate::program;
use crate::state_dir::StateDir;
use edge::Edge;
use images::HostedImages;
use live::WorkerLive;

/// The mode of sockets that only their owner may open.
const OWNER_ONLY: u32 = 0o600;
/// How often the main loop turns when nobody watches.
const NO_WATCHDOG: Duration = Duration::from_secs(60);

/// Runs the platform until it is asked to stop.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let file = program::named("self")?;
    let metrics = recorder::install()?;
    let state = StateDir::open(&config.state_dir)?;
    let places = Places::open(&config, &state)?;
    let store = database::open(&config, &state, &places).await?;
    admin_token::ensure(&store, &state.join("admin-token")).await?;
    let blobs = Blobs::open(&state.join("blobs")).context("cannot open the content store")?;
    let fetcher = Fetcher::new(fetch_config(&config)?)?;
    let driver = platform::open_driver(&config, &state, &places).await?;
    let shared: Arc<dyn Driver> = Arc::new(driver.clone());

    let (stop, shutdown) = shutdown::channel();
    let mut parts = JoinSet::new();
    let edge = Edge::start(&config, &places, &store, &shutdown, &mut parts).await?;
    let worker = Worker::new(
        worker_config(&config, &places),
        shipway_worker::Parts {
            store: store.clone(),
            driver: Arc::clone(&shared),
            fetcher: fetcher.clone(),
            blobs: blobs.clone(),
            clock: Arc::new(HostClock),
            drain: Arc::new(edge.drain()),
        },
    );
    let live = Arc::new(WorkerLive::new(worker.live(), edge.drain()));
    parts.spawn(worker.run(shutdown.clone()));
    housekeeping::start(&config, &store, &blobs, &driver, &shutdown, &mut parts);
    let (host_image, made) = warm::begin(shared, shutdown.clone());
    parts.spawn(made);
    let api = Parts {
        store,
        blobs,
        fetcher,
        live,
        images: Arc::new(HostedImages::new(driver.clone(), state.join("layers"))),
        metrics: metrics_text(metrics, &edge),
        checks: vec![edge.ready_check(), host_image],
        shutdown: shutdown.clone(),
    };
    let router = shipway_api::build(api_config(&config, &edge.addresses()), api);
    serve_api(&config, &places, &edge, router, &shutdown, &mut parts).await?;
    edge.announce(&places)?;
    for address in edge.addresses() {
        tracing::info!(%address, host = config.host, "shipway serves");
    }
    if config.api_open == OpenTo::Loopback {
        tracing::info!("root and the user that started Shipway need no token on loopback (api.open)");
    }
    service_manager::ready();
    successor::tell_ready(&places.run_dir);
    let end = wait_for_end(&mut parts, &file, &places.run_dir).await?;
    tracing::info!("stopping; services go on");
    if matches!(end, End::Stop) {
        service_manager::stopping();
    }
    stop.request();
    while let Some(ended) = parts.join_next().await {
        ended.context("a part ended badly")?;
    }
    driver.close().await;
    drop(state);
    match end {
        End::Stop => Ok(()),
        End::HandOver(next) => hand_over(&file, &places.run_dir, &next).await,
    }
}

/// Starts the next version, which finds everything as a killed `serve` leaves it.
async fn hand_over(file: &Path, run_dir: &Path, next: &Facts) -> anyhow::Result<()> {
    match successor::start(file, run_dir).await {
        Ok(pid) => {
            service_manager::succeeded_by(pid);
            tracing::info!(pid, version = next.version, "the next version serves");
            successor::done(run_dir, next)
        }
        Err(reason) => successor::go_back(run_dir, next, &reason),
    }
}

fn worker_config(config: &Config, places: &Places) -> WorkerConfig {
    WorkerConfig {
        claimant: Claimant { project_max: config.project_max, ..database::claimant(config, places) },
        concurrency: config.worker_concurrency,
        lease: config.lease,
        ..WorkerConfig::default()
    }
}

fn fetch_config(config: &Config) -> anyhow::Result<FetchConfig> {
    Ok(FetchConfig {
        allow: config.fetch_allow.parse()?,
        cap_bytes: config.fetch_limit_bytes,
        ..FetchConfig::default()
    })
}

fn api_config(config: &Config, addresses: &[SocketAddr]) -> ApiConfig {
    let contract = if config.url_deploy { Contract::Authorised } else { Contract::Off };
    ApiConfig {
        host: config.host.clone(),
        api_hosts: BTreeSet::from([config.api_host.clone()]),
        public_port: config.public_port(addresses),
        contracts: Contracts { url_deploy: contract },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        upload_bytes_max: config.fetch_limit_bytes,
        project_max: config.project_max,
        silent_after: config.lease.heartbeat,
        ..ApiConfig::default()
    }
}

/// The API's two doors: one for people on this machine, one for the proxy.
async fn serve_api(
    config: &Config,
    places: &Places,
    edge: &Edge,
    router: shipway_api::Router,
    shutdown: &Shutdown,
    parts: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let me = rustix::process::getuid().as_raw();
    let admin = shipway_api::bind_unix(&places.run_dir.join(ADMIN_SOCKET), OWNER_ONLY)
        .await
        .context("cannot open the API's socket")?;
    parts.spawn(shipway_api::serve_unix(admin, Door::Admin { uids: vec![0, me] }, router.clone(), shutdown.clone()));
    let path = places.run_dir.join(API_SOCKET);
    let listener =
        shipway_api::bind_unix(&path, OWNER_ONLY).await.context("cannot open the proxy's socket to the API")?;
    std::os::unix::fs::chown(&path, Some(places.proxy.uid), Some(places.proxy.gid))?;
    let loopback = edge.loopback_addresses();
    let open = (config.api_open == OpenTo::Loopback).then(|| OpenLoopback { listeners: loopback, uids: vec![0, me] });
    let door = Door::Edge { proxy_uids: vec![places.proxy.uid], open };
    parts.spawn(shipway_api::serve_unix(listener, door, router, shutdown.clone()));
    Ok(())
}

/// Our own counters, and the proxy's, which is a process of its own.
fn metrics_text(handle: PrometheusHandle, edge: &Edge) -> shipway_api::MetricsText {
    let proxy = edge.metrics();
    Arc::new(move || format!("{}{}", handle.render(), proxy()))
}

/// Why `serve` ends.
enum End {
    /// It was told to.
    Stop,
    /// Another version is to go on.
    HandOver(Facts),
}

/// Waits for a signal, or for a part that ended although nobody asked. Meanwhile the
/// service manager hears that this loop turns.
async fn wait_for_end(parts: &mut JoinSet<()>, file: &Path, run_dir: &Path) -> anyhow::Result<End> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let watchdog = service_manager::watchdog();
    let mut beat = tokio::time::interval(watchdog.unwrap_or(NO_WATCHDOG));
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(End::Stop),
            _ = interrupt.recv() => return Ok(End::Stop),
            // A terminal that was closed is not an upgrade.
            _ = hangup.recv() => if std::io::stdin().is_terminal() {
                return Ok(End::Stop);
            } else if let Some(next) = look_at_next(file, run_dir).await? {
                return Ok(End::HandOver(next));
            },
            _ = beat.tick() => service_manager::alive(),
            Some(ended) = parts.join_next() => {
                ended.context("a part ended badly")?;
                anyhow::bail!("a part of the platform ended although nobody asked it to; see the log")
            }
        }
    }
}

/// What is in place of the running file now, if it may follow.
async fn look_at_next(file: &Path, run_dir: &Path) -> anyhow::Result<Option<Facts>> {
    match successor::check(file.to_owned()).await {
        Ok(next) => {
            tracing::info!(version = next.version, file = %file.display(), "making room for another version");
            Ok(Some(next))
        }
        Err(reason) => {
            tracing::error!(reason = format!("{reason:#}"), "the upgrade is refused; nothing has changed");
            service_manager::status("serving; the last upgrade was refused, see the log");
            successor::Outcome::refused(&reason).record(run_dir)?;
            Ok(None)
        }
    }
}

/// What a listener serves, in the proxy's words.
const fn serves(serves: Serves) -> shipway_proxy::Serves {
    match serves {
        Serves::Api => shipway_proxy::Serves::Api,
        Serves::Services => shipway_proxy::Serves::Services,
        Serves::Both => shipway_proxy::Serves::Both,
    }
}

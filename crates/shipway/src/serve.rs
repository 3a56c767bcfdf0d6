//! `shipway serve`: the parts built, plugged together and run until told to stop.
//!
//! Killing this process at any instruction loses nothing that was answered: the
//! proxy and the containers go on, and the next `serve` finds them again. Being
//! asked to stop (SIGTERM, SIGINT) is only the polite form of that.

mod edge;
mod live;
mod routes;
mod warm;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use shipway_api::{ApiConfig, Contract, Contracts, Door, OpenLoopback, Parts};
use shipway_driver::Driver;
use shipway_fetch::{Blobs, FetchConfig, Fetcher};
use shipway_proxy::wire::API_SOCKET;
use shipway_stdx::clock::HostClock;
use shipway_stdx::shutdown::{self, Shutdown};
use shipway_store::Store;
use shipway_worker::{Worker, WorkerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::admin_token;
use crate::config::{Config, OpenTo, Serves};
use crate::platform::{self, ADMIN_SOCKET, Places};
use crate::state_dir::StateDir;
use edge::Edge;
use live::WorkerLive;

/// The mode of sockets that only their owner may open.
const OWNER_ONLY: u32 = 0o600;

/// Runs the platform until it is asked to stop.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let metrics = PrometheusBuilder::new().install_recorder().context("cannot record metrics")?;
    let state = StateDir::open(&config.state_dir)?;
    let places = Places::open(&config, &state)?;
    let store = Store::open(&state.join("shipway.sqlite")).await?;
    // The only process of this state directory: whatever was running runs no more.
    store.rescue(true).await?;
    admin_token::ensure(&store, &state.join("admin-token")).await?;
    let blobs = Blobs::open(&state.join("blobs")).context("cannot open the content store")?;
    let fetcher = Fetcher::new(fetch_config(&config)?)?;
    let driver = platform::open_driver(&state, &places).await?;
    let shared: Arc<dyn Driver> = Arc::new(driver.clone());

    let (stop, shutdown) = shutdown::channel();
    let mut parts = JoinSet::new();
    let edge = Edge::start(&config, &places, &store, &shutdown, &mut parts).await?;
    let worker = Worker::new(
        WorkerConfig { concurrency: config.worker_concurrency, ..WorkerConfig::default() },
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
    let (host_image, made) = warm::begin(shared, shutdown.clone());
    parts.spawn(made);
    let api = Parts {
        store,
        blobs,
        fetcher,
        live,
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
    wait_for_end(&mut parts).await?;
    tracing::info!("stopping; services go on");
    stop.request();
    while let Some(ended) = parts.join_next().await {
        ended.context("a part ended badly")?;
    }
    driver.close().await;
    Ok(())
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

/// Waits for a signal to stop, or for a part that ended although nobody asked.
async fn wait_for_end(parts: &mut JoinSet<()>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(ended) = parts.join_next() => {
            ended.context("a part ended badly")?;
            anyhow::bail!("a part of the platform ended although nobody asked it to; see the log")
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

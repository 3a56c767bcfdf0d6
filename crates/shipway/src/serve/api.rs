//! The role `api`: the routes, and the two doors to them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use shipway_api::{ApiConfig, BuildParts, Contract, Contracts, Door, OpenLoopback, Parts, ReadyCheck};
use shipway_engine::layers::Layers;
use shipway_proxy::wire::API_SOCKET;
use shipway_stdx::shutdown::Shutdown;
use tokio::task::JoinSet;

use super::base::Base;
use super::edge::Edge;
use super::images::HostedImages;
use super::lives::Lives;
use super::worker::Working;
use crate::config::{Config, OpenTo, Serves};
use crate::platform::ADMIN_SOCKET;

/// The mode of sockets that only their owner may open.
const OWNER_ONLY: u32 = 0o600;

/// What else is in this process.
pub(super) struct Rest<'a> {
    pub(super) edge: Option<&'a Edge>,
    pub(super) worker: Option<&'a Working>,
    pub(super) layers: Arc<Layers>,
    pub(super) builds: Option<BuildParts>,
}

/// Opens the doors. The other roles of this process, if it has them, are asked directly.
pub(super) async fn start(
    base: &Base,
    rest: Rest<'_>,
    metrics: PrometheusHandle,
    shutdown: &Shutdown,
    parts: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let Rest { edge, worker, layers, builds } = rest;
    let here = worker.map(|worker| Arc::clone(&worker.live));
    let engine = base.engine().map(str::to_owned);
    let api = Parts {
        store: base.store.clone(),
        blobs: base.blobs.clone(),
        fetcher: base.fetcher.clone(),
        live: Arc::new(Lives::new(base.store.clone(), engine, here)),
        // Trees lie where the engine of this installation finds them, whoever runs it.
        images: Arc::new(HostedImages::new(layers, base.layers())),
        builds,
        metrics: metrics_text(metrics, edge),
        checks: checks(edge, worker),
        shutdown: shutdown.clone(),
    };
    let addresses = addresses(&base.config, edge);
    let router = shipway_api::build(config(&base.config, &addresses), api);
    open(base, router, edge, shutdown, parts).await
}

/// What of this process has to be there.
pub(super) fn checks(edge: Option<&Edge>, worker: Option<&Working>) -> Vec<ReadyCheck> {
    edge.map(Edge::ready_check).into_iter().chain(worker.map(|worker| worker.host_image.clone())).collect()
}

/// What is listened on: as it was opened, or as another process was told to.
fn addresses(config: &Config, edge: Option<&Edge>) -> Vec<SocketAddr> {
    let told = || config.listeners.iter().map(|listener| listener.address).collect();
    edge.map_or_else(told, Edge::addresses)
}

fn config(config: &Config, addresses: &[SocketAddr]) -> ApiConfig {
    let contract = if config.url_deploy { Contract::Authorised } else { Contract::Off };
    ApiConfig {
        host: config.host.clone(),
        api_hosts: BTreeSet::from([config.api_host.clone()]),
        public_port: config.public_port(addresses),
        contracts: Contracts { url_deploy: contract },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        upload_bytes_max: config.fetch_limit_bytes,
        project_max: config.worker.project_max,
        silent_after: config.worker.lease.heartbeat,
        ..ApiConfig::default()
    }
}

/// The API's two doors: one for people on this machine, one for the proxy.
async fn open(
    base: &Base,
    router: shipway_api::Router,
    edge: Option<&Edge>,
    shutdown: &Shutdown,
    parts: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let (config, places) = (&base.config, &base.places);
    let me = rustix::process::getuid().as_raw();
    let admin = shipway_api::bind_unix(&base.run_dir().join(ADMIN_SOCKET), OWNER_ONLY)
        .await
        .context("cannot open the API's socket")?;
    parts.spawn(shipway_api::serve_unix(admin, Door::Admin { uids: vec![0, me] }, router.clone(), shutdown.clone()));
    let path = base.run_dir().join(API_SOCKET);
    let listener =
        shipway_api::bind_unix(&path, OWNER_ONLY).await.context("cannot open the proxy's socket to the API")?;
    std::os::unix::fs::chown(&path, Some(places.proxy.uid), Some(places.proxy.gid))?;
    let listeners = edge.map_or_else(|| told_loopback(config), Edge::loopback_addresses);
    let open = (config.api_open == OpenTo::Loopback).then(|| OpenLoopback { listeners, uids: vec![0, me] });
    let door = Door::Edge { proxy_uids: vec![places.proxy.uid], open };
    parts.spawn(shipway_api::serve_unix(listener, door, router, shutdown.clone()));
    Ok(())
}

fn told_loopback(config: &Config) -> Vec<SocketAddr> {
    let is_api = |serves| serves != Serves::Services;
    let ours = config.listeners.iter().filter(|one| one.address.ip().is_loopback() && is_api(one.serves));
    ours.map(|listener| listener.address).collect()
}

/// Our own counters, and the proxy's, which is a process of its own.
pub(super) fn metrics_text(handle: PrometheusHandle, edge: Option<&Edge>) -> shipway_api::MetricsText {
    let proxy = edge.map(Edge::metrics);
    Arc::new(move || {
        let proxy = proxy.as_ref().map(|proxy| proxy()).unwrap_or_default();
        format!("{}{proxy}", handle.render())
    })
}

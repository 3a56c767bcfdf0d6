//! The role `worker`: the engine of this host, and what works on it.

use std::sync::Arc;

use anyhow::Context as _;
use shipway_api::{Live, ReadyCheck};
use shipway_driver::Driver;
use shipway_driver_embedded::EmbeddedDriver;
use shipway_model::StreamDoor;
use shipway_relay::Identity;
use shipway_stdx::clock::HostClock;
use shipway_stdx::shutdown::{self, Shutdown, ShutdownSender};
use shipway_worker::{Drain, LiveStreams, Orders, OwnTrees, Trees, Worker, WorkerConfig};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::base::Base;
use super::builds::Ground;
use super::database::patiently;
use super::images::HostTrees;
use super::live::WorkerLive;
use super::warm;
use crate::platform;

/// The worker of this process, under way.
#[derive(Debug)]
pub(super) struct Working {
    pub(super) driver: EmbeddedDriver,
    /// What runs here, for whoever asks.
    pub(super) live: Arc<dyn Live>,
    /// Whether the host image is there.
    pub(super) host_image: ReadyCheck,
    pub(super) finish: ShutdownSender,
    pub(super) leave: ShutdownSender,
    pub(super) ended: JoinHandle<()>,
}

/// Takes possession of the engine and begins to work.
pub(super) async fn start(
    base: &Base,
    drain: Arc<dyn Drain>,
    builds: Option<&Ground>,
    shutdown: &Shutdown,
    parts: &mut JoinSet<()>,
) -> anyhow::Result<Working> {
    patiently("take back the tasks of before", async || take_back(base).await).await?;
    let benches = builds.and_then(|builds| builds.benches(base));
    let driver = platform::open_driver(&base.config, &base.state, &base.places, benches).await?;
    let farming = match builds {
        Some(builds) => builds.farming(base, &driver).await?,
        None => None,
    };
    let labels = builds.filter(|_| farming.is_some()).map(Ground::labels).unwrap_or_default();
    let shared: Arc<dyn Driver> = Arc::new(driver.clone());
    let streams = LiveStreams::new(base.store.clone(), Arc::clone(&shared));
    let live: Arc<dyn Live> = Arc::new(WorkerLive::new(streams, Arc::clone(&drain)));
    let door = open_door(base, Arc::clone(&live), shutdown, parts).await?;
    let worker = Worker::new(
        config(base, labels, door),
        shipway_worker::Parts {
            store: base.store.clone(),
            driver: Arc::clone(&shared),
            fetcher: base.fetcher.clone(),
            blobs: base.blobs.clone(),
            clock: Arc::new(HostClock),
            drain,
            trees: trees(base, &driver),
            farming,
            preemption: preemption(base)?,
        },
    );
    let (host_image, made) = warm::begin(shared, shutdown.clone());
    parts.spawn(made);
    let (finish, may_finish) = shutdown::channel();
    let (leave, may_leave) = shutdown::channel();
    let ended = tokio::spawn(worker.run(Orders { finish: may_finish, leave: may_leave }));
    Ok(Working { driver, live, host_image, finish, leave, ended })
}

/// Tasks that this installation held when it ended are claimable again at once.
async fn take_back(base: &Base) -> anyhow::Result<()> {
    if base.store.is_shared() {
        base.store.rescue_worker(&base.claimant().worker).await?;
    } else {
        // The only process of this database: whatever was running runs no more.
        base.store.rescue(true).await?;
    }
    Ok(())
}

fn config(base: &Base, labels: Vec<String>, streams: Option<StreamDoor>) -> WorkerConfig {
    let settings = &base.config.worker;
    let mut claimant = base.claimant();
    claimant.labels.extend(labels);
    WorkerConfig {
        claimant,
        host: platform::host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        streams,
        concurrency: settings.concurrency,
        lease: settings.lease,
        drain: settings.drain,
        ..WorkerConfig::default()
    }
}

/// Answers other processes' questions for what flows here, where there are any.
async fn open_door(
    base: &Base,
    live: Arc<dyn Live>,
    shutdown: &Shutdown,
    parts: &mut JoinSet<()>,
) -> anyhow::Result<Option<StreamDoor>> {
    if !base.store.is_shared() {
        return Ok(None);
    }
    let settings = &base.config.worker;
    let identity = Identity::make()?;
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {} (`worker.listen`)", settings.listen))?;
    let own = listener.local_addr()?.to_string();
    let door = StreamDoor {
        address: settings.address.clone().unwrap_or(own),
        certificate: identity.certificate().to_owned(),
        secret: identity.secret().to_owned(),
    };
    parts.spawn(shipway_relay::serve(listener, identity, live, shutdown.clone()));
    Ok(Some(door))
}

fn trees(base: &Base, driver: &EmbeddedDriver) -> Arc<dyn Trees> {
    if base.store.is_shared() {
        Arc::new(HostTrees::new(Arc::clone(driver.layers()), base.layers()))
    } else {
        Arc::new(OwnTrees)
    }
}

fn preemption(base: &Base) -> anyhow::Result<Option<Box<dyn shipway_preempt::Preemption>>> {
    let Some(settings) = &base.config.worker.preemption else { return Ok(None) };
    let watch = shipway_preempt::watch(settings.provider, settings.poll_interval, settings.address.as_deref());
    Ok(Some(watch.context("cannot watch for the end of this machine (`worker.preemption`)")?))
}

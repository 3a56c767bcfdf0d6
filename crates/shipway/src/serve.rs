//! `shipway serve`: the parts built, plugged together and run until told to stop.
//!
//! Killing this process at any instruction loses nothing that was answered: the
//! proxy and the containers go on, and the next `serve` finds them again. Being
//! asked to stop (SIGTERM, SIGINT) is only the polite form of that, and making room
//! for another version (SIGHUP) is the same with a successor.

mod api;
mod base;
mod builds;
pub(crate) mod database;
mod edge;
mod housekeeping;
mod images;
mod live;
mod lives;
mod recorder;
mod routes;
mod service_manager;
mod status;
pub(crate) mod successor;
mod warm;
mod worker;

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shipway_engine::layers::{Layers, TreeLimits};
use shipway_stdx::shutdown;
use shipway_worker::Drain;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::admin_token;
use crate::config::{Config, OpenTo, Serves};
use crate::facts::Facts;
use crate::program;
use base::Base;
pub(crate) use builds::toolchain;
use edge::{Edge, Neighbour};
use status::Status;
use worker::Working;

/// How often the main loop turns when nobody watches.
const NO_WATCHDOG: Duration = Duration::from_secs(60);

/// Runs the roles of this process until it is asked to stop.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let file = program::named("self")?;
    let metrics = recorder::install()?;
    let mut words = Words::listen()?;
    let base = tokio::select! {
        base = Base::open(config) => base?,
        // It may wait a minute for its database; nobody has to wait with it.
        () = words.stop() => return Ok(()),
    };
    let roles = base.config.roles;
    let (stop, shutdown) = shutdown::channel();
    let mut parts = JoinSet::new();
    let edge = if roles.proxy { Some(Edge::start(&base, &shutdown, &mut parts).await?) } else { None };
    let builds = builds::Ground::find(&base).await?;
    let mut worker = if roles.worker {
        let drain = drain(&base, edge.as_ref());
        Some(worker::start(&base, drain, builds.as_ref(), &shutdown, &mut parts).await?)
    } else {
        None
    };
    let layers = layers(&base, worker.as_ref())?;
    if let Some(address) = base.config.status_listen {
        let metrics = api::metrics_text(metrics.clone(), edge.as_ref());
        let checks = api::checks(edge.as_ref(), worker.as_ref()).into();
        let status = Status { store: base.store.clone(), checks, metrics };
        status::start(address, status, shutdown.clone(), &mut parts).await?;
    }
    let artifacts = builds.as_ref().map(builds::Ground::artifacts);
    if let (true, Some(layers)) = (roles.api, layers.clone()) {
        let file = base.state.join("admin-token");
        let ensure = async || admin_token::ensure(&base.store, &file).await;
        database::patiently("make the admin token", ensure).await?;
        let builds = builds.as_ref().map(|builds| builds.parts(&base));
        let rest = api::Rest { edge: edge.as_ref(), worker: worker.as_ref(), layers, builds };
        api::start(&base, rest, metrics, &shutdown, &mut parts).await?;
    }
    housekeeping::start(&base, worker.as_ref(), layers, artifacts, &shutdown, &mut parts);
    announce(&base, edge.as_ref())?;
    let end = wait_for_end(&mut words, &mut parts, worker.as_mut(), &file, base.run_dir()).await?;
    tracing::info!("stopping; services go on");
    if matches!(end, End::Stop) {
        service_manager::stopping();
    }
    if let Some(worker) = worker {
        dismiss(worker, &end, &mut words).await?;
    }
    stop.request();
    while let Some(ended) = parts.join_next().await {
        ended.context("a part ended badly")?;
    }
    let run_dir = base.run_dir().to_owned();
    // The successor takes what this process lets go of.
    drop((edge, base));
    match end {
        End::Stop => Ok(()),
        End::HandOver(next) => hand_over(&file, &run_dir, &next).await,
    }
}

/// What the worker asks of the proxy.
fn drain(base: &Base, edge: Option<&Edge>) -> Arc<dyn Drain> {
    match edge {
        Some(edge) => Arc::new(edge.drain()),
        None => Arc::new(Neighbour::new(base.places.clone(), base.store.clone())),
    }
}

/// The trees of images of this installation, where this process puts or finds any.
fn layers(base: &Base, worker: Option<&Working>) -> anyhow::Result<Option<Arc<Layers>>> {
    Ok(match worker {
        Some(worker) => Some(Arc::clone(worker.driver.layers())),
        None if base.config.roles.api => Some(Arc::new(Layers::open(&base.layers(), TreeLimits::default())?)),
        None => None,
    })
}

/// Says where everything is, to whoever wants to know.
fn announce(base: &Base, edge: Option<&Edge>) -> anyhow::Result<()> {
    let config = &base.config;
    if let Some(edge) = edge {
        edge.announce(&base.places)?;
        for address in edge.addresses() {
            tracing::info!(%address, host = config.host, "shipway serves");
        }
    }
    tracing::info!(roles = config.roles.words(), "ready");
    if config.api_open == OpenTo::Loopback {
        tracing::info!("root and the user that started Shipway need no token on loopback (api.open)");
    }
    service_manager::ready();
    successor::tell_ready(base.run_dir());
    Ok(())
}

/// Tells the worker to end, and waits until it has. Told to stop, it finishes what it has at
/// hand unless a second word comes; making room for another version, it gives it back.
async fn dismiss(mut worker: Working, end: &End, words: &mut Words) -> anyhow::Result<()> {
    let mut may_finish = matches!(end, End::Stop);
    if may_finish {
        worker.finish.request();
    } else {
        worker.leave.request();
    }
    let ended = loop {
        tokio::select! {
            ended = &mut worker.ended => break ended,
            () = words.stop(), if may_finish => {
                tracing::info!("told twice: giving back what is unfinished");
                worker.leave.request();
                may_finish = false;
            }
        }
    };
    worker.driver.close().await;
    ended.context("the worker ended badly")
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

/// Why `serve` ends.
enum End {
    /// It was told to.
    Stop,
    /// Another version is to go on.
    HandOver(Facts),
}

/// The signals that tell this process what to do. Listened for from the first moment, so that
/// none ends it in the middle of a start.
#[derive(Debug)]
struct Words {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
enum Word {
    Stop,
    MakeRoom,
}

impl Words {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next word.
    async fn next(&mut self) -> Word {
        let Self { terminate, interrupt, hangup } = self;
        tokio::select! {
            () = either(terminate, interrupt) => Word::Stop,
            // A terminal that was closed is not an upgrade.
            _ = hangup.recv() => if std::io::stdin().is_terminal() { Word::Stop } else { Word::MakeRoom },
        }
    }

    /// Waits until it is told to stop. Another word is kept for later.
    async fn stop(&mut self) {
        either(&mut self.terminate, &mut self.interrupt).await;
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// Waits for a signal, or for a part that ended although nobody asked. Meanwhile the
/// service manager hears that this loop turns.
async fn wait_for_end(
    words: &mut Words,
    parts: &mut JoinSet<()>,
    mut worker: Option<&mut Working>,
    file: &Path,
    run_dir: &Path,
) -> anyhow::Result<End> {
    let watchdog = service_manager::watchdog();
    let mut beat = tokio::time::interval(watchdog.unwrap_or(NO_WATCHDOG));
    loop {
        let worker_ended = async {
            match worker.as_mut() {
                Some(worker) => (&mut worker.ended).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            word = words.next() => match word {
                Word::Stop => return Ok(End::Stop),
                Word::MakeRoom => if let Some(next) = look_at_next(file, run_dir).await? {
                    return Ok(End::HandOver(next));
                },
            },
            _ = beat.tick() => service_manager::alive(),
            ended = worker_ended => {
                ended.context("the worker ended badly")?;
                anyhow::bail!("the worker ended although nobody asked it to; see the log")
            }
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

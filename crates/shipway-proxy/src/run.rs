//! The proxy process: from its first instruction to its exit.
//!
//! 1. With whatever privileges it was started with: close what it does not know,
//!    make the control socket, allow many open files.
//! 2. Give the privileges up for good.
//! 3. Load the last good routes; serve visitors on threads of their own, and the
//!    control plane on this one.
//! 4. When told to stop: take nothing new, finish what is in flight, exit.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener as StdControl;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::{Listener, ProxyConfig, Serves, Settings};
use crate::control::{self, Control};
use crate::metrics::Limit;
use crate::privileges::{self, PrivilegeError};
use crate::server::{self, Proxy};
use crate::snapshot;

/// Between two rounds of closing unused connections to endpoints.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// Routes are saved this long after a change, so that many changes are one
/// write; longer when writing them takes long, so that it never takes more than
/// a tenth of the time.
const SAVE_AFTER: Duration = Duration::from_millis(50);
const SAVE_AFTER_LONGEST: Duration = Duration::from_secs(5);

/// Open files besides two for each connection.
const FILES_BESIDES: u64 = 1024;

/// Why a proxy could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It has nothing to serve.
    #[error("the proxy was given no listener")]
    NoListener,
    /// Privileges are still there.
    #[error("could not give up privileges")]
    Privileges(#[from] PrivilegeError),
    /// The control socket, a listener or the runtime.
    #[error("could not {0}")]
    Io(&'static str, #[source] io::Error),
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |error| RunError::Io(what, error)
}

/// Runs a proxy until it is told to stop, by SIGTERM, SIGINT or the control plane.
///
/// Must be called while the process has one thread, because privileges are a
/// thread's. Returns when every request has been answered or the drain's limit
/// is over.
///
/// # Errors
///
/// [`RunError`]; nothing has been served then.
pub fn run(config: ProxyConfig) -> Result<(), RunError> {
    let ProxyConfig { settings, listeners } = config;
    if listeners.is_empty() {
        return Err(RunError::NoListener);
    }
    let owner = rustix::process::geteuid().as_raw();
    let kept: Vec<_> = listeners.iter().map(|listener| listener.socket.as_fd()).collect();
    privileges::close_others(&kept).map_err(io_error("close inherited descriptors"))?;
    let socket = control::bind(&settings.run_dir).map_err(io_error("make the control socket"))?;
    privileges::allow_files(settings.limits.connections as u64 * 2 + FILES_BESIDES);
    privileges::drop_for_good(settings.user)?;

    let proxy = Arc::new(Proxy::new(&settings));
    load_routes(&settings, &proxy);
    let threads = spawn_threads(&settings, &listeners, &proxy)?;
    let control = Arc::new(Control {
        proxy,
        settings: settings.clone(),
        owner,
        listeners: Mutex::new(listeners),
        changed: Notify::new(),
        stop: watch::channel(None).0,
        newest: watch::channel(0).0,
    });
    let runtime = runtime()?;
    runtime.block_on(oversee(control, socket, settings.snapshot_dir, threads))?;
    // A write to a hanging disk must not keep a drained proxy alive.
    runtime.shutdown_background();
    Ok(())
}

fn runtime() -> Result<Runtime, RunError> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(io_error("start a runtime"))
}

fn load_routes(settings: &Settings, proxy: &Proxy) {
    match snapshot::load(&settings.snapshot_dir, &proxy.table) {
        Ok(routes) => tracing::info!(routes, "serving the last good routes"),
        Err(error) => tracing::info!(reason = %error, "starting without routes"),
    }
}

/// The threads that serve visitors, and how to hear that they are done.
struct Threads {
    handles: Vec<JoinHandle<()>>,
    done: mpsc::UnboundedReceiver<()>,
    deadline: watch::Sender<Option<Instant>>,
}

fn spawn_threads(settings: &Settings, listeners: &[Listener], proxy: &Arc<Proxy>) -> Result<Threads, RunError> {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = if settings.threads == 0 { processors() } else { settings.threads };
    let (finished, done) = mpsc::unbounded_channel();
    let deadline = watch::channel(None).0;
    let mut handles = Vec::new();
    for number in 0..count {
        let mine = listeners
            .iter()
            .map(|listener| Ok((listener.socket.try_clone()?, listener.serves)))
            .collect::<io::Result<Vec<_>>>()
            .map_err(io_error("duplicate a listener"))?;
        let runtime = runtime()?;
        let (proxy, finished, deadline) = (Arc::clone(proxy), finished.clone(), deadline.subscribe());
        let routes_wait = settings.routes_wait;
        let thread = std::thread::Builder::new()
            .name(format!("visitors-{number}"))
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve_visitors(proxy, mine, routes_wait, deadline)) {
                    tracing::error!(%error, "a thread could not serve visitors");
                }
                drop(finished);
            })
            .map_err(io_error("start a thread"))?;
        handles.push(thread);
    }
    Ok(Threads { handles, done, deadline })
}

async fn serve_visitors(
    proxy: Arc<Proxy>,
    listeners: Vec<(std::net::TcpListener, Serves)>,
    routes_wait: Duration,
    mut deadline: watch::Receiver<Option<Instant>>,
) -> io::Result<()> {
    let tasks = TaskTracker::new();
    // Visitors wait in the kernel's queue meanwhile, or are the proxy's before us.
    tokio::select! {
        () = proxy.routed.cancelled() => {}
        () = tokio::time::sleep(routes_wait) => {}
        () = proxy.drain.cancelled() => return Ok(()),
    }
    for (socket, serves) in listeners {
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        tasks.spawn(server::accept(Arc::clone(&proxy), listener, serves, tasks.clone()));
    }
    proxy.drain.cancelled().await;
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = passed(&mut deadline) => {
            tracing::warn!(connections = tasks.len(), "ended connections that did not drain in time");
            proxy.metrics.limit(Limit::Drain);
        }
    }
    Ok(())
}

/// Waits until the deadline has passed, which may be brought forward meanwhile.
async fn passed(deadline: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let Some(limit) = *deadline.borrow_and_update() else {
            // The sender lives as long as the process; an error means it is over.
            let Ok(()) = deadline.changed().await else { return };
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(limit) => return,
            changed = deadline.changed() => if changed.is_err() { return },
        }
    }
}

/// Serves the control plane until it is time to stop, then sees the threads off.
async fn oversee(
    control: Arc<Control>,
    socket: StdControl,
    snapshot_dir: PathBuf,
    mut threads: Threads,
) -> Result<(), RunError> {
    let socket = UnixListener::from_std(socket).map_err(io_error("watch the control socket"))?;
    let (mut terminate, mut interrupt) = signals().map_err(io_error("watch signals"))?;
    let usual = control.proxy.limits.drain;
    let mut asked = control.stop.subscribe();
    let background = async {
        tokio::join!(
            control::serve(Arc::clone(&control), socket),
            save_routes(&control, &snapshot_dir),
            tidy(&control.proxy),
        )
    };
    tokio::pin!(background);
    let limit = tokio::select! {
        _ = &mut background => usual,
        _ = terminate.recv() => usual,
        _ = interrupt.recv() => usual,
        _ = asked.changed() => asked.borrow_and_update().unwrap_or(usual),
        // Every thread has failed: there is nothing left to oversee.
        _ = threads.done.recv() => Duration::ZERO,
    };
    tracing::info!(limit_s = limit.as_secs(), "draining");
    // Sent away by the control plane it has a successor, whose file of routes it is now.
    if control.stop.borrow().is_none()
        && let Err(error) = snapshot::save(&snapshot_dir, &control.proxy.table)
    {
        tracing::warn!(%error, "could not save the routes");
    }
    // Connections that come from now on are the next proxy's, or refused.
    control.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
    threads.deadline.send_replace(Some(Instant::now() + limit));
    control.proxy.drain.cancel();
    loop {
        tokio::select! {
            _ = &mut background => break,
            _ = threads.done.recv() => break,
            // Asked again: there may be less time now.
            Ok(()) = asked.changed() => {
                let limit = asked.borrow_and_update().unwrap_or(usual);
                threads.deadline.send_replace(Some(Instant::now() + limit));
            }
        }
    }
    for handle in threads.handles {
        if handle.join().is_err() {
            tracing::error!("a thread panicked");
        }
    }
    Ok(())
}

fn signals() -> io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

async fn save_routes(control: &Control, folder: &std::path::Path) {
    let mut pause = SAVE_AFTER;
    loop {
        control.changed.notified().await;
        tokio::time::sleep(pause).await;
        if control.proxy.drain.is_cancelled() {
            // The file is the next proxy's.
            return;
        }
        let (proxy, folder) = (Arc::clone(&control.proxy), folder.to_owned());
        let started = Instant::now();
        let saving = tokio::task::spawn_blocking(move || snapshot::save(&folder, &proxy.table));
        match saving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "could not save the routes"),
            Err(error) => tracing::error!(%error, "saving the routes panicked"),
        }
        pause = (started.elapsed() * 10).clamp(SAVE_AFTER, SAVE_AFTER_LONGEST);
    }
}

async fn tidy(proxy: &Arc<Proxy>) {
    let mut rounds = tokio::time::interval(TIDY_EVERY);
    loop {
        rounds.tick().await;
        let proxy = Arc::clone(proxy);
        // Among 100,000 services this takes a while, and a route must not wait for it.
        let round = move || proxy.table.close_idle(proxy.limits.idle_upstream_time);
        if let Err(error) = tokio::task::spawn_blocking(round).await {
            tracing::error!(%error, "closing unused connections panicked");
        }
    }
}

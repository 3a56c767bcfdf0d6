//! The proxy's side of the control socket.
//!
//! One control plane at a time: a new connection replaces the old one, because a
//! new `serve` is there to take over from one that may not know yet that it is
//! gone. Losing the connection changes nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shipway_stdx::fs::remove_if_there;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};

use crate::config::{Listener, Settings};
use crate::descriptors::{self, Lines};
use crate::server::{ACCEPT_PAUSE, Proxy};
use crate::startup;
use crate::wire::{Answer, Ask, CONTROL_SOCKET, LINE_BYTES_MAX, VERSION, own_socket};

/// Most routes of one snapshot.
const ROUTES_MAX: usize = 1_000_000;

/// Makes the control socket under two names: one that is this process's alone, and
/// the one where the newest proxy is found. An earlier proxy keeps its own name.
pub(crate) fn bind(run_dir: &Path) -> io::Result<StdListener> {
    let own = run_dir.join(own_socket(std::process::id()));
    let new = run_dir.join(format!(".{CONTROL_SOCKET}.{}", std::process::id()));
    // A process of the same number may have left them.
    remove_if_there(&own)?;
    remove_if_there(&new)?;
    let listener = StdListener::bind(&own)?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600))?;
    fs::hard_link(&own, &new)?;
    fs::rename(&new, run_dir.join(CONTROL_SOCKET))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What the control connection acts on.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) settings: Settings,
    /// The only user besides root that may talk: the one that started us.
    pub(crate) owner: u32,
    /// Gone once the proxy drains.
    pub(crate) listeners: Mutex<Vec<Listener>>,
    /// Told when routes have changed.
    pub(crate) changed: Notify,
    /// Set when the proxy shall drain: for how long at most.
    pub(crate) stop: watch::Sender<Option<Duration>>,
}

/// A snapshot that has begun.
#[derive(Debug, Default)]
struct Parts {
    snapshot: Option<u32>,
    routes: usize,
}

/// Accepts control planes for ever.
pub(crate) async fn serve(control: Arc<Control>, listener: UnixListener) {
    let mut current: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a control connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !control.may_talk(&stream) {
            tracing::warn!("a user that is not ours tried to use the control socket");
            continue;
        }
        if let Some(before) = current.take() {
            before.abort();
        }
        current = Some(tokio::spawn(talk(Arc::clone(&control), stream)));
    }
}

async fn talk(control: Arc<Control>, stream: UnixStream) {
    control.proxy.metrics.presence.is_here();
    tracing::info!("the control plane is connected");
    match control.follow(&stream).await {
        Ok(()) => tracing::info!("the control plane is gone; serving on"),
        Err(error) => tracing::warn!(%error, "the control connection broke; serving on"),
    }
    control.proxy.metrics.presence.is_gone();
}

impl Control {
    fn may_talk(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == self.owner)
    }

    async fn follow(&self, stream: &UnixStream) -> io::Result<()> {
        let mut lines = Lines::default();
        let mut parts = Parts::default();
        while let Some(line) = lines.next(stream, LINE_BYTES_MAX).await? {
            let answer = match serde_json::from_slice(&line) {
                Ok(ask) => self.answer(ask, &mut parts),
                Err(error) => refuse(&format!("not understood: {error}")),
            };
            if let Some(answer) = answer {
                self.send(stream, &answer).await?;
                if matches!(answer, Answer::Refused { .. }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send(&self, stream: &UnixStream, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        let sockets = match answer {
            Answer::Listeners { .. } => self.duplicates()?,
            _ => Vec::new(),
        };
        let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        descriptors::send_all(stream, &line, &fds).await
    }

    fn duplicates(&self) -> io::Result<Vec<std::net::TcpListener>> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().map(|listener| listener.socket.try_clone()).collect()
    }

    fn answer(&self, ask: Ask, parts: &mut Parts) -> Option<Answer> {
        let table = &self.proxy.table;
        match ask {
            Ask::Hello { version, instance } => self.hello(version, &instance),
            Ask::Snapshot { version, routes, more } => {
                let snapshot = *parts.snapshot.get_or_insert_with(|| table.begin_snapshot());
                parts.routes += routes.len();
                if parts.routes > ROUTES_MAX {
                    return refuse("too many routes");
                }
                routes.iter().for_each(|route| table.upsert_in(snapshot, route));
                if more {
                    return None;
                }
                *parts = Parts::default();
                table.end_snapshot(snapshot);
                self.proxy.routed.cancel();
                self.applied(version)
            }
            Ask::Upsert { version, route } => {
                table.upsert(&route);
                self.applied(version)
            }
            Ask::Remove { version, service_id } => {
                table.remove(&service_id);
                self.applied(version)
            }
            Ask::Listeners => {
                let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
                let listeners = listeners.iter().map(startup::note).collect();
                Some(Answer::Listeners { listeners })
            }
            Ask::InFlight { endpoint } => {
                let requests = table.in_flight(&endpoint);
                Some(Answer::InFlight { requests })
            }
            Ask::Stats => Some(self.stats()),
            Ask::DrainAndExit { limit } => {
                self.stop.send_replace(Some(limit));
                Some(Answer::Draining)
            }
        }
    }

    fn hello(&self, version: u32, instance: &str) -> Option<Answer> {
        if version != VERSION {
            return refuse(&format!("version {version} is not {VERSION}"));
        }
        if instance != self.settings.instance {
            return refuse("this proxy belongs to another installation");
        }
        Some(Answer::Hello {
            version: VERSION,
            instance: self.settings.instance.clone(),
            pid: std::process::id(),
            routes: self.proxy.table.len(),
            settings: Some(Box::new(self.settings.clone())),
        })
    }

    fn applied(&self, version: u64) -> Option<Answer> {
        self.changed.notify_one();
        Some(Answer::Applied { version })
    }

    fn stats(&self) -> Answer {
        let connections = self.proxy.places.taken();
        let routes = self.proxy.table.len();
        let metrics = self.proxy.metrics.render(connections, routes);
        Answer::Stats { connections, routes, metrics }
    }
}

fn refuse(reason: &str) -> Option<Answer> {
    Some(Answer::Refused { reason: reason.to_owned() })
}

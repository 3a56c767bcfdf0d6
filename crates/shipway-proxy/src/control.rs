//! The proxy's side of the control socket.
//!
//! One control plane at a time: who says hello replaces the one before, because a
//! new `serve` is there to take over from one that may not know yet that it is
//! gone. Losing the connection changes nothing. Others may look ([`Ask::Observe`]): a
//! worker that is a process of its own has to know when visitors have moved on.

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
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::{Listener, Settings};
use crate::descriptors::{self, Lines};
use crate::server::{ACCEPT_PAUSE, Proxy};
use crate::startup;
use crate::wire::{Answer, Ask, CONTROL_SOCKET, LINE_BYTES_MAX, VERSION, own_socket};

/// Connections at a time, control planes and those that only look.
const CONNECTIONS_MAX: usize = 64;

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
    /// Counts control planes: the last to say hello is the one.
    pub(crate) newest: watch::Sender<u64>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// It has not said yet.
    Unknown,
    /// It only looks.
    Observer,
    /// The control plane with this number.
    ControlPlane(u64),
}

/// A snapshot that has begun.
#[derive(Debug, Default)]
struct Parts {
    snapshot: Option<u32>,
    routes: usize,
}

/// Accepts control planes for ever.
pub(crate) async fn serve(control: Arc<Control>, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
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
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("too many control connections");
            continue;
        };
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            control.talk(stream).await;
            drop(place);
        });
    }
}

impl Control {
    fn may_talk(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == self.owner)
    }

    async fn talk(&self, stream: UnixStream) {
        let mut who = Who::Unknown;
        let ended = self.follow(&stream, &mut who).await;
        let Who::ControlPlane(number) = who else { return };
        match ended {
            Ok(()) => tracing::info!("the control plane is gone; serving on"),
            Err(error) => tracing::warn!(%error, "the control connection broke; serving on"),
        }
        // One that was replaced leaves its successor here.
        if *self.newest.borrow() == number {
            self.proxy.metrics.presence.is_gone();
        }
    }

    async fn follow(&self, stream: &UnixStream, who: &mut Who) -> io::Result<()> {
        let mut lines = Lines::default();
        let mut parts = Parts::default();
        let mut newest = self.newest.subscribe();
        loop {
            let replaced = async {
                match *who {
                    Who::ControlPlane(own) => drop(newest.wait_for(|newest| *newest > own).await),
                    Who::Unknown | Who::Observer => std::future::pending().await,
                }
            };
            let line = tokio::select! {
                line = lines.next(stream, LINE_BYTES_MAX) => line?,
                () = replaced => return Ok(()),
            };
            let Some(line) = line else { return Ok(()) };
            let answer = match serde_json::from_slice(&line) {
                Ok(ask) => self.heed(ask, who, &mut parts),
                Err(error) => refuse(&format!("not understood: {error}")),
            };
            if let Some(answer) = answer {
                self.send(stream, &answer).await?;
                if matches!(answer, Answer::Refused { .. }) {
                    return Ok(());
                }
            }
        }
    }

    /// Answers, if the other side may ask that.
    fn heed(&self, ask: Ask, who: &mut Who, parts: &mut Parts) -> Option<Answer> {
        match (&ask, *who) {
            (Ask::Hello { version, instance } | Ask::Observe { version, instance }, Who::Unknown) => {
                let answer = self.hello(*version, instance);
                if let Some(Answer::Hello { .. }) = answer {
                    *who = if let Ask::Hello { .. } = ask { self.take_over() } else { Who::Observer };
                }
                answer
            }
            (Ask::InFlight { .. } | Ask::Where { .. } | Ask::Stats, Who::Observer) | (_, Who::ControlPlane(_)) => {
                self.answer(ask, parts)
            }
            (_, Who::Unknown) => refuse("say hello first"),
            (_, Who::Observer) => refuse("who only looks changes nothing"),
        }
    }

    fn take_over(&self) -> Who {
        self.proxy.metrics.presence.is_here();
        tracing::info!("the control plane is connected");
        let mut number = 0;
        self.newest.send_modify(|newest| {
            *newest += 1;
            number = *newest;
        });
        Who::ControlPlane(number)
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
            Ask::Hello { .. } | Ask::Observe { .. } => refuse("that was said already"),
            Ask::Where { service_id } => {
                let state = table.find(&service_id).map(|service| service.route().state);
                Some(Answer::Goes { state })
            }
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

//! The control plane's side: keeps a proxy's routes as they should be.
//!
//! The caller says what should be, by [`FeedClient::publish`] for all routes or
//! [`FeedClient::set`] and [`FeedClient::remove`] for one, and gets a generation
//! number back. [`FeedClient::applied`] waits until the proxy goes by it. A
//! [`FeedTask`] does the talking: it connects, sends everything once, then only
//! what changed, and begins anew with back-off when the connection is lost.
//!
//! Nothing is sent before the first `publish`: a control plane that has not read
//! its store yet must not empty the routes of a proxy that serves.

mod talk;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::config::{Listener, Settings};
use crate::look::look_until;
use crate::startup;
use crate::wire::{Answer, Ask, Endpoint, Route};

pub use talk::FeedTask;

/// Questions waiting for their answers at a time.
const QUESTIONS_MAX: usize = 64;

/// Why a proxy could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// There is no connection to a proxy now.
    #[error("the proxy is not connected")]
    Away,
    /// The proxy did not do it in time.
    #[error("the proxy did not answer in time")]
    Late,
    /// The proxy answered something else.
    #[error("the proxy gave an answer to another question")]
    Confused,
    /// Its sockets could not be taken over.
    #[error("could not take over the proxy's listeners")]
    Listeners(#[source] io::Error),
}

/// A handle on a proxy's routes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FeedClient {
    shared: Arc<Shared>,
    questions: mpsc::Sender<Question>,
    applied: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Question {
    ask: Ask,
    answer: oneshot::Sender<(Answer, Vec<std::os::fd::OwnedFd>)>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Notify,
    peer: watch::Sender<Option<Peer>>,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: u32,
    /// What it was told at its start; `None` from a proxy that does not say.
    pub settings: Option<Box<Settings>>,
}

/// What the proxy should go by, and what of it changed since it was last told.
#[derive(Debug, Default)]
struct Wanted {
    is_published: bool,
    generation: u64,
    routes: BTreeMap<String, Arc<Route>>,
    /// Services to tell about; those not in `routes` are gone.
    changed: BTreeSet<String>,
}

impl Wanted {
    fn set(&mut self, route: Route) {
        let id = route.service_id.clone();
        let same = self.routes.get(&id).is_some_and(|before| **before == route);
        if !same {
            self.routes.insert(id.clone(), Arc::new(route));
            self.changed.insert(id);
        }
    }

    fn remove(&mut self, service_id: &str) {
        if self.routes.remove(service_id).is_some() {
            self.changed.insert(service_id.to_owned());
        }
    }
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FeedClient {
    /// Makes a client of the proxy at `socket`, and the task that must be run for it.
    ///
    /// `instance` must be the proxy's own, or it refuses.
    #[must_use]
    pub fn new(socket: PathBuf, instance: String) -> (Self, FeedTask) {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let (reached, applied) = watch::channel(0);
        let shared = Arc::new(Shared::default());
        let task = FeedTask { socket, instance, shared: Arc::clone(&shared), asked, reached };
        let client = Self { shared, questions, applied };
        (client, task)
    }

    /// Makes `routes` the whole list; only differences are sent. Returns the generation.
    pub fn publish(&self, routes: impl IntoIterator<Item = Route>) -> u64 {
        self.change(|wanted| {
            wanted.is_published = true;
            let mut gone: BTreeSet<String> = wanted.routes.keys().cloned().collect();
            for route in routes {
                gone.remove(&route.service_id);
                wanted.set(route);
            }
            for id in gone {
                wanted.remove(&id);
            }
        })
    }

    /// Adds or changes one route. Returns the generation.
    pub fn set(&self, route: Route) -> u64 {
        self.change(|wanted| wanted.set(route))
    }

    /// Removes one service's route. Returns the generation.
    pub fn remove(&self, service_id: &str) -> u64 {
        self.change(|wanted| wanted.remove(service_id))
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) -> u64 {
        let generation = {
            let mut wanted = self.shared.wanted();
            change(&mut wanted);
            wanted.generation += 1;
            wanted.generation
        };
        self.shared.changed.notify_one();
        generation
    }

    /// Waits until the proxy sends new requests by `generation` or a later one.
    ///
    /// # Errors
    ///
    /// [`FeedError::Late`] after `limit`; the change still stands and is sent as
    /// soon as a proxy is there.
    pub async fn applied(&self, generation: u64, limit: Duration) -> Result<(), FeedError> {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|reached| *reached >= generation);
        match tokio::time::timeout(limit, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(FeedError::Away),
            Err(_) => Err(FeedError::Late),
        }
    }

    /// Whether a proxy is connected now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.peer.borrow().is_some()
    }

    /// Waits until a proxy is connected, and says who it is.
    ///
    /// # Errors
    ///
    /// [`FeedError::Late`] after `limit`.
    pub async fn connected(&self, limit: Duration) -> Result<Peer, FeedError> {
        let mut peer = self.shared.peer.subscribe();
        let there = peer.wait_for(Option::is_some);
        match tokio::time::timeout(limit, there).await {
            Ok(Ok(peer)) => peer.clone().ok_or(FeedError::Away),
            _ => Err(FeedError::Late),
        }
    }

    /// Waits until no proxy is connected: at once when none is.
    pub async fn disconnected(&self) {
        // An error is a task that has ended, and no proxy is connected then.
        drop(self.shared.peer.subscribe().wait_for(Option::is_none).await);
    }

    /// Returns the requests in flight to `endpoint`, streams and upgraded
    /// connections included. Once a change away from it is [`applied`](Self::applied),
    /// zero is final: nobody will go there again.
    ///
    /// # Errors
    ///
    /// [`FeedError::Away`]: a proxy that died took its requests along, but one
    /// that is merely not connected may still have some.
    pub async fn in_flight(&self, endpoint: &Endpoint) -> Result<u64, FeedError> {
        let endpoint = endpoint.clone();
        match self.ask(Ask::InFlight { endpoint }).await?.0 {
            Answer::InFlight { requests } => Ok(requests),
            _ => Err(FeedError::Confused),
        }
    }

    /// Waits until no request is in flight to `endpoint`, or for `limit`; returns
    /// whether it is idle.
    ///
    /// The proxy itself ends requests that make no progress (`Limits::response_idle`,
    /// and `Limits::stream_idle` for streams), so an hour is a good limit here.
    pub async fn wait_idle(&self, endpoint: &Endpoint, limit: Duration) -> bool {
        look_until(limit, || async { self.in_flight(endpoint).await.map(|requests| requests == 0) }).await
    }

    /// Takes over duplicates of the proxy's listeners, to start another one with.
    ///
    /// # Errors
    ///
    /// [`FeedError`].
    pub async fn listeners(&self) -> Result<Vec<Listener>, FeedError> {
        match self.ask(Ask::Listeners).await? {
            (Answer::Listeners { listeners }, fds) => startup::join(listeners, fds).map_err(FeedError::Listeners),
            _ => Err(FeedError::Confused),
        }
    }

    /// Returns the proxy's counters in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// [`FeedError`].
    pub async fn metrics(&self) -> Result<String, FeedError> {
        match self.ask(Ask::Stats).await?.0 {
            Answer::Stats { metrics, .. } => Ok(metrics),
            _ => Err(FeedError::Confused),
        }
    }

    /// Tells the proxy to accept nothing more, to finish what is in flight within
    /// `limit`, and to exit.
    ///
    /// # Errors
    ///
    /// [`FeedError`].
    pub async fn drain_and_exit(&self, limit: Duration) -> Result<(), FeedError> {
        match self.ask(Ask::DrainAndExit { limit }).await?.0 {
            Answer::Draining => Ok(()),
            _ => Err(FeedError::Confused),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<(Answer, Vec<std::os::fd::OwnedFd>), FeedError> {
        if !self.is_connected() {
            return Err(FeedError::Away);
        }
        let (answer, answered) = oneshot::channel();
        let question = Question { ask, answer };
        self.questions.send(question).await.map_err(|_| FeedError::Away)?;
        match tokio::time::timeout(talk::ANSWER_TIME, answered).await {
            Ok(answer) => answer.map_err(|_| FeedError::Away),
            Err(_) => Err(FeedError::Late),
        }
    }
}

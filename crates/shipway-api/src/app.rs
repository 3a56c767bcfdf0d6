//! What every route has at hand.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shipway_model::{Service, ServiceId, ServiceName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::access::{Action, Caller};
use crate::config::{ApiConfig, Parts};
use crate::ready::Readiness;
use crate::reply::Reject;

/// Requests at work at once, streams and probes apart. One that waits for a
/// deploy costs a few kilobytes; more than this would only queue at the store.
const REQUESTS_MAX: usize = 1024;
/// Streams open at once. Each is a task and, when it follows, a wake-up per line.
const STREAMS_MAX: usize = 512;
/// Execs at once. Each is a process in somebody's container.
const EXECS_MAX: usize = 64;
/// How long the answer of `/readyz` is kept, so that asking is no load on the store.
pub(crate) const READY_KEPT: Duration = Duration::from_secs(1);

/// What every route has at hand. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: ApiConfig,
    pub(crate) parts: Parts,
    pub(crate) started: Instant,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) execs: Arc<Semaphore>,
    /// Held while a distribution's packages are fetched: a minute, in which imports go on.
    pub(crate) bootstrapping: tokio::sync::Mutex<()>,
    pub(crate) ready: Mutex<Option<(Instant, Arc<Readiness>)>>,
    /// `/openapi.json`, made once.
    pub(crate) document: String,
    /// `/docs`, made once.
    pub(crate) docs: crate::docs::DocsPage,
}

impl std::ops::Deref for App {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("config", &self.config).finish_non_exhaustive()
    }
}

impl App {
    pub(crate) fn new(config: ApiConfig, parts: Parts) -> Self {
        let document = crate::openapi::document(&config.version);
        let docs = crate::docs::DocsPage::of(&document);
        Self(Arc::new(Inner {
            config,
            parts,
            started: Instant::now(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            execs: Arc::new(Semaphore::new(EXECS_MAX)),
            bootstrapping: tokio::sync::Mutex::new(()),
            ready: Mutex::new(None),
            document: format!("{document:#}\n"),
            docs,
        }))
    }

    /// Finds the service a path means, by id or by name, if the caller may do
    /// `action` to it. Anybody else's is answered like none.
    pub(crate) async fn service(&self, caller: &Caller, action: Action, reference: &str) -> Result<Service, Reject> {
        let store = &self.parts.store;
        let found = if let Ok(id) = reference.parse::<ServiceId>() {
            store.find_service_by_id(id).await?
        } else if let Ok(name) = reference.parse::<ServiceName>() {
            store.find_service(&caller.0.project(), &name).await?
        } else {
            None
        };
        let service = found.ok_or_else(|| Reject::not_found("service"))?;
        caller.may(action, &service.project).map_err(|_| Reject::not_found("service"))?;
        Ok(service)
    }

    /// Takes a place among those at work, or says that there is none.
    pub(crate) fn place(places: &Arc<Semaphore>, what: &'static str) -> Result<OwnedSemaphorePermit, Reject> {
        Arc::clone(places).try_acquire_owned().map_err(|_| Reject::overloaded(what))
    }
}

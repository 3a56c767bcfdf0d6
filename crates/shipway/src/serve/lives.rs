//! Whom the API asks about a running service: the worker of this process, or the one that
//! has it, over the network.

use std::sync::Arc;

use async_trait::async_trait;
use shipway_api::{ExecSession, ExecSpec, Live, LiveError, LogLines, LogQuery};
use shipway_api_types::Stats;
use shipway_model::{ServiceId, StreamDoor};
use shipway_relay::RemoteLive;
use shipway_store::{Store, StoreError, Worker};

/// Every worker's streams as one.
#[derive(Debug)]
pub(super) struct Lives {
    store: Store,
    /// The engine root of this installation; none where it is the only one.
    engine: Option<String>,
    /// The worker of this process.
    here: Option<Arc<dyn Live>>,
}

impl Lives {
    pub(super) const fn new(store: Store, engine: Option<String>, here: Option<Arc<dyn Live>>) -> Self {
        Self { store, engine, here }
    }

    async fn of(&self, service: ServiceId) -> Result<Arc<dyn Live>, LiveError> {
        let found = self.store.find_service_by_id(service).await.map_err(unavailable)?;
        let engine = found.and_then(|service| service.engine);
        if let Some(here) = &self.here
            && (self.engine.is_none() || self.engine == engine)
        {
            return Ok(Arc::clone(here));
        }
        // Nobody has taken it up yet.
        let engine = engine.ok_or(LiveError::NotRunning)?;
        let worker = self.store.find_worker_of(&engine).await.map_err(unavailable)?;
        Ok(Arc::new(RemoteLive::new(door(worker)?)))
    }
}

fn unavailable(error: StoreError) -> LiveError {
    LiveError::Unavailable(error.to_string())
}

fn door(worker: Option<Worker>) -> Result<StreamDoor, LiveError> {
    let Some(worker) = worker else {
        let reason = "the worker that has this service has been forgotten; it is taken up again when that starts";
        return Err(LiveError::Unavailable(reason.to_owned()));
    };
    let id = &worker.facts.id;
    if worker.is_silent() {
        let seconds = worker.silent_for / 1_000_000;
        let reason = format!("the worker that has this service, {id}, has not been heard of for {seconds} s");
        return Err(LiveError::Unavailable(reason));
    }
    let mute = || LiveError::Unavailable(format!("the worker that has this service, {id}, answers no questions"));
    worker.facts.streams.ok_or_else(mute)
}

#[async_trait]
impl Live for Lives {
    async fn reachable(&self, service: ServiceId) {
        match self.of(service).await {
            Ok(live) => live.reachable(service).await,
            Err(LiveError::NotRunning) => {}
            Err(error) => tracing::warn!(service.id = %service, %error, "whether visitors reach it is not known"),
        }
    }

    async fn logs(&self, service: ServiceId, query: LogQuery) -> Result<LogLines, LiveError> {
        match self.of(service).await {
            Ok(live) => live.logs(service, query).await,
            // A service that never ran has an empty log, which is no error.
            Err(LiveError::NotRunning) => Ok(Box::pin(futures_util::stream::empty())),
            Err(error) => Err(error),
        }
    }

    async fn stats(&self, service: ServiceId) -> Result<Stats, LiveError> {
        self.of(service).await?.stats(service).await
    }

    async fn exec(&self, service: ServiceId, spec: ExecSpec) -> Result<ExecSession, LiveError> {
        self.of(service).await?.exec(service, spec).await
    }
}

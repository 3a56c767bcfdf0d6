//! Which worker has a service, and whether that can be reached now.
//!
//! Where one process does everything there is nothing to tell.

use std::collections::BTreeMap;

use shipway_api_types::ServiceWorker;
use shipway_model::Service;
use shipway_store::Worker;

use crate::app::App;
use crate::reply::Reject;

/// Every worker, by the engine it has.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts(BTreeMap<String, Worker>);

impl Whereabouts {
    /// Of all workers, for a list of services.
    pub(crate) async fn read(app: &App) -> Result<Self, Reject> {
        let store = &app.parts.store;
        Ok(Self(if store.is_shared() { store.list_workers_by_engine().await? } else { BTreeMap::new() }))
    }

    /// Of the one worker that has this service.
    pub(crate) async fn of(app: &App, service: &Service) -> Result<Self, Reject> {
        let mut one = BTreeMap::new();
        if let Some(engine) = &service.engine
            && app.parts.store.is_shared()
        {
            one.extend(app.parts.store.find_worker_of(engine).await?.map(|worker| (engine.clone(), worker)));
        }
        Ok(Self(one))
    }

    pub(crate) fn worker(&self, service: &Service) -> Option<ServiceWorker> {
        let worker = self.0.get(service.engine.as_ref()?)?;
        Some(ServiceWorker {
            id: worker.facts.id.clone(),
            host: worker.facts.host.clone(),
            reachable: !worker.is_silent(),
            silent_for_seconds: u64::try_from(worker.silent_for / 1_000_000).unwrap_or(0),
        })
    }
}

//! From the store's routes to the proxy's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shipway_model::{ProjectName, ServiceState};
use shipway_proxy::{Route, RouteState};
use shipway_stdx::shutdown::Shutdown;
use shipway_store::{Store, StoreError, Worker};
use tokio::sync::Mutex;

use super::edge::{Fleet, Published};

/// Between two reads of the routes without news: what a lost notice costs.
const REREAD_EVERY: Duration = Duration::from_secs(5);

/// Keeps the proxy's routes like the store's.
#[derive(Debug, Clone)]
pub(crate) struct RouteFeed {
    store: Store,
    /// The engine root whose services are served here; none where it is the only one.
    engine: Option<String>,
    fleet: Fleet,
    /// Held from reading to publishing: an older reading must never be published
    /// after a newer one.
    turn: Arc<Mutex<()>>,
}

impl RouteFeed {
    pub(crate) fn new(store: Store, engine: Option<String>, fleet: Fleet) -> Self {
        Self { store, engine, fleet, turn: Arc::default() }
    }

    /// Reads the routes and hands them to every proxy.
    pub(crate) async fn refresh(&self) -> Result<Published, StoreError> {
        let _turn = self.turn.lock().await;
        let routes = self.store.list_routes().await?;
        let elsewhere = self.elsewhere(&routes).await?;
        Ok(self.fleet.publish(routes.into_iter().map(|one| route(one, &elsewhere)).collect()))
    }

    /// The engines of other machines, with what a visitor is told of each.
    async fn elsewhere(&self, routes: &[shipway_store::Route]) -> Result<BTreeMap<String, String>, StoreError> {
        let Some(here) = &self.engine else { return Ok(BTreeMap::new()) };
        let foreign = routes.iter().filter_map(|route| route.engine.as_ref()).filter(|engine| *engine != here);
        let foreign: BTreeSet<&String> = foreign.collect();
        if foreign.is_empty() {
            return Ok(BTreeMap::new());
        }
        let workers = self.store.list_workers_by_engine().await?;
        Ok(foreign.into_iter().map(|engine| (engine.clone(), told(workers.get(engine)))).collect())
    }

    /// Tells the proxy of every change, until told to stop.
    pub(crate) async fn run(self, mut shutdown: Shutdown) {
        let mut notices = self.store.notices();
        loop {
            let seen = notices.borrow_and_update().services;
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the routes cannot be read");
            }
            tokio::select! {
                () = shutdown.requested() => return,
                // An error is a store that is closing: the loop's own pace is enough then.
                _ = notices.wait_for(|now| now.services != seen) => {}
                () = tokio::time::sleep(REREAD_EVERY) => {}
            }
        }
    }
}

/// What a visitor is told of a service that lives elsewhere.
fn told(worker: Option<&Worker>) -> String {
    let place = "the service lives on another machine";
    match worker {
        None => place.to_owned(),
        Some(worker) if worker.is_silent() => format!("{place}, {}, which is not heard of now", worker.facts.id),
        Some(worker) => format!("{place}, {}; ask there", worker.facts.id),
    }
}

fn route(route: shipway_store::Route, elsewhere: &BTreeMap<String, String>) -> Route {
    let id = route.service.to_string();
    let mut labels = vec![id.clone()];
    if route.project == ProjectName::default() {
        labels.push(route.name.to_string());
    }
    let told = route.engine.as_ref().and_then(|engine| elsewhere.get(engine));
    let state = match told {
        Some(reason) => RouteState::Unavailable { reason: reason.clone() },
        None => state(&route),
    };
    Route::new(id, route.name.to_string(), labels, state)
}

fn state(route: &shipway_store::Route) -> RouteState {
    let endpoint = route.instance.as_ref().and_then(|instance| instance.endpoint.clone());
    match (&route.state, endpoint) {
        (ServiceState::Stopped { .. }, _) => RouteState::Stopped,
        (_, Some(endpoint)) => RouteState::Live { endpoint },
        (ServiceState::Unhealthy { .. }, None) => {
            RouteState::Unavailable { reason: "the service keeps failing and is being restarted".to_owned() }
        }
        (ServiceState::Failed { .. }, None) => {
            RouteState::Unavailable { reason: "the service's first release did not become ready".to_owned() }
        }
        (ServiceState::Starting | ServiceState::Live { .. }, None) => RouteState::Starting,
    }
}

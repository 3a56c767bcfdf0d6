//! From the store's routes to the proxy's.

use std::sync::Arc;
use std::time::Duration;

use shipway_model::{ProjectName, ServiceState};
use shipway_proxy::{Route, RouteState};
use shipway_stdx::shutdown::Shutdown;
use shipway_store::{Store, StoreError};
use tokio::sync::Mutex;

use super::edge::{Fleet, Published};

/// Between two reads of the routes without news: what a lost notice costs.
const REREAD_EVERY: Duration = Duration::from_secs(5);

/// Keeps the proxy's routes like the store's.
#[derive(Debug, Clone)]
pub(crate) struct RouteFeed {
    store: Store,
    fleet: Fleet,
    /// Held from reading to publishing: an older reading must never be published
    /// after a newer one.
    turn: Arc<Mutex<()>>,
}

impl RouteFeed {
    pub(crate) fn new(store: Store, fleet: Fleet) -> Self {
        Self { store, fleet, turn: Arc::default() }
    }

    /// Reads the routes and hands them to every proxy.
    pub(crate) async fn refresh(&self) -> Result<Published, StoreError> {
        let _turn = self.turn.lock().await;
        let routes = self.store.list_routes().await?;
        Ok(self.fleet.publish(routes.into_iter().map(route).collect()))
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

fn route(route: shipway_store::Route) -> Route {
    let id = route.service.to_string();
    let mut labels = vec![id.clone()];
    if route.project == ProjectName::default() {
        labels.push(route.name.to_string());
    }
    let state = state(&route);
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

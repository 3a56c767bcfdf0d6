//! From the store's routes to the proxy's.

use shipway_model::{ProjectName, ServiceState};
use shipway_proxy::{Route, RouteState};
use shipway_store::{Store, StoreError};

/// Reads the routing table as the proxy takes it.
pub(crate) async fn read(store: &Store) -> Result<Vec<Route>, StoreError> {
    Ok(store.list_routes().await?.into_iter().map(route).collect())
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

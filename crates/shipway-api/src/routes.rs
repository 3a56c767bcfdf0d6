//! Every route there is.
//!
//! A new endpoint is a function in one of these files and a row in its table; the
//! row cannot be written without saying who may use it.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use shipway_api_types::ProblemCode;

use crate::app::App;
use crate::config::Contract;
use crate::endpoint::Endpoint;
use crate::observe::observe;
use crate::reply::Reject;

mod actions;
mod builds;
mod caddy;
mod events;
mod exec;
mod images;
mod logs;
mod releases;
mod services;
mod stats;
mod system;
mod tasks;
mod tokens;
mod uploads;
mod url_deploy;
mod workers;

pub(crate) use caddy::{CaddyBuild, CaddyBuildAnswer, CaddyBuildState, CaddyPackages};
pub(crate) use url_deploy::{UrlDeploy, UrlDeployed};

/// Every route of `/v1` and of the platform itself.
pub(crate) fn native() -> Vec<Endpoint> {
    [
        services::endpoints(),
        actions::endpoints(),
        releases::endpoints(),
        images::endpoints(),
        builds::endpoints(),
        logs::endpoints(),
        events::endpoints(),
        stats::endpoints(),
        exec::endpoints(),
        uploads::endpoints(),
        tasks::endpoints(),
        workers::endpoints(),
        tokens::endpoints(),
        system::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The routes of the older systems.
pub(crate) fn contracts() -> Vec<Endpoint> {
    [url_deploy::endpoints(), caddy::endpoints()].into_iter().flatten().collect()
}

/// The router: every route behind its guard, everything behind the outermost layer.
pub(crate) fn router(app: &App) -> Router {
    let mut router = Router::new();
    for endpoint in native() {
        router = endpoint.mount(router, app);
    }
    let contracts = app.config.contracts;
    for (contract, endpoints) in
        [(contracts.url_deploy, url_deploy::endpoints()), (contracts.caddy_build, caddy::endpoints())]
    {
        for endpoint in endpoints.into_iter().filter(|_| contract != Contract::Off) {
            router = endpoint.mount(router, app);
        }
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app.clone())
}

async fn no_route() -> Response {
    Reject::not_found("route").hint("GET / lists what there is").into_response()
}

async fn wrong_method(method: http::Method) -> Response {
    let detail = format!("{method} is not one of this path's methods");
    Reject::new(ProblemCode::MethodNotAllowed, detail).into_response()
}

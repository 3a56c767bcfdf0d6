//! The API role: everything people and programs ask of Shipway, over HTTP.
//!
//! It writes down what is wanted and answers from the store; it never makes a
//! container, never fetches a URL, and knows no engine.
//!
//! # Entry points
//!
//! * [`build`]`(`[`ApiConfig`]`, `[`Parts`]`) -> axum::Router`: the whole API.
//! * [`bind_unix`] and [`serve_unix`]`(listener, `[`Door`]`, router, shutdown)`: on
//!   which socket, and for whom: [`Door::Admin`] for people on this machine,
//!   [`Door::Edge`] for the proxy.
//! * [`Live`]: logs, stats and exec of running services, to be given in [`Parts`].
//! * [`Images`]: the place where trees of images are kept, to be given in [`Parts`].
//! * [`Secret`]: a token's secret and what the store keeps of it, for the first
//!   admin token.
//! * [`openapi_json`]: the document committed as `openapi/shipway.json`.
//!
//! # A request's way
//!
//! `serve` (which door, who knocks: `peer`) → `observe` (request id, span, metrics,
//! panics, `Host`) → `guard` of its route (origin, [`authorize`](access), query,
//! room) → the route's function in `routes/` → store → `present` → out.
//!
//! To add an endpoint: a function and a row in a file of `routes/`.

mod access;
mod app;
mod body;
mod builds;
mod change;
mod config;
mod content;
mod cursor;
mod deploy;
mod docs;
mod endpoint;
mod flow;
mod guard;
mod images;
pub mod live;
mod observe;
mod openapi;
mod origin;
mod params;
mod peer;
mod present;
mod query;
mod queue;
mod ready;
mod reply;
mod routes;
mod secret;
mod serve;
mod sock_diag;
mod time;
mod timeline;
mod whereabouts;

pub use axum::Router;
pub use config::{
    ApiConfig, BuildParts, CheckResult, Contract, Contracts, MetricsText, OpenLoopback, Parts, PublicKeys, ReadyCheck,
};
pub use images::{ImageError, Images, Tree};
pub use live::{ExecInput, ExecOutput, ExecSession, ExecSpec, Live, LiveError, LogLines, LogQuery};
pub use peer::Door;
pub use ready::Readiness;
pub use secret::Secret;
pub use serve::{bind_unix, serve_unix};

/// Builds the API.
pub fn build(config: ApiConfig, parts: Parts) -> Router {
    routes::router(&app::App::new(config, parts))
}

/// The OpenAPI document as text, ending in a newline.
#[must_use]
pub fn openapi_json() -> String {
    format!("{:#}\n", openapi::document(env!("CARGO_PKG_VERSION")))
}

//! What a worker needs of whatever serves the visitors.
//!
//! Roles never depend on roles: the worker says here what it has to know, and the
//! main function answers with what the proxy's control socket says.

use async_trait::async_trait;
use shipway_model::ServiceId;
use shipway_model::instance::Endpoint;

/// Knows when visitors have moved on.
#[async_trait]
pub trait Drain: std::fmt::Debug + Send + Sync {
    /// Waits until visitors of the service are sent where the store says now.
    ///
    /// Bounded by the implementation; returns at once when no proxy is there to wait for.
    async fn published(&self, service: ServiceId);

    /// Waits until the endpoint has no request in flight.
    ///
    /// Bounded by the implementation: a request without progress for 60 s does not
    /// count, an upgraded connection counts for an hour.
    async fn idle(&self, endpoint: &Endpoint);
}

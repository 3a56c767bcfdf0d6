//! The proxy of this installation when another process feeds it: looked at, not told.
//!
//! A worker that is a process of its own has to know when visitors have moved on. It asks
//! every living proxy, the one that takes visitors and those before it that still finish
//! theirs. Where there is none, there is nobody to wait for.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use shipway_model::instance::Endpoint;
use shipway_model::{InstanceRole, ServiceId};
use shipway_proxy::{Observer, RouteState, look_until};
use shipway_store::Store;
use shipway_worker::Drain;

use super::{APPLY_LIMIT, IDLE_LIMIT};
use crate::platform::Places;

/// The proxies of this installation.
#[derive(Debug, Clone)]
pub(crate) struct Neighbour {
    places: Places,
    store: Store,
}

impl Neighbour {
    pub(crate) const fn new(places: Places, store: Store) -> Self {
        Self { places, store }
    }

    /// Those that answer now.
    async fn proxies(&self) -> io::Result<Vec<Observer>> {
        let mut living = Vec::new();
        for socket in self.places.proxy_sockets()? {
            living.extend(self.look_at(socket).await?);
        }
        Ok(living)
    }

    /// One that died has left its socket.
    async fn look_at(&self, socket: PathBuf) -> io::Result<Option<Observer>> {
        match Observer::connect(&socket, &self.places.instance).await {
            Ok(observer) => Ok(Some(observer)),
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether every proxy sends this service's visitors where the store says.
    async fn goes_where_it_should(&self, service: ServiceId) -> anyhow::Result<bool> {
        let rows = self.store.list_instances(Some(service)).await?;
        let live = rows.into_iter().find(|row| row.role == InstanceRole::Live).and_then(|row| row.endpoint);
        for mut proxy in self.proxies().await? {
            let goes = match proxy.goes(&service.to_string()).await? {
                Some(RouteState::Live { endpoint }) => Some(endpoint),
                _ => None,
            };
            if goes != live {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn is_idle(&self, endpoint: &Endpoint) -> io::Result<bool> {
        for mut proxy in self.proxies().await? {
            if proxy.in_flight(endpoint).await? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl Drain for Neighbour {
    async fn published(&self, service: ServiceId) {
        if !look_until(APPLY_LIMIT, || self.goes_where_it_should(service)).await {
            tracing::warn!(service.id = %service, "the proxy does not have the route yet");
        }
    }

    async fn idle(&self, endpoint: &Endpoint) {
        if !look_until(IDLE_LIMIT, || self.is_idle(endpoint)).await {
            tracing::info!(?endpoint, "an old instance still has visitors and is stopped");
        }
    }
}

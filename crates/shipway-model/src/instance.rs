//! An instance: one container of one release, as the store remembers it.
//!
//! The row is written before the container is started and removed after it is
//! gone, so that no kill leaves a container nobody knows, or a route to nothing.

use serde::{Deserialize, Serialize};

use crate::{ContainerId, Micros, ServiceId};

/// One container of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The driver's container.
    pub container: ContainerId,
    /// Whose it is.
    pub service: ServiceId,
    /// Which release it runs.
    pub release: u32,
    /// Whether visitors are sent here.
    pub role: InstanceRole,
    /// Where it answers, once started.
    pub endpoint: Option<Endpoint>,
    /// Deaths in a row; forgotten after a minute of good health.
    pub failures: u32,
    /// When the container was last started, or `None` before the first time.
    pub started_at: Option<Micros>,
    /// The driver's own words to find its container again; opaque to others.
    pub handle: Option<String>,
}

/// Why this container exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceRole {
    /// A new release being probed.
    Candidate,
    /// Serves the live release.
    Live,
    /// Finishes its last requests, then stops.
    Draining,
}

/// Where an instance answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Endpoint {
    /// A unix socket on this host that the proxy's user may open.
    Unix {
        /// Absolute path.
        path: String,
    },
    /// A unix socket where a shim passes over a connection to the container
    /// (`SCM_RIGHTS`, one descriptor per accepted connection).
    Dialer {
        /// Absolute path.
        path: String,
        /// What is spoken over that connection. A runner of ours, which has a socket of
        /// its own, always speaks HTTP/1.1.
        #[serde(default, skip_serializing_if = "Protocol::is_default")]
        protocol: Protocol,
    },
}

impl Endpoint {
    /// What is spoken there.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Unix { .. } => Protocol::Http1,
            Self::Dialer { protocol, .. } => *protocol,
        }
    }

    /// The same place, where `spoken` is spoken: an engine knows the place only.
    #[must_use]
    pub fn speaking(mut self, spoken: Protocol) -> Self {
        if let Self::Dialer { protocol, .. } = &mut self {
            *protocol = spoken;
        }
        self
    }
}

/// What a program speaks on its port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113 §3.3): what gRPC needs.
    H2c,
}

impl Protocol {
    /// Whether it is what is meant where none is named.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

//! What the control plane and the proxy say to each other, version [`VERSION`].
//!
//! One JSON object a line on the unix stream socket `<run dir>/proxy.sock`. The
//! control plane asks, the proxy answers each [`Ask`] that has an answer, in
//! order. A proxy works with the control planes of two releases before and after
//! it, so fields are added with defaults and never change their meaning;
//! `tests/fixtures` keeps lines of every version.
//!
//! ```text
//! serve ── hello ─────────────────────► proxy   (root only, by SO_PEERCRED)
//!       ◄───────────────────── hello ──
//!       ── snapshot, in parts ────────►         replaces every route
//!       ◄─────────────────── applied ──
//!       ── upsert | remove ───────────►         one route at a time
//!       ◄─────────────────── applied ──
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use shipway_model::instance::{Endpoint, Protocol};

use crate::config::{Serves, Settings};

/// Version of every message and of the file of routes.
pub const VERSION: u32 = 1;

/// Longest line either side reads, in bytes; a longer one ends the connection.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// Routes in one part of a snapshot. Keeps a line far below [`LINE_BYTES_MAX`].
pub const SNAPSHOT_PART: usize = 500;

/// Name of the control socket in the run directory: the newest proxy's.
pub const CONTROL_SOCKET: &str = "proxy.sock";

/// Returns the name under which the proxy that is process `pid` answers for as long
/// as it lives, also when a newer one has taken [`CONTROL_SOCKET`].
#[must_use]
pub fn own_socket(pid: u32) -> String {
    format!("proxy-{pid}.sock")
}

/// Whether `name`, of a file in the run directory, is one that [`own_socket`] gives.
#[must_use]
pub fn is_own_socket(name: &str) -> bool {
    let pid = name.strip_prefix("proxy-").and_then(|rest| rest.strip_suffix(".sock"));
    pid.is_some_and(|pid| pid.parse::<u32>().is_ok())
}

/// Name of the API's socket for the proxy in the run directory.
///
/// On every connection the proxy first sends one byte, [`API_GREETING`], with a
/// duplicate of the visitor's TCP socket beside it (`SCM_RIGHTS`), so that the
/// API asks the kernel itself who the peer is. HTTP/1.1 follows. A connection
/// carries requests of that one visitor's connection only.
pub const API_SOCKET: &str = "edge-api.sock";

/// The byte that carries the visitor's socket to the API.
pub const API_GREETING: u8 = 1;

/// Where requests of one service go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The service's id.
    pub service_id: String,
    /// Its name, for messages and logs.
    pub name: String,
    /// Its host labels: the id and, in project `default`, the name. Lower case.
    pub labels: Vec<String>,
    /// Where its requests go now.
    pub state: RouteState,
    /// Its own bounds, where they differ from the proxy's.
    #[serde(default)]
    pub limits: RouteLimits,
}

impl Route {
    /// Makes a route with the proxy's own limits.
    #[must_use]
    pub fn new(service_id: String, name: String, labels: Vec<String>, state: RouteState) -> Self {
        Self { service_id, name, labels, state, limits: RouteLimits::default() }
    }
}

/// Bounds of one service; `None` is the proxy's own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteLimits {
    /// Milliseconds from the end of a request to its response's first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u32>,
    /// Requests in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// Where a service's requests go now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RouteState {
    /// To the live release.
    Live {
        /// Where that answers.
        endpoint: Endpoint,
    },
    /// Nowhere yet: 503, after a short wait for better news.
    Starting,
    /// Nowhere, by wish: 503.
    Stopped,
    /// Nowhere, by misfortune: 503.
    Unavailable {
        /// For the visitor; one line.
        reason: String,
    },
}

/// Control plane → proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// First on every connection. Answered by [`Answer::Hello`].
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Which installation's control plane this is.
        instance: String,
    },
    /// First on a connection that only looks: it changes nothing, and takes nobody's place.
    /// Answered by [`Answer::Hello`].
    Observe {
        /// [`VERSION`].
        version: u32,
        /// Which installation asks.
        instance: String,
    },
    /// Where requests of one service go. Answered by [`Answer::Goes`].
    Where {
        /// Which.
        service_id: String,
    },
    /// All routes, in parts. Each route counts from its part on; those that no part
    /// has are gone after the last, which is answered by [`Answer::Applied`].
    Snapshot {
        /// The generation of routes that this is.
        version: u64,
        /// Some of them.
        routes: Vec<Route>,
        /// Whether another part follows.
        #[serde(default)]
        more: bool,
    },
    /// One route, new or changed. Answered by [`Answer::Applied`].
    Upsert {
        /// The generation of routes after it.
        version: u64,
        /// The route.
        route: Route,
    },
    /// One service is gone. Answered by [`Answer::Applied`].
    Remove {
        /// The generation of routes after it.
        version: u64,
        /// Which.
        service_id: String,
    },
    /// Answered by [`Answer::Listeners`], with the sockets beside it.
    Listeners,
    /// Requests in flight to an endpoint. Answered by [`Answer::InFlight`].
    InFlight {
        /// Which.
        endpoint: Endpoint,
    },
    /// Answered by [`Answer::Stats`].
    Stats,
    /// Accept nothing more, finish what is in flight, exit. Answered by [`Answer::Draining`].
    DrainAndExit {
        /// How long to wait for requests in flight at most.
        limit: Duration,
    },
}

/// Proxy → control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Who is there.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Which installation's proxy this is.
        instance: String,
        /// Its process.
        pid: u32,
        /// Routes it has.
        routes: usize,
        /// What it was told at its start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        settings: Option<Box<Settings>>,
    },
    /// New requests go by this generation of routes from here on.
    Applied {
        /// As asked.
        version: u64,
    },
    /// Sockets, in the order of the descriptors beside this line.
    Listeners {
        /// What each is.
        listeners: Vec<ListenerNote>,
    },
    /// Requests in flight.
    InFlight {
        /// How many, streams and upgraded connections included.
        requests: u64,
    },
    /// Where requests of a service go.
    Goes {
        /// Nothing for one that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<RouteState>,
    },
    /// How it goes.
    Stats {
        /// Visitors' connections.
        connections: usize,
        /// Routes it has.
        routes: usize,
        /// Counters in Prometheus' text format.
        metrics: String,
    },
    /// It will exit.
    Draining,
    /// The ask could not be followed; the connection ends after it.
    Refused {
        /// What a person needs to know.
        reason: String,
    },
}

/// A listener, without its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerNote {
    /// What messages and logs call it.
    pub name: String,
    /// What it serves.
    pub serves: Serves,
}

//! What a proxy is told at its start.
//!
//! [`Settings`] is plain data that travels as JSON from the supervisor to the
//! process; the listening sockets travel beside it as descriptors and join it
//! in [`ProxyConfig`].

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything one proxy process needs.
#[derive(Debug)]
pub struct ProxyConfig {
    /// Plain data.
    pub settings: Settings,
    /// Sockets it accepts visitors on, already listening.
    pub listeners: Vec<Listener>,
}

/// A socket that visitors connect to.
#[derive(Debug)]
pub struct Listener {
    /// What messages and logs call it.
    pub name: String,
    /// What it serves.
    pub serves: Serves,
    /// The socket itself, listening.
    pub socket: TcpListener,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Serves {
    /// Only the API host and loopback names.
    Api,
    /// Only services.
    Services,
    /// Both, told apart by `Host`.
    Both,
}

impl Serves {
    /// Whether requests for the API host are served.
    #[must_use]
    pub const fn api(self) -> bool {
        matches!(self, Self::Api | Self::Both)
    }

    /// Whether requests for services are served.
    #[must_use]
    pub const fn services(self) -> bool {
        matches!(self, Self::Services | Self::Both)
    }
}

/// The part of a proxy's configuration that is plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where `proxy.sock` is made (before privileges are dropped) and
    /// `edge-api.sock` is looked for.
    pub run_dir: PathBuf,
    /// A directory that `user` may write: holds the last good routes.
    pub snapshot_dir: PathBuf,
    /// Whom to become. `None` stays who it is, for a developer without root.
    #[serde(default)]
    pub user: Option<User>,
    /// `<label>.<suffix>` names a service. Lower case, without a leading dot.
    pub host_suffixes: Vec<String>,
    /// Names of the API, without port; loopback names are added to them.
    pub api_hosts: Vec<String>,
    /// Names this installation in the handshake with the control plane.
    pub instance: String,
    /// Threads that serve visitors; 0: one per processor.
    #[serde(default)]
    pub threads: usize,
    /// How long to wait for the control plane's routes before the first visitor is
    /// accepted. After that those of the last good snapshot serve.
    #[serde(default)]
    pub routes_wait: Duration,
    /// Whether plain HTTP/1.1 requests are answered by the hand-written path. Off is
    /// for tests and for looking into a doubt: nothing but speed may differ.
    #[serde(default = "yes")]
    pub fast_path: bool,
    /// Bounds on everything a visitor can use up.
    #[serde(default)]
    pub limits: Limits,
}

const fn yes() -> bool {
    true
}

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id; never 0.
    pub uid: u32,
    /// Group id; never 0.
    pub gid: u32,
}

/// Bounds on everything a visitor or a service can use up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Visitors' connections in total. Past it, new ones wait in the kernel's queue.
    pub connections: usize,
    /// Visitors' connections from one address (one /64 for IPv6). Past it, closed at once.
    pub connections_per_address: usize,
    /// From a connection's start, or a request's first byte, to the end of its head.
    pub header_time: Duration,
    /// How long a connection may wait for its next request.
    pub idle: Duration,
    /// How long a visitor may pause within a request's body.
    pub body_idle: Duration,
    /// Longest request body, in bytes.
    pub body_bytes: u64,
    /// From the end of a request to the first byte of its response.
    pub first_byte: Duration,
    /// How long a response may pause, on either side, before it is given up.
    pub response_idle: Duration,
    /// The same for streams: server-sent events, NDJSON, gRPC, upgraded connections.
    pub stream_idle: Duration,
    /// Requests in flight to one service, streams included.
    pub concurrency: u32,
    /// How long a request is held while its service's endpoint does not answer,
    /// as it happens right after a crash.
    pub patience: Duration,
    /// Requests held so at a time, over all services.
    pub held: usize,
    /// Unused connections kept for one endpoint, per thread.
    pub idle_upstream: usize,
    /// How long an unused connection to an endpoint is kept.
    pub idle_upstream_time: Duration,
    /// How long a proxy told to stop waits for requests in flight.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_address: 4096,
            header_time: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            body_idle: Duration::from_secs(60),
            body_bytes: 4 << 30,
            first_byte: Duration::from_secs(60),
            response_idle: Duration::from_secs(60),
            stream_idle: Duration::from_secs(3600),
            concurrency: 1024,
            patience: Duration::from_secs(1),
            held: 1024,
            idle_upstream: 512,
            idle_upstream_time: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}

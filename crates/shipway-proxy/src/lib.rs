//! The proxy role: hostile bytes in, requests to live releases out.
//!
//! It is a process of its own, without privileges, supervised by `serve` and
//! outliving it. It knows nothing but routes, which the control plane feeds it
//! over a unix socket; when the control plane is away it serves on with the last
//! ones it had.
//!
//! ```text
//!             guard          host           table          pool
//! visitor ──► every head ──► which name ──► which      ──► connection to ──► container
//!             and chunk      is meant?      endpoint?      that endpoint
//! ```
//!
//! # In reading order
//!
//! * [`config`]: what a proxy is told at its start; [`startup`] hands it over.
//! * [`wire`]: what the control plane and the proxy say to each other.
//! * [`feed`]: the control plane's side of that talk.
//! * [`run()`]: the process itself.
//!
//! # Never
//!
//! The proxy never reads the store, never starts or stops anything, never
//! executes a program, and never parses a visitor's byte before its privileges
//! are gone for good.

mod access;
mod alarm;
mod answer;
mod api_link;
mod body;
mod client;
pub mod config;
mod control;
mod descriptors;
mod exchange;
mod fast;
pub mod feed;
mod forward;
mod guard;
mod headers;
mod host;
mod look;
mod metrics;
mod observer;
mod patience;
mod privileges;
mod request_id;
mod run;
mod server;
mod snapshot;
mod speech;
mod splice;
pub mod startup;
mod streams;
mod table;
mod ticket;
mod upstream;
pub mod wire;

pub use config::{Limits, Listener, ProxyConfig, Serves, Settings, User};
pub use feed::{FeedClient, FeedTask, Peer};
pub use look::look_until;
pub use observer::Observer;
pub use run::{RunError, run};
pub use wire::{Endpoint, Protocol, Route, RouteLimits, RouteState};

//! The worker role: takes leases, plans, acts.
//!
//! Users ask for changes in the store; the worker claims them one by one, each
//! under a lease, and carries them out through a driver. It remembers nothing that
//! matters: every task can be killed at any instruction and run again, by this
//! worker or the next, and ends the same.
//!
//! Reading order: [`worker`] (the loop and its tick), [`config`], `job` (one task
//! under its lease, and how it ends), `build` (the other sort of task), `change` (what each kind does),
//! `launch` and `probe` (a container from row to ready), `repair` (the planner's
//! moves, carried out), `watch` (who notices deaths and idle instances),
//! [`live`] (logs, stats and exec of what runs), [`drain`] (what is needed of a proxy),
//! `presence` (a worker among others), [`supply`] (what another machine has received).
//!
//! # Invariants
//!
//! * A row is written before its container is started, and forgotten after it is gone.
//! * A route changes only in the store, and only to a container that was ready.
//! * An old instance is stopped after the proxy has the new route and the old one
//!   is idle; waiting for that happens outside any lease, so that nobody's next
//!   deploy waits for somebody's open WebSocket.
//! * What a worker started under a lease it has lost, it ends, unless it was published.
//!
//! # Never
//!
//! No HTTP route, no database but through the store, no engine but through a
//! driver, no decision that `shipway-plan` could make.

mod build;
mod change;
pub mod config;
mod core;
pub mod drain;
mod ending;
mod hands;
mod job;
mod jobs;
mod launch;
mod lease;
pub mod live;
mod measure;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod orders;
mod presence;
mod probe;
mod repair;
pub mod supply;
mod trouble;
mod watch;
mod work;
pub mod worker;

pub use build::{Farming, Seats, Warm, Warmer};
pub use config::WorkerConfig;
pub use drain::Drain;
pub use live::{LiveError, LiveLine, LivePlace, LiveQuery, LiveStreams};
pub use orders::Orders;
pub use supply::{OwnTrees, Trees};
pub use worker::{Parts, Worker};

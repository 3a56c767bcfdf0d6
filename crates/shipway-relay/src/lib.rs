//! What flows while services run, between an api and the worker that has them.
//!
//! Logs as they are written, exec and stats cannot pass through the store. Where api and
//! worker are one process they are a function call ([`shipway_api::Live`]); where they are
//! not, this is that call over the network: [`serve`] on the worker's side, [`RemoteLive`] on
//! the api's.
//!
//! # Trust
//!
//! Both sides trust the store and nothing else. A worker makes a key, a certificate and a
//! secret anew with every start ([`Identity`]) and writes where it answers, the digest of the
//! certificate and the secret into its own row. An api reads that row, takes no other
//! certificate, and shows the secret: it opens this one worker's streams and nothing else,
//! until that worker starts again. All of it is TLS 1.3.
//!
//! # Limits
//!
//! A connection carries one call. A caller has five seconds to say what it wants, and
//! [`CALLS_MAX`] are at work at once. Either side that hears nothing for [`SILENCE_MAX`] gives
//! up: a machine that was cut off ends nobody's connection by itself.
//!
//! Reading order: [`Identity`], `wire` (what is said), `server`, `client`, `exec`.

mod client;
mod exec;
mod identity;
mod server;
mod wire;

use std::time::Duration;

pub use client::RemoteLive;
pub use identity::{Identity, IdentityError};
pub use server::serve;

/// Calls that one worker answers at once.
pub const CALLS_MAX: usize = 1024;

/// A side that hears nothing for so long takes the other for gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How often a side with nothing to say says so.
const SIGN_EVERY: Duration = Duration::from_secs(15);

/// How long connecting, greeting and asking may take, each.
const STEP_MAX: Duration = Duration::from_secs(5);

//! Carries out builds of Go programs that nobody trusts.
//!
//! `shipway-gobuild` says what is to be done, as data; this crate does it, in a sandbox:
//!
//! ```text
//! Plan ──► Farm::build ──► a bench: host image + toolchain + cache, below a disk of its own
//!            │  step by step:  download ── the go command ──► door ──► module proxies
//!            │                 build    ── the compiler, and nothing to be reached
//!            ▼
//!     the binary, copied out; events meanwhile; or a failure that says whose it is
//! ```
//!
//! Reading order: [`sandbox`] (what is needed of an engine), [`farm`] (a build from begin to
//! end), [`door`] (all that the download phase reaches), [`event`] and [`failure`] (what is
//! told), [`caches`] (what makes the next build quick, and why it is safe to share).
//!
//! # Never
//!
//! * A byte that a user's build left becomes part of another's.
//! * A program of the user's runs while anything can be reached.
//! * A word of a user's is given to a shell.

pub mod caches;
pub mod door;
pub mod event;
pub mod failure;
pub mod farm;
mod output;
pub mod sandbox;

pub use event::{BuildEvent, Source, What};
pub use failure::{Failure, FailureKind};
pub use farm::{Built, Farm, FarmConfig, FarmLimits, StepReport};

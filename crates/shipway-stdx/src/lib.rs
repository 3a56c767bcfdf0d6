//! What the standard library might have had.
//!
//! Read in this order: [`clock`] (time as a parameter), [`backoff`] (how long to
//! wait before trying again), [`chain`] (an error in one line), [`fs`] (writes that a crash
//! cannot halve), [`port`] (who holds one), [`shutdown`] (how a part is told to stop). Nothing here knows a word of
//! Shipway's own.

pub mod backoff;
mod chain;
pub mod clock;
pub mod fs;
pub mod port;
pub mod shutdown;

pub use chain::chain;

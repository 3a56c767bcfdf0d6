//! Wanted and seen in, next moves out.
//!
//! A service is kept running by a conversation, not by a script. Each time
//! somebody asks, [`next_moves`] looks at what is wanted, at the rows of the
//! store and at what the driver sees *now*, and names the moves that bring the
//! two closer. Nothing is remembered between calls, so a worker that dies halfway
//! is simply replaced by one that asks again.
//!
//! Reading order: [`world`] (what is looked at), [`moves`] (what can be done about
//! it), [`next_moves`] (which of it, now), [`strays`] (containers no row knows).
//!
//! # Invariants
//!
//! * There are never two live instances: one is brought up only while no row is live.
//! * A live instance that runs, of the release that should be live, is never
//!   stopped, whatever else is in the world: no failed candidate, no old grave.
//! * A candidate seen between two tasks was left by a worker that died: it goes.
//! * What drains is stopped only once it is idle, or when nothing should run at all.
//! * A dead container stays, with its log, until its successor has been well for
//!   [`Policy::forget_after`]: a crash can be read about after the restart.
//! * The same world always yields the same moves, and carrying them out, all or any
//!   first part of them, leads to a world that needs fewer.
//!
//! # Never
//!
//! No clock (the time comes in as a value), no randomness, no I/O, no async.

pub mod moves;
mod next;
pub mod policy;
mod stray;
pub mod world;

pub use moves::Move;
pub use next::next_moves;
pub use policy::Policy;
pub use stray::strays;
pub use world::{Seen, Sight, World};

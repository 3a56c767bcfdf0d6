//! The janitor role: gives lost tasks back, forgets what is old, keeps disks clean.
//!
//! Three loops, which know nothing of each other:
//!
//! * [`Janitor`] does what belongs to the store alone. Any number may run at once, on any
//!   hosts: each row is taken by one of them, and to be second is to find nothing.
//! * [`Housekeeping`] looks after the disk of one host, and belongs to the processes that
//!   put something on it. What lies there it is told by [`Place`]s.
//! * [`Gauges`] puts figures of the queue where `/metrics` finds them.
//!
//! Reading order: [`keep`] (what is kept, as configuration), [`plan`] (what is therefore to
//! go, pure), [`janitor`], [`housekeeping`].
//!
//! # Invariants
//!
//! * Nothing that is in use goes. For rows the store sees to it, in the transaction that
//!   takes them. For files it is the order: list, then ask what is needed, then remove what
//!   has not been touched meanwhile; whoever makes use of a file touches it first.
//! * Work comes in bounded pieces, and between two pieces everybody else gets a turn.
//! * A loop remembers nothing between its rounds: killed at any instruction, the next one
//!   does the rest.
//!
//! # Never
//!
//! No container is started or stopped, no route changed, no database but through the store.

mod gauges;
pub mod housekeeping;
pub mod janitor;
pub mod keep;
mod measure;
pub mod plan;

pub use gauges::Gauges;
pub use housekeeping::{Cleared, Housekeeping, HousekeepingConfig, HousekeepingParts, Kept, Place, PlaceError};
pub use janitor::{Forgotten, Janitor, JanitorConfig, Parts};
pub use keep::{Keep, Unused};

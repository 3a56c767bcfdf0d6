//! How a container reaches out: egress `internet`.
//!
//! A container has a network namespace with nothing in it. This crate gives it a link
//! to the host, an address of its own, a way out behind the host's address, and names;
//! and it keeps it from everything that is not the public internet: private networks,
//! metadata services, the host, its neighbours. Nothing is run for that (no `ip`, no
//! `nft`): the kernel is spoken to directly.
//!
//! [`Egress`] is the whole of it; [`Forwarder`] is the task that answers names. Reading
//! order: [`addresses`], [`policy`], `table` (the rules), `links`, `forwarding`, `dns`,
//! `foreign` (other people's firewalls), `survey` (what is in the way), `egress` (all of it together), `doctor`.
//!
//! # Invariants
//!
//! * Rules come before the link is up and go after it is gone: there is no moment at
//!   which a container reaches more than its policy says.
//! * Names follow from the engine root's instance id; what does not carry it is never
//!   touched.
//! * Everything can be done again: a crash at any instruction is mended by
//!   [`Egress::reconcile`].
//! * All of it happens in the network namespace of the calling thread.

pub mod addresses;
mod conntrack;
mod dns;
pub mod doctor;
mod egress;
mod error;
pub mod finding;
mod foreign;
mod forwarding;
mod links;
mod netlink;
mod netns;
pub mod policy;
mod special;
mod survey;
mod table;
mod watch;

pub use addresses::{Addresses, Slot};
pub use dns::{Forwarder, NameCounters, Upstreams};
pub use egress::{Attached, Config, Egress, Living, Reconciled, Seen};
pub use error::EgressError;
pub use finding::{About, Finding, Severity};
pub use policy::{Allow, AllowError, Block, Policy};
pub use survey::survey;
pub use table::Counters;
pub use watch::Watch;

//! Egress `internet` in a fake internet: network namespaces of the tests' own, whose
//! packets never leave them.

#![expect(clippy::unwrap_used, reason = "a test says by panicking that something is wrong")]

mod allow;
mod crash;
mod firewall;
mod limits;
mod names;
mod reach;
mod refuse;
mod world;

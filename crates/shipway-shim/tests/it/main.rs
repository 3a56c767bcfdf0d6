//! The launcher and the shim, driven over their protocol with real containers.
//!
//! Needs root, and a static busybox for the containers' root. Each test has a launcher,
//! folders and cgroups of its own ([`world`]) and leaves nothing behind.

#![cfg(test)]
#![expect(clippy::expect_used, reason = "a test says what it expected")]

mod control;
mod dialer;
mod exec;
mod fixtures;
mod gate;
mod isolation;
mod lifetime;
mod logs;
mod roots;
mod socket;
mod world;

//! The embedded driver with real containers on a real host image. Needs root.

#![expect(clippy::unwrap_used, reason = "a test says by panicking that something is wrong")]

mod benches;
mod exam;
mod nginx;
mod service;
mod world;

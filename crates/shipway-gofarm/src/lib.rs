//! Carries out builds of Go programs that nobody trusts.

pub mod sandbox;

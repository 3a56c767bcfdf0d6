//! What the engine and the shim say to each other.
//!
//! The shim itself is this package's binary: a small static program that is
//! first the engine's *launcher* (one per engine, forks shims) and then, forked
//! from it, the *shim* of one container. The library holds only the protocol, so
//! that both sides compile the same words.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod protocol;

//! The proxy as a real process, real sockets on both sides, origins that record
//! every byte. One binary; a module per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod api;
mod bodies;
mod differential;
mod draining;
mod fixtures;
mod grid;
mod grpc;
mod hostile;
mod http2;
mod http2_hostile;
mod hygiene;
mod large;
mod limits;
mod observers;
mod process;
mod routes;
mod silence;
mod smuggling;
mod support;
mod upgrades;
mod upstreams;

//! A whole platform in a test: the real binary, real containers, real sockets.
//!
//! [`Platform`] starts `shipway serve` in a directory of its own on a free port,
//! and ends all of it when dropped. [`FileServer`] is the internet in small: what
//! a URL points at. [`Postgres`] is a database server, [`Pooler`] stands before one; [`Moto`] is an
//! S3 server as people test with. [`http`] asks as a visitor would.
//! `s3` (a feature) is another one, with faults before it. Needs root, as Shipway does.

mod file_server;
pub mod http;
mod moto;
mod platform;
mod pooler;
mod postgres;
#[cfg(feature = "s3")]
pub mod s3;
mod wait;

pub use file_server::FileServer;
pub use moto::Moto;
pub use platform::{Output, Platform, Settings};
pub use pooler::Pooler;
pub use postgres::{Postgres, Stop};
pub use wait::wait_until;

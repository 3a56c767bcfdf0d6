//! What builds made: kept by content in a directory or in S3, signed, and told of where
//! it came from.
//!
//! Read in this order: [`config`] (where, and with which keys), [`layout`] (which key holds
//! what), [`chunks`] (how a part of an artifact is verified), [`measure`] (a local file
//! becomes a digest), [`artifacts`] (the door: put, read, list, touch, remove), `read`
//! (a stream that never gives out a wrong byte), `directory` and `s3` (the two places),
//! [`sign`] (minisign and `OpenPGP`), [`provenance`] (SLSA, as in-toto says it).
//!
//! # Invariants
//!
//! * Nothing is found under its name before it is whole.
//! * No byte is given out that was not compared with its digest.
//! * Whatever was cut off (a process, a connection, an answer), doing it again ends well.
//! * Memory is bounded by constants, not by the size of an artifact.
//!
//! # What it never does
//!
//! It knows no database and no HTTP routes: who needs which artifact is for its callers to
//! say. It reads no environment and no configuration file.

pub mod artifacts;
pub mod chunks;
pub mod config;
mod directory;
pub mod error;
mod held;
pub mod layout;
pub mod measure;
pub mod provenance;
mod read;
mod s3;
pub mod sign;

pub use artifacts::{Artifacts, Kept, Page, Sweep};
pub use config::{ArtifactsConfig, S3Config, S3Limits, Secret};
pub use error::ArtifactError;
pub use layout::{Companion, Stored};
pub use read::Reading;

//! Plans builds of Go programs with plugins: which versions, under which key, by which steps.
//!
//! A list of plugins comes in. This crate finds out what each of its words means (the versions
//! and modules that a module proxy serves), gives the answer a name (the build key: equal keys,
//! equal bytes) and writes down the commands that make the binary. It runs none of them: the
//! code of a plugin is hostile, so commands run in a sandbox that this crate knows nothing of.
//!
//! What is built is data: a [`Recipe`] says which program, how a plugin is imported and with
//! which flags. `caddy` and `k6` come with it.
//!
//! Reading order: [`module`] (paths and versions, checked), [`platform`], [`recipe`],
//! [`request`] (what was asked), [`proxy`] (whom to ask), [`resolve`] and [`resolved`] (what it
//! means), [`key`], [`plan`] (how it is made); then what is beside it: [`toolchain`] and
//! [`checksums`] (which Go, and whether it is the right one), [`scan`] (which plugins a module
//! has), [`buildinfo`] and [`sbom`] (what a binary is made of); and what they stand on: [`gomod`],
//! [`goversion`], [`zip`], [`download`].

pub mod buildinfo;
pub mod checksums;
pub mod download;
pub mod gomod;
pub mod goversion;
pub mod key;
pub mod module;
pub mod plan;
pub mod platform;
pub mod proxy;
pub mod recipe;
pub mod request;
pub mod resolve;
pub mod resolved;
pub mod sbom;
pub mod scan;
pub mod spec;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod toolchain;
mod windows;
pub mod zip;

pub use goversion::GoVersion;
pub use key::BuildKey;
pub use module::{ImportPath, ModuleError, ModulePath, Version};
pub use plan::{Command, File, Phase, Plan, Step, StepName};
pub use platform::{Platform, PlatformError};
pub use proxy::{Proxies, ProxiesConfig, ProxyError, ProxyList};
pub use recipe::Recipe;
pub use request::{Query, Request, RequestError};
pub use resolved::Resolved;
pub use spec::Spec;

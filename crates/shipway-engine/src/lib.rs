//! Containers on this host.
//!
//! With `shipway-shim` the only crate with unsafe code, and the only one that knows
//! what a namespace is. [`Engine`] carries out single operations and has no policy:
//! nothing is restarted, retried or given up here.
//!
//! Reading order: [`spec`] (what a container is made from), `container` (what is
//! known of one), `engine` (the operations) with `engine/open` (finding everything
//! again), `engine/start` and `engine/watch`; then what they stand on: `launcher`,
//! `packet` and `control` (talking to the launcher and the shims), [`cgroups`],
//! [`slots`], `seccomp`, [`logs`], `sweep`. Beside it stand [`host_image`] and
//! [`layers`] (where root file systems come from) and [`doctor`] (what this host
//! offers).
//!
//! # Never
//!
//! * The server never forks; a small launcher does.
//! * Nothing that another engine root made is read, changed or removed.
//! * A limit that cannot be set is an error.

pub mod cgroups;
mod container;
mod control;
pub mod doctor;
mod engine;
mod error;
mod home;
pub mod host_image;
mod launcher;
pub mod layers;
mod listener;
pub mod logs;
mod outside;
mod packet;
mod process;
mod ready;
mod seccomp;
pub mod slots;
mod spawn;
pub mod spec;
mod sweep;

pub use cgroups::{Limits, Usage};
pub use container::{Exited, Phase, Running, Seen};
pub use engine::{Engine, EngineConfig, ExecInput, ExecOutput, ExecSession, ExecSpec, Stats};
pub use error::EngineError;
pub use home::install_program;
pub use logs::{Cursor, LogLine, LogQuery};
pub use outside::OutsideConfig;
pub use seccomp::program as seccomp_program;
pub use shipway_egress::{Allow, Block, Seen as Reached, Upstreams};
pub use shipway_shim::protocol::VERSION as SHIM_PROTOCOL;
pub use shipway_shim::protocol::{Bind, EXECUTE, InlineFile, LogLimits, Network, Process, Rlimit, Root, Tmpfs, Upper};
pub use spec::{ContainerSpec, EgressSpec, Ingress};

//! What this host offers, what is missing, and what to do about it.
//!
//! Every check *does* the thing in question and looks at what the kernel answers: a
//! version number says nothing about a kernel that a distribution patched, a vendor
//! stripped or a sandbox narrows. And every check leaves the host as it was.
//!
//! # How a check is kept harmless
//!
//! A namespace belongs to a thread, not to a process. So each check runs on a thread
//! of its own; one that mounts or makes interfaces first moves that thread into fresh
//! namespaces. When the thread ends the kernel takes all of it down, also when the
//! whole process is killed meanwhile. No helper program is needed, and nothing runs
//! between fork and exec. Only a user namespace cannot be entered by one thread of
//! many; for that a bare child is cloned that calls nothing but `prctl` and `sleep`.
//!
//! A check that does not answer in time is reported as such and its thread is left
//! to the kernel: nothing can take it out of a system call that hangs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::OutsideConfig;
use crate::host_image::HostImageConfig;

mod cgroups;
mod egress;
mod isolation;
mod kernel;
mod limits;
mod mounts;
mod namespaces;
mod network;
mod packages;
mod probe;
mod storage;
#[cfg(test)]
mod tests;

/// What to examine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorConfig {
    /// Where containers will be kept; it need not exist yet.
    pub state_dir: PathBuf,
    /// Where host images are kept, if any are: the present one is verified.
    pub host_images_dir: Option<PathBuf>,
    /// What host images are made of.
    pub host_image: HostImageConfig,
    /// The engine root, which knows its own name once it has been used.
    pub engine_root: PathBuf,
    /// How containers are to reach out.
    pub outside: OutsideConfig,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name: lower case, stable, fit for a script.
    pub check: String,
    /// How it stands.
    pub status: Status,
    /// What was seen.
    pub what: String,
    /// What to do about it; `None` when there is nothing to do.
    pub remedy: Option<String>,
}

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Shipway works, but not as well as it could.
    Warning,
    /// Shipway's own containers do not work without it.
    Missing,
}

/// What a check answers; its name is added by [`examine`].
#[derive(Debug)]
pub(crate) struct Outcome {
    status: Status,
    what: String,
    remedy: Option<String>,
}

impl Outcome {
    fn ok(what: impl Into<String>) -> Self {
        Self::new(Status::Ok, what, None)
    }

    fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Status::Warning, what, Some(remedy.into()))
    }

    fn missing(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Status::Missing, what, Some(remedy.into()))
    }

    fn new(status: Status, what: impl Into<String>, remedy: Option<String>) -> Self {
        Self { status, what: what.into(), remedy }
    }
}

/// A check's name and what it does.
pub(crate) type Check = (&'static str, fn(&DoctorConfig) -> Outcome);

/// All checks, in the order in which people read them.
fn checks() -> impl Iterator<Item = &'static Check> {
    [
        kernel::CHECKS,
        isolation::CHECKS,
        namespaces::CHECKS,
        mounts::CHECKS,
        cgroups::CHECKS,
        limits::CHECKS,
        network::CHECKS,
        egress::CHECKS,
        storage::CHECKS,
        packages::CHECKS,
    ]
    .into_iter()
    .flatten()
}

/// Examines this host. Blocks for up to a second, as a rule; asynchronous callers
/// give it a thread of its own.
#[must_use]
pub fn examine(config: &DoctorConfig) -> Vec<Finding> {
    checks()
        .map(|(name, check)| {
            let Outcome { status, what, remedy } = probe::within_time(*check, config);
            let check = (*name).to_owned();
            Finding { check, status, what, remedy }
        })
        .collect()
}

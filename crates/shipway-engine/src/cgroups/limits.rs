//! Writing a container's limits. One that cannot be written is an error.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Cgroups, Version, put, write};
use crate::EngineError;

/// What all processes of a container may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, page cache and temporary file systems included. No swap.
    pub memory_bytes: u64,
    /// Thousandths of one processor, at least 10.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
}

/// The window of the processor limit, the kernel's own default. Shorter ones cost
/// more switching, longer ones make a container that used its share wait longer.
const PERIOD_USEC: u64 = 100_000;

impl Cgroups {
    /// Limits the cgroup `name`.
    pub(crate) fn limit(&self, name: &str, limits: &Limits) -> Result<(), EngineError> {
        self.limit_memory(name, limits.memory_bytes)?;
        let pids = self.pids.file(name, "pids.max", "pids.max");
        write(&pids, &limits.pids.to_string())?;
        let quota = u64::from(limits.cpu_millis) * PERIOD_USEC / 1000;
        let folder = self.cpu.folder.join(name);
        match self.cpu.version {
            Version::V1 => {
                // The period is the default already, but a host may differ.
                write(&folder.join("cpu.cfs_period_us"), &PERIOD_USEC.to_string())?;
                write(&folder.join("cpu.cfs_quota_us"), &quota.to_string())
            }
            Version::V2 => write(&folder.join("cpu.max"), &format!("{quota} {PERIOD_USEC}")),
        }
    }

    fn limit_memory(&self, name: &str, bytes: u64) -> Result<(), EngineError> {
        let folder = self.memory.folder.join(name);
        match self.memory.version {
            Version::V1 => {
                write(&folder.join("memory.limit_in_bytes"), &bytes.to_string())?;
                no_swap(&folder.join("memory.memsw.limit_in_bytes"), &bytes.to_string(), || {
                    write(&folder.join("memory.swappiness"), "0")
                })
            }
            Version::V2 => {
                write(&folder.join("memory.max"), &bytes.to_string())?;
                no_swap(&folder.join("memory.swap.max"), "0", || Ok(()))
            }
        }
    }
}

/// Forbids swap. Where the kernel does not account for swap at all, `otherwise`
/// is the next best thing, and a host that has swap on is refused: its containers
/// would have more memory than they were given.
fn no_swap(file: &Path, value: &str, otherwise: impl FnOnce() -> Result<(), EngineError>) -> Result<(), EngineError> {
    match put(file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            otherwise()?;
            if swap_is_on() {
                return Err(EngineError::Missing {
                    missing: "this kernel does not account for swap, and swap is on".to_owned(),
                    remedy: "boot with `swapaccount=1`, or switch swap off".to_owned(),
                });
            }
            Ok(())
        }
        Err(_) => write(file, value),
        Ok(()) => Ok(()),
    }
}

/// `/proc/swaps` has a heading, then a line for each.
fn swap_is_on() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

//! Reading what a container uses.

use std::fs;
use std::path::Path;

use super::{Cgroups, Version};

/// What a container uses, and may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the start.
    pub cpu_usec: u64,
    /// Memory now, page cache included.
    pub memory_bytes: u64,
    /// Most memory so far; on kernels before 5.19 with v2 the same as now.
    pub memory_peak_bytes: u64,
    /// Processes and threads now.
    pub pids: u64,
    /// Bytes read from disks; 0 where the host does not count them.
    pub io_read_bytes: u64,
    /// Bytes written to disks.
    pub io_write_bytes: u64,
}

impl Cgroups {
    /// Reads the usage of the cgroup `name`; what cannot be read counts as 0.
    pub(crate) fn usage(&self, name: &str) -> Usage {
        let memory = |v1, v2| number(&self.memory.file(name, v1, v2));
        let now = memory("memory.usage_in_bytes", "memory.current").unwrap_or(0);
        let (io_read_bytes, io_write_bytes) = self.io_usage(name);
        Usage {
            cpu_usec: self.cpu_time(name),
            memory_bytes: now,
            memory_peak_bytes: memory("memory.max_usage_in_bytes", "memory.peak").unwrap_or(now),
            pids: number(&self.pids.file(name, "pids.current", "pids.current")).unwrap_or(0),
            io_read_bytes,
            io_write_bytes,
        }
    }

    fn cpu_time(&self, name: &str) -> u64 {
        let file = self.cpu_usage.file(name, "cpuacct.usage", "cpu.stat");
        match self.cpu_usage.version {
            Version::V1 => number(&file).unwrap_or(0) / 1000,
            Version::V2 => {
                let text = fs::read_to_string(file).unwrap_or_default();
                keyed(&text, "usage_usec").unwrap_or(0)
            }
        }
    }

    fn io_usage(&self, name: &str) -> (u64, u64) {
        let Some(place) = &self.io else {
            return (0, 0);
        };
        let file = place.file(name, "blkio.throttle.io_service_bytes_recursive", "io.stat");
        let text = fs::read_to_string(file).unwrap_or_default();
        match place.version {
            Version::V1 => io_v1(&text),
            Version::V2 => io_v2(&text),
        }
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// `usage_usec 123` on a line of its own.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == key)?.1.parse().ok()
}

/// `254:0 Read 4096`, a line for each device and kind.
pub(super) fn io_v1(text: &str) -> (u64, u64) {
    let sum = |kind: &str| {
        text.lines()
            .filter_map(|line| {
                let mut words = line.split(' ').skip(1);
                (words.next() == Some(kind)).then(|| words.next()?.parse::<u64>().ok())?
            })
            .fold(0, u64::saturating_add)
    };
    (sum("Read"), sum("Write"))
}

/// `254:0 rbytes=4096 wbytes=0 rios=1 …`, a line for each device.
pub(super) fn io_v2(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        text.split_whitespace()
            .filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
            .fold(0, u64::saturating_add)
    };
    (sum("rbytes"), sum("wbytes"))
}

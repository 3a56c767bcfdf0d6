//! What killed writers left behind.
//!
//! A partial file is named by its writer's process. It is a leftover when that
//! process is gone, or began only after the file was last written: then another
//! one has its number now, perhaps we ourselves.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use shipway_stdx::fs::remove_if_there;

/// Removes the leftovers in the folder of partial files.
pub(super) fn remove(partial: &Path) -> io::Result<()> {
    for entry in fs::read_dir(partial)? {
        let entry = entry?;
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let writer = entry.file_name().to_str().and_then(|name| name.split('.').next()?.parse().ok());
        let began = writer.and_then(began);
        let lives = began.is_some_and(|began| written.is_ok_and(|written| written >= began));
        if !lives {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

/// When a process began: its folder in `/proc` is made when it is first looked at,
/// so the time is taken from its start in clock ticks after boot.
fn began(pid: u32) -> Option<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22 of proc_pid_stat(5), counted after the name, which may hold anything.
    let ticks: u64 = stat.rsplit(')').next()?.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let boot: u64 =
        fs::read_to_string("/proc/stat").ok()?.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok())?;
    let seconds = boot + ticks / rustix::param::clock_ticks_per_second().max(1);
    // `btime` is cut to a second and moves with the clock: rather too early.
    Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds.saturating_sub(2)))
}

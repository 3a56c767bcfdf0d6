//! Processes that cannot be mistaken for later ones with the same number.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use shipway_shim::protocol::ProcessId;

use crate::EngineError;
use crate::error::Doing;

/// Returns the kernel's boot id, new with every boot.
pub(crate) fn boot_id() -> Result<String, EngineError> {
    let text =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").doing(|| "read the kernel's boot id".to_owned())?;
    Ok(text.trim().to_owned())
}

/// Opens a process, if it is still the one that was meant.
///
/// The descriptor comes first and the check second: a number reused in between
/// would fail the check.
pub(crate) fn open(process: ProcessId) -> Option<OwnedFd> {
    let pid = Pid::from_raw(process.pid)?;
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    (start_ticks(process.pid)? == process.start_ticks).then_some(pidfd)
}

/// Kills a process, if it is still the one that was meant.
pub(crate) fn kill(process: ProcessId) {
    if let Some(pidfd) = open(process)
        && let Err(error) = pidfd_send_signal(&pidfd, Signal::KILL)
    {
        tracing::trace!(process.pid, %error, "gone already");
    }
}

/// Returns when a process started, in clock ticks after boot.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    parse_start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of `proc_pid_stat(5)`. The name in field 2 may hold spaces and
/// parentheses, so we count from the last one.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_read_past_any_name() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 1 1 1 1 1";
        assert_eq!(parse_start_ticks(stat), Some(4711));
        assert_eq!(parse_start_ticks("7 (a) S 1"), None);
        assert_eq!(parse_start_ticks(""), None);
    }

    #[test]
    fn a_process_is_opened_only_with_the_right_start() {
        let pid = std::process::id().cast_signed();
        let start_ticks = start_ticks(pid).unwrap();
        assert!(open(ProcessId { pid, start_ticks }).is_some());
        let later = start_ticks + 1;
        assert!(open(ProcessId { pid, start_ticks: later }).is_none());
        assert!(open(ProcessId { pid: 0, start_ticks }).is_none());
    }
}

//! What a shim records of its container: who runs, and how it ended.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use shipway_shim::protocol::{Cgroup, EXIT_FILE, Exit, ProcessId, RUN_FILE, Run, VERSION, path_bytes};

use crate::failure::{Failure, Step as _};
use crate::files::{read_small, replace};
use crate::start::Places;

/// What is known of a run that begins now: this process beside process `init`.
pub(crate) fn begin_run(init: i32, boot_id: &[u8]) -> Result<Run, Failure> {
    Ok(Run {
        version: VERSION,
        shim: process_id(rustix::process::getpid().as_raw_nonzero().get())?,
        init: process_id(init)?,
        boot_id: String::from_utf8_lossy(boot_id).into_owned(),
        started_at: micros_since_epoch(),
    })
}

/// Writes `run.json`.
pub(crate) fn record_run(places: &Places, run: &Run) -> Result<(), Failure> {
    const STEP: &str = "write run.json";
    let text = serde_json::to_vec(run).map_err(|_| Errno::INVAL).step(STEP)?;
    replace(&places.state, RUN_FILE, &text).step(STEP)
}

/// Writes `exit.json`.
pub(crate) fn record_exit(places: &Places, exit: &Exit) -> Result<(), Failure> {
    const STEP: &str = "write exit.json";
    let text = serde_json::to_vec(exit).map_err(|_| Errno::INVAL).step(STEP)?;
    replace(&places.state, EXIT_FILE, &text).step(STEP)
}

/// Field 22 of `/proc/<pid>/stat`; the second may hold spaces and brackets.
fn process_id(pid: i32) -> Result<ProcessId, Failure> {
    const STEP: &str = "read a process's start";
    let path = format!("/proc/{pid}/stat");
    let text = read_small(CWD, &path).step_on(STEP, path.as_bytes())?;
    let after_name = text.iter().rposition(|byte| *byte == b')').and_then(|end| text.get(end..));
    let mut fields = after_name.unwrap_or_default().split(|byte| *byte == b' ');
    let ticks = fields.nth(20).and_then(|field| core::str::from_utf8(field).ok());
    let start_ticks = ticks.and_then(|ticks| ticks.parse().ok());
    Ok(ProcessId { pid, start_ticks: start_ticks.ok_or(Errno::INVAL).step_on(STEP, path.as_bytes())? })
}

/// Whether the kernel's killer has struck in one of these cgroups.
pub(crate) fn was_out_of_memory(cgroups: &[Cgroup]) -> bool {
    cgroups.iter().any(|cgroup| {
        let name: &[u8] = if cgroup.v2 { b"/memory.events" } else { b"/memory.oom_control" };
        let path: Vec<u8> = [path_bytes(&cgroup.path), name].concat();
        read_small(CWD, &path).is_ok_and(|text| kills(&text) > 0)
    })
}

/// The number after `oom_kill ` in either file.
fn kills(text: &[u8]) -> u64 {
    let mut lines = text.split(|byte| *byte == b'\n');
    let number = lines.find_map(|line| line.strip_prefix(b"oom_kill "));
    let number = number.and_then(|number| core::str::from_utf8(number.trim_ascii()).ok());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Microseconds since 1970.
pub(crate) fn micros_since_epoch() -> i64 {
    let (seconds, nanos) = since_epoch();
    seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanos / 1000))
}

/// Seconds and nanoseconds since 1970.
pub(crate) fn since_epoch() -> (i64, u32) {
    let now = clock_gettime(ClockId::Realtime);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// A clock that only goes forward, for deadlines.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

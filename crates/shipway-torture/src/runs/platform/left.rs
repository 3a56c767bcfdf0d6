//! Processes of a platform, and what is left of one: processes, mounts, cgroups.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Processes whose command line, with blanks between its words, holds `word`.
pub(super) fn processes_with(word: &str) -> Vec<u32> {
    let holds = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(word)
    };
    processes().into_iter().filter(holds).collect()
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Children of a process whose program lies in `folder`: of `serve`, its launcher.
pub(super) fn children_of(parent: u32, folder: &Path) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything but ends with the last parenthesis.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned));
        fields.flatten().and_then(|field| field.parse().ok()) == Some(parent)
    };
    let is_there = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(folder));
    processes().into_iter().filter(is_child).filter(is_there).collect()
}

/// Shims of containers that run, as the engine recorded them.
pub(super) fn shims(state: &Path) -> Vec<u32> {
    let entries = fs::read_dir(state.join("engine/containers")).into_iter().flatten().flatten();
    let pid = |path: &Path| {
        let run: serde_json::Value = serde_json::from_slice(&fs::read(path.join("run.json")).ok()?).ok()?;
        u32::try_from(run["shim"]["pid"].as_u64()?).ok()
    };
    let pids = entries.filter_map(|entry| pid(&entry.path()));
    // A record outlives its shim: only one that is still of this platform is meant.
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(state))).collect()
}

/// Kills a process; returns whether it was there.
pub(super) fn kill_9(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// What `shipway down` has left behind.
pub(in crate::runs) fn left_behind(state: &Path, run: &Path, instance: &str) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for folder in [state, run] {
        let word = folder.display().to_string();
        let gone = within(Duration::from_secs(10), || processes_with(&word).is_empty().then_some(()));
        if gone.is_none() {
            left.push(format!("processes {:?} of {word}", processes_with(&word)));
        }
    }
    let state = state.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let ours = mounts.lines().filter(|line| line.contains(&state) || line.contains(instance));
    left.extend(ours.map(|line| format!("mount {line}")));
    left.extend(named(Path::new("/sys/fs/cgroup"), instance, 6).into_iter().map(|path| format!("cgroup {path}")));
    left.extend(named(Path::new("/run/netns"), instance, 1).into_iter().map(|path| format!("namespace {path}")));
    Ok(left)
}

/// Folders and files below, so deep, whose name holds a word.
fn named(folder: &Path, word: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains(word) {
            found.push(path.display().to_string());
        } else if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(named(&path, word, depth - 1));
        }
    }
    found
}

/// Looks until there is something, at most `limit`.
pub(super) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = look();
        if found.is_some() || begun.elapsed() > limit {
            return found;
        }
        rest(Duration::from_millis(20));
    }
}

/// Lets time pass: the pace of who asks, visits and kills.
pub(super) fn rest(span: Duration) {
    std::thread::park_timeout(span);
}

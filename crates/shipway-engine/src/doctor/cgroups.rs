//! Control groups: which hierarchy carries memory, pids and cpu, and whether a
//! group made there takes a limit.
//!
//! The trial group is empty and removed at once; one that a killed doctor left is
//! removed by the next.

use std::io;
use std::path::{Path, PathBuf};

use super::probe::leftovers;
use super::{Check, Outcome};

pub(super) const CHECKS: &[Check] = &[
    ("cgroup.version", |_| version()),
    ("cgroup.memory", |_| limited("memory", &["memory.max", "memory.limit_in_bytes"])),
    ("cgroup.pids", |_| limited("pids", &["pids.max"])),
    ("cgroup.cpu", |_| limited("cpu", &["cpu.max", "cpu.cfs_quota_us"])),
    ("cgroup.swap", |_| swap()),
    ("cgroup.kill", |_| kill()),
    ("cgroup.delegation", |_| delegation()),
];

/// Begins the name of every trial group.
const PREFIX: &str = "shipway-doctor-";
/// A limit that no host reaches, written to see whether limits are taken.
const TRIAL_LIMIT: &str = "1000000";

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) path: PathBuf,
    /// The unified one (v2), or one of v1's.
    pub(super) is_v2: bool,
    /// What can be limited there.
    pub(super) controllers: Vec<String>,
}

/// Reads the mounted hierarchies from `mountinfo`, see proc(5).
fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mut found = parse(&text);
    for hierarchy in found.iter_mut().filter(|hierarchy| hierarchy.is_v2) {
        let listed = std::fs::read_to_string(hierarchy.path.join("cgroup.controllers"));
        let listed = listed.unwrap_or_default();
        hierarchy.controllers = listed.split_whitespace().map(str::to_owned).collect();
    }
    Ok(found)
}

/// The controllers of a v2 hierarchy are not in the text; they stay empty here.
pub(super) fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let line = |line: &str| {
        let (mount, fs) = line.split_once(" - ")?;
        let mut fs = fs.split(' ');
        let is_v2 = match fs.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let options = fs.nth(1).filter(|_| !is_v2).unwrap_or_default();
        Some(Hierarchy {
            path: PathBuf::from(mount.split(' ').nth(4)?),
            is_v2,
            controllers: options.split(',').map(str::to_owned).collect(),
        })
    };
    mountinfo.lines().filter_map(line).collect()
}

fn version() -> Outcome {
    let found = match hierarchies() {
        Ok(found) => found,
        Err(error) => return Outcome::warning(format!("unknown: {error}"), "mount /proc"),
    };
    let v2 = found.iter().find(|hierarchy| hierarchy.is_v2);
    let has_v1 = found.iter().any(|hierarchy| !hierarchy.is_v2);
    match (v2, has_v1) {
        (Some(_), false) => Outcome::ok("version 2"),
        (Some(v2), true) => Outcome::ok(format!("hybrid: limits by version 1, version 2 at {}", v2.path.display())),
        (None, true) => Outcome::warning(
            "version 1 only: containers are ended process by process",
            "mount version 2 beside it: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        ),
        (None, false) => Outcome::missing("no control groups are mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
    }
}

/// A group that exists as long as this value.
struct TrialGroup(PathBuf);

impl TrialGroup {
    fn make(hierarchy: &Path) -> io::Result<Self> {
        sweep(hierarchy);
        let path = hierarchy.join(format!("{PREFIX}{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TrialGroup {
    fn drop(&mut self) {
        // Nobody was ever in it; should it be busy, the next doctor tries again.
        drop(std::fs::remove_dir(&self.0));
    }
}

fn sweep(hierarchy: &Path) {
    for path in leftovers(hierarchy, PREFIX) {
        drop(std::fs::remove_dir(path));
    }
}

fn carrier(controller: &str) -> Option<Hierarchy> {
    let has = |hierarchy: &Hierarchy| hierarchy.controllers.iter().any(|c| c == controller);
    hierarchies().ok()?.into_iter().find(has)
}

/// Makes a group and limits it by the first of `files` that it has.
fn limited(controller: &str, files: &[&str]) -> Outcome {
    let remedy = format!("boot a kernel with the {controller} controller, without cgroup_disable={controller}");
    let Some(hierarchy) = carrier(controller) else {
        return Outcome::missing(format!("nothing limits {controller}"), remedy);
    };
    let at = hierarchy.path.display();
    let group = match TrialGroup::make(&hierarchy.path) {
        Ok(group) => group,
        Err(error) => {
            return Outcome::missing(
                format!("no group can be made at {at}: {error}"),
                "run shipway as root, with /sys/fs/cgroup writable",
            );
        }
    };
    let file = files.iter().map(|file| group.0.join(file)).find(|file| file.exists());
    let Some(file) = file else {
        return match hierarchy.is_v2 {
            true => Outcome::ok(format!("{controller} can be limited at {at}, once switched on below")),
            false => Outcome::missing(format!("groups at {at} have no limit of {controller}"), remedy),
        };
    };
    match std::fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|mut file| io::Write::write_all(&mut file, TRIAL_LIMIT.as_bytes()))
    {
        Ok(()) => Outcome::ok(format!("{controller} can be limited at {at}")),
        Err(error) => Outcome::missing(format!("a limit of {controller} is refused at {at}: {error}"), remedy),
    }
}

fn swap() -> Outcome {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let has_swap = swaps.lines().count() > 1;
    let group = carrier("memory").and_then(|memory| TrialGroup::make(&memory.path).ok());
    let accounts = group.is_some_and(|group| {
        ["memory.swap.max", "memory.memsw.limit_in_bytes"].iter().any(|file| group.0.join(file).exists())
    });
    match (accounts, has_swap) {
        (true, _) => Outcome::ok("swap is counted and can be forbidden"),
        (false, false) => Outcome::ok("swap is not counted, and the host has none"),
        (false, true) => Outcome::warning(
            "swap is not counted: a container at its memory limit swaps instead",
            "boot with swapaccount=1, or swapoff -a",
        ),
    }
}

fn kill() -> Outcome {
    let v2 = hierarchies().unwrap_or_default().into_iter().find(|one| one.is_v2);
    let group = v2.and_then(|v2| TrialGroup::make(&v2.path).ok());
    if group.is_some_and(|group| group.0.join("cgroup.kill").exists()) {
        return Outcome::ok("a group's processes can be ended in one step");
    }
    Outcome::warning(
        "no cgroup.kill: a container ends with the first process of its namespace",
        "mount cgroup version 2 (Linux 5.14 or newer)",
    )
}

fn delegation() -> Outcome {
    let found = hierarchies().unwrap_or_default();
    let is_unified = found.iter().any(|one| one.is_v2) && found.iter().all(|one| one.is_v2);
    if !is_unified || !Path::new("/run/systemd/system").is_dir() {
        return Outcome::ok("nobody else rules the groups; none is needed");
    }
    let own = std::fs::read_to_string("/proc/thread-self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let mut value = [0_u8; 8];
    let is_delegated = own.zip(found.first()).is_some_and(|(own, v2)| {
        let attribute = |name| rustix::fs::getxattr(v2.path.join(own), name, &mut value);
        [c"trusted.delegate", c"user.delegate"].map(attribute).iter().any(Result::is_ok)
    });
    match is_delegated {
        true => Outcome::ok("systemd has handed this group over"),
        false => Outcome::warning(
            "systemd rules the groups and has not handed this one over \
             (expected in a login session)",
            "start shipway as a service with Delegate=yes; `shipway install` writes one",
        ),
    }
}

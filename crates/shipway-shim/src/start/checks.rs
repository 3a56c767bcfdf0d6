//! What a launch must satisfy before anything is made of it.

use shipway_shim::protocol::{BINDS_MAX, CGROUPS_MAX, LOWERS_MAX, Launch, Path, Process, Root, VERSION, path_bytes};

use crate::container::namespaces::IDS;
use crate::failure::Failure;

/// Longest host name the kernel takes.
const HOSTNAME_BYTES_MAX: usize = 64;
/// Most resource limits; the kernel knows 16 kinds.
const RLIMITS_MAX: usize = 16;
/// Most further groups of a process; the kernel's own bound is 65,536.
const GROUPS_MAX: usize = 64;

const STEP: &str = "check the launch";

/// Refuses what could not work, or would reach outside of the container.
pub(super) fn check(launch: &Launch, has_listener: bool) -> Result<(), Failure> {
    let hostname = launch.hostname.len();
    let v2 = launch.cgroups.iter().filter(|cgroup| cgroup.v2).count();
    let counts = launch.binds.len().max(launch.files.len());
    require(launch.version == VERSION, "its version is not ours")?;
    require(!launch.id.is_empty(), "it has no id")?;
    // 0 to 65,535 are the host's own users.
    require(launch.id_base >= IDS, "its ids would be the host's")?;
    require(launch.id_base.checked_add(IDS).is_some(), "its ids end beyond the last id")?;
    require((1..=HOSTNAME_BYTES_MAX).contains(&hostname), "its host name has not 1 to 64 bytes")?;
    require(counts <= BINDS_MAX, "it has too many binds or files")?;
    require(launch.cgroups.len() <= CGROUPS_MAX, "it has too many cgroups")?;
    require(v2 <= 1, "it has two cgroups of the v2 tree")?;
    require(launch.listener == has_listener, "its listening socket did not come with it")?;
    require(launch.log.segments > 0, "its log keeps no segment")?;
    check_root(&launch.root)?;
    for bind in &launch.binds {
        check_outside(&bind.source)?;
        check_inside(&bind.target)?;
    }
    launch.files.iter().try_for_each(|file| check_inside(&file.target))?;
    launch.cgroups.iter().try_for_each(|cgroup| check_outside(&cgroup.path))?;
    check_outside(&launch.state_dir)?;
    check_outside(&launch.run_dir)?;
    check_process(&launch.process)
}

/// Refuses a process that could not be run.
pub(crate) fn check_process(process: &Process) -> Result<(), Failure> {
    let ids = [process.uid, process.gid];
    let mut all = ids.iter().chain(&process.groups);
    require(!process.argv.is_empty(), "no program is named")?;
    require(all.all(|id| *id < IDS), "a user or group is not below 65,536")?;
    require(process.groups.len() <= GROUPS_MAX, "it has too many groups")?;
    require(process.rlimits.len() <= RLIMITS_MAX, "it has too many resource limits")?;
    check_inside(&process.cwd)
}

fn check_root(root: &Root) -> Result<(), Failure> {
    match root {
        Root::Tree { path, .. } => check_outside(path),
        Root::Overlay { lowers, .. } => {
            let count = lowers.len();
            require((1..=LOWERS_MAX).contains(&count), "its root has not 1 to 128 layers")?;
            lowers.iter().try_for_each(|lower| check_outside(lower))
        }
    }
}

/// A path of the host's, from the engine: absolute.
fn check_outside(path: &Path) -> Result<(), Failure> {
    require(path_bytes(path).starts_with(b"/"), "a path of it is not absolute")
}

/// A path inside: absolute, and without `..`.
fn check_inside(path: &Path) -> Result<(), Failure> {
    let bytes = path_bytes(path);
    let mut parts = bytes.split(|byte| *byte == b'/');
    require(bytes.starts_with(b"/"), "a path inside is not absolute")?;
    require(!parts.any(|part| part == b".."), "a path inside goes upwards")
}

fn require(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    Err(Failure::refused(STEP, otherwise))
}

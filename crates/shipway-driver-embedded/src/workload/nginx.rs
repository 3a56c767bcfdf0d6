//! What differs where nginx serves.
//!
//! The runner is told by its environment instead of its arguments, and needs two
//! packages in its root file system. Where there is a script it starts nginx as one user
//! and scripts as another, for which it takes a root of the container's with three
//! capabilities; they hold in the container's user namespace only.

use std::path::Path;

use shipway_driver::{DriverError, Program, Workload};
use shipway_model::{ContentKind, RootFs};

use super::{User, told};

/// Starts the others as who they are: `KILL`, `SETGID` and `SETUID`, by their numbers. Of
/// the groups of both, so that it can share a file with each.
pub(super) const STARTER: User =
    User { id: 0, groups: &[1000, 1001], capabilities: 1 << 5 | 1 << 6 | 1 << 7, home: "/tmp", cwd: "/tmp" };

/// Where both are in every package of theirs.
const PROGRAMS: [&str; 2] = ["usr/sbin/nginx", "usr/sbin/fcgiwrap"];

/// The runner itself, nginx's two processes, and one to spare; then three for each script at
/// work: fcgiwrap, the wrapper and the script itself.
const PIDS_FIXED: u32 = 4;
const PIDS_PER_SCRIPT: u32 = 3;

/// Whether the root file system has what it takes, and the limits room for it.
pub(super) fn check(workload: &Workload, root: &Path) -> Result<(), DriverError> {
    let missing = PROGRAMS.into_iter().any(|program| !root.join(program).is_file());
    if missing {
        let remedy = match workload.root {
            RootFs::HostImage { .. } => {
                "which are not installed on this host: apt-get install -y nginx-light fcgiwrap, then deploy again"
            }
            RootFs::Image { .. } => "which this image does not have: images/nginx in the sources makes one that does",
        };
        return Err(DriverError::Invalid(format!("the runner nginx needs the packages nginx and fcgiwrap, {remedy}")));
    }
    if let Some(name) = workload.env.keys().find(|name| name.starts_with("SHIPWAY_")) {
        return Err(DriverError::Invalid(format!(
            "environment variable {name:?}: names that begin with SHIPWAY_ are the runner's own"
        )));
    }
    let least = PIDS_FIXED + PIDS_PER_SCRIPT;
    if workload.limits.pids < least {
        return Err(DriverError::Invalid(format!("the runner nginx needs limits.pids of at least {least}")));
    }
    Ok(())
}

/// What the runner is told: its flags as variables, where to write, and how many scripts
/// may be at work where there are fewer processes than asked for.
pub(super) fn environment(workload: &Workload) -> Vec<String> {
    let seats = ((workload.limits.pids - PIDS_FIXED) / PIDS_PER_SCRIPT).min(workload.limits.concurrency);
    let variable =
        |name: &str, value: String| format!("SHIPWAY_{}={value}", name.replace('-', "_").to_ascii_uppercase());
    let is_script = matches!(workload.program, Program::Runner { kind: ContentKind::Script, .. });
    // Scripts may not write to the one, and without them nobody else is there.
    let home = if is_script { "/run/shipway" } else { "/tmp/shipway" };
    let mut all: Vec<String> = told(workload)
        .into_iter()
        .map(|(name, value)| variable(name, if name == "concurrency" { seats.to_string() } else { value }))
        .collect();
    all.push(variable("home", home.to_owned()));
    if is_script {
        all.push(variable("data", "/data".to_owned()));
    }
    all
}

//! One cgroup per container in every tree that has a knob we turn.
//!
//! Hosts differ: everything on one v2 tree (what systemd hosts have), a v1 tree per
//! controller, or v1 trees beside a v2 tree that has no controllers but can kill and
//! count. [`Hierarchies`] finds out which; a [`Cgroups`] then owns one directory,
//! `shipway-<instance>`, in each tree it uses, and beneath it one per container run.
//! Nothing outside those directories is ever written or removed.
//!
//! The directories lie below the root of each tree, not below the server's own
//! cgroup: systemd kills what is left in a service's cgroup when the service stops,
//! and refuses to start a service again whose cgroup has inner nodes, but containers
//! must outlive the server. Only where the root is not the real one (a container, a
//! delegated subtree given as `parent`) are the server's own processes moved into
//! a leaf first, because a v2 node with controllers may hold none.
//!
//! A run's directory is made ahead ([`Pool`]), limited when it is taken, and never
//! used twice, so that usage starts at nothing.

mod hierarchies;
mod limits;
mod pool;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use shipway_shim::protocol;

use crate::EngineError;
use crate::error::Doing;

pub use hierarchies::Hierarchies;
pub use limits::Limits;
pub(crate) use pool::Pool;
pub use usage::Usage;

/// Where the server's own processes go when they stand in the way.
const SERVER_LEAF: &str = "shipway-server";

/// Which of the two interfaces a tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// A controller's tree, and the engine's own directory in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: Version,
    folder: PathBuf,
}

impl Place {
    fn file(&self, name: &str, v1: &str, v2: &str) -> PathBuf {
        let file = match self.version {
            Version::V1 => v1,
            Version::V2 => v2,
        };
        self.folder.join(name).join(file)
    }
}

/// The engine's cgroups on this host.
#[derive(Debug)]
pub(crate) struct Cgroups {
    memory: Place,
    pids: Place,
    cpu: Place,
    /// Counts processor time: the v2 tree where there is one, else `cpuacct`.
    cpu_usage: Place,
    /// Counts bytes to and from disks, where the host can.
    io: Option<Place>,
    /// Kills and counts at once, whether or not the limits live there.
    v2: Option<PathBuf>,
    /// Every distinct directory above, v2 last.
    trees: Vec<Place>,
}

impl Cgroups {
    /// Makes the engine's own directories, or finds them.
    ///
    /// `parent` is a delegated v2 directory to use instead of the root of the tree.
    pub(crate) fn open(hierarchies: &Hierarchies, instance: &str, parent: Option<&Path>) -> Result<Self, EngineError> {
        let own = format!("shipway-{instance}");
        let v2 = match (&hierarchies.v2, parent) {
            (Some(_), Some(parent)) => Some(parent.join(&own)),
            (Some(root), None) => Some(root.join(&own)),
            (None, _) => None,
        };
        let find = |controller: &str| {
            if let Some(mount) = hierarchies.v1.get(controller) {
                let folder = mount.join(&own);
                let version = Version::V1;
                return Some(Place { version, folder });
            }
            let folder = v2.clone()?;
            hierarchies.v2_controllers.contains(controller).then_some(Place { version: Version::V2, folder })
        };
        let need = |controller: &str| find(controller).ok_or_else(|| missing(controller));
        let whole = v2.clone().map(|folder| Place { version: Version::V2, folder });
        let mut cgroups = Self {
            memory: need("memory")?,
            pids: need("pids")?,
            cpu: need("cpu")?,
            cpu_usage: match &whole {
                Some(place) => place.clone(),
                None => need("cpuacct")?,
            },
            io: find("io").or_else(|| find("blkio")),
            v2,
            trees: Vec::new(),
        };
        cgroups.trees = cgroups.distinct();
        cgroups.prepare(hierarchies)?;
        Ok(cgroups)
    }

    fn distinct(&self) -> Vec<Place> {
        let mut trees: Vec<Place> = Vec::new();
        let places = [&self.memory, &self.pids, &self.cpu, &self.cpu_usage];
        for place in places.into_iter().chain(&self.io) {
            if !trees.contains(place) {
                trees.push(place.clone());
            }
        }
        // The v2 tree last: the child is born there, and joins the others itself.
        trees.sort_by_key(|place| place.version == Version::V2);
        trees
    }

    fn prepare(&self, hierarchies: &Hierarchies) -> Result<(), EngineError> {
        for place in &self.trees {
            if let Err(error) = fs::create_dir(&place.folder)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(error).on("make the cgroup", &place.folder);
            }
        }
        let wanted: Vec<&str> = ["memory", "pids", "cpu", "io"]
            .into_iter()
            .filter(|name| !hierarchies.v1.contains_key(*name) && hierarchies.v2_controllers.contains(*name))
            .collect();
        match &self.v2 {
            Some(own) if !wanted.is_empty() => hand_down(own, &wanted),
            _ => Ok(()),
        }
    }

    /// Returns the directories of the cgroup `name`, for the shim.
    pub(crate) fn members(&self, name: &str) -> Vec<protocol::Cgroup> {
        self.trees
            .iter()
            .map(|place| protocol::Cgroup { path: place.folder.join(name), v2: place.version == Version::V2 })
            .collect()
    }

    /// Makes the cgroup `name` in every tree, without limits yet.
    pub(crate) fn make(&self, name: &str) -> Result<(), EngineError> {
        for place in &self.trees {
            let folder = place.folder.join(name);
            if let Err(error) = fs::create_dir(&folder) {
                // Half a cgroup is worth nothing; the sweep at the next open would
                // take what cannot be removed now.
                drop(self.remove(name));
                return Err(error).on("make the cgroup", &folder);
            }
        }
        Ok(())
    }

    /// Removes the cgroup `name` from every tree; what is gone already is fine.
    ///
    /// # Errors
    ///
    /// The last error of the kernel's; `EBUSY` while processes are still leaving.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let mut result = Ok(());
        for place in &self.trees {
            match fs::remove_dir(place.folder.join(name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Lists the names of all cgroups below the engine's own, in any tree.
    pub(crate) fn list(&self) -> BTreeSet<String> {
        self.trees
            .iter()
            .filter_map(|place| fs::read_dir(&place.folder).ok())
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Sends SIGKILL to every process in the cgroup `name`: at once on v2, one by
    /// one elsewhere (a fork may escape once; the caller asks again until empty).
    ///
    /// A cgroup that is gone has nothing to kill.
    pub(crate) fn kill(&self, name: &str) {
        if let Some(v2) = &self.v2 {
            let folder = v2.join(name);
            // An error is a cgroup that is gone, or a kernel before 5.14: below.
            drop(put(folder.join("cgroup.kill"), "1"));
        }
        for pid in self.processes(name) {
            // Between reading and killing a pid may be reused only after the
            // process was reaped by its shim, and then the cgroup is empty: what is
            // listed here and alive a moment later is still in the container.
            let Some(process) = Pid::from_raw(pid) else {
                continue;
            };
            if let Err(error) = kill_process(process, Signal::KILL) {
                tracing::trace!(pid, %error, "gone already");
            }
        }
    }

    /// Lists the processes in the cgroup `name`, in any tree.
    pub(crate) fn processes(&self, name: &str) -> BTreeSet<i32> {
        self.trees
            .iter()
            .filter_map(|place| fs::read_to_string(place.folder.join(name).join("cgroup.procs")).ok())
            .flat_map(|text| {
                text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect::<Vec<i32>>()
            })
            .collect()
    }

    /// Removes the engine's own directories, once nothing is beneath them.
    pub(crate) fn close(&self) {
        for place in &self.trees {
            // Not empty: somebody else opened the same root meanwhile.
            drop(fs::remove_dir(&place.folder));
        }
    }
}

fn missing(controller: &str) -> EngineError {
    EngineError::Missing {
        missing: format!("this host has no `{controller}` cgroup controller"),
        remedy: format!(
            "mount it (/proc/cgroups says whether the kernel has it; \
             `cgroup_enable={controller}` on the kernel's command line may be needed)"
        ),
    }
}

/// Writes one value into one file of a cgroup, which must be there.
fn put(file: impl AsRef<Path>, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

/// The same, with an error that says which file.
fn write(file: &Path, value: &str) -> Result<(), EngineError> {
    put(file, value).doing(|| format!("write {value:?} to {}", file.display()))
}

/// Lets the children of the engine's own v2 directory have the controllers: every
/// directory from the root of the tree down to it must hand them down.
fn hand_down(own: &Path, wanted: &[&str]) -> Result<(), EngineError> {
    let text: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    let parent = own.parent().unwrap_or(own);
    for folder in [parent, own] {
        let file = folder.join("cgroup.subtree_control");
        let has = fs::read_to_string(&file).unwrap_or_default();
        if wanted.iter().all(|name| has.split_whitespace().any(|h| h == *name)) {
            continue;
        }
        let first = put(&file, &text.join(" "));
        match first {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                clear_inner_node(folder)?;
                write(&file, &text.join(" "))?;
            }
            Err(error) => return Err(error).on("hand controllers down in", &file),
        }
    }
    Ok(())
}

/// Moves every process of a v2 directory into a leaf of its own beneath it.
fn clear_inner_node(folder: &Path) -> Result<(), EngineError> {
    let leaf = folder.join(SERVER_LEAF);
    if let Err(error) = fs::create_dir(&leaf)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error).on("make the cgroup", &leaf);
    }
    let procs = folder.join("cgroup.procs");
    let all = fs::read_to_string(&procs).on("read", &procs)?;
    for pid in all.lines() {
        match put(leaf.join("cgroup.procs"), pid) {
            Ok(()) => {}
            // It ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error).doing(|| format!("move process {pid} to a leaf")),
        }
    }
    Ok(())
}

//! Putting a container's mounts together, inside its own mount namespace.
//!
//! The root is laid over `/`, the scratch where the host's devices were, and everything
//! else is attached relative to descriptors of the two, so that until the pivot no path is ever walked from the
//! host's root, and no name in an image decides where a mount goes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, mkdirat, openat};
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use shipway_shim::protocol::{InlineFile, Launch, Network, PathBuf, Root, path_bytes};

use crate::container::kernel_mounts::{self, Masks};
use crate::container::targets::{Kind, Targets};
use crate::container::trees::Trees;
use crate::failure::{Failure, Step as _};
use crate::files::write_new;

/// The places of a read-only root that can be written to: path, mode, whose.
const WRITABLE: [(&str, u32, Whose); 4] = [
    ("tmp", 0o1777, Whose::Roots),
    ("run", 0o755, Whose::Roots),
    ("var/tmp", 0o1777, Whose::Roots),
    ("data", 0o755, Whose::TheUsers),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Roots,
    TheUsers,
}

/// What is still needed after the pivot.
#[derive(Debug)]
pub(crate) struct Assembled {
    /// Its devpts.
    pub(crate) terminals: OwnedFd,
    /// Its `/dev`.
    pub(crate) devices: OwnedFd,
}

/// Puts `trees` together and makes them this process's root.
pub(crate) fn assemble(launch: &Launch, trees: Trees) -> Result<Assembled, Failure> {
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    // Not over `/` as well: unmounting takes what is topmost at a place, and the host's
    // root below would be left for whoever enters the namespace later. Its devices are
    // cloned already.
    move_mount(&trees.scratch, "", CWD, "/dev", empty).step("attach the scratch")?;
    move_mount(&trees.root, "", CWD, "/", empty).step("attach the root")?;
    let mut targets = Targets::new(&trees.root, &trees.scratch);
    if let Root::Tree { .. } = launch.root {
        lay_writable_places(launch, &mut targets)?;
    }
    let masks = Masks::new(&trees.scratch)?;
    let terminals = kernel_mounts::attach(&mut targets, &trees, &masks)?;
    lay_files(launch, &mut targets)?;
    for (bind, tree) in launch.binds.iter().zip(&trees.binds) {
        targets.attach(tree, path_bytes(&bind.target), Kind::of(tree)?)?;
    }
    targets.seal()?;
    pivot(&trees.root)?;
    Ok(Assembled { terminals, devices: trees.devices })
}

/// Folders of the scratch over those of the root, where the root has them.
fn lay_writable_places(launch: &Launch, targets: &mut Targets<'_>) -> Result<(), Failure> {
    for (number, (place, mode, whose)) in (0_u32..).zip(WRITABLE) {
        if !targets.has(place.as_bytes()) {
            continue;
        }
        let mut name = String::from("place");
        write!(name, "{number}").map_err(|_| Failure::refused("name a place", place))?;
        let folder = targets.scratch_folder(&name, Mode::from_raw_mode(mode))?;
        if whose == Whose::TheUsers {
            let user = Uid::from_raw(launch.process.uid);
            let group = Gid::from_raw(launch.process.gid);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(&folder, ".", flags, Mode::empty())
                .and_then(|folder| fchown(&folder, Some(user), Some(group)))
                .step("give a place to its user")?;
        }
        targets.attach(&folder, place.as_bytes(), Kind::Folder)?;
    }
    Ok(())
}

/// The launch's small files, and `/etc/hostname` and `/etc/hosts` if not among them.
fn lay_files(launch: &Launch, targets: &mut Targets<'_>) -> Result<(), Failure> {
    const STEP: &str = "make a small file";
    let scratch = targets.scratch();
    mkdirat(scratch, "files", Mode::from_raw_mode(0o755)).step(STEP)?;
    let defaults = default_files(launch);
    let wanted = launch.files.iter().chain(&defaults);
    for (number, file) in wanted.enumerate() {
        let target = path_bytes(&file.target);
        // A read-only root without a place for a default does without it.
        if number >= launch.files.len() && !targets.can_make(target) {
            continue;
        }
        let name = alloc::format!("files/{number}");
        let mode = Mode::from_raw_mode(0o644);
        write_new(scratch, &name, file.text.as_bytes(), mode).step_on(STEP, target)?;
        let tree = targets.clone_of_scratch(&name)?;
        targets.attach(&tree, target, Kind::File)?;
    }
    Ok(())
}

fn default_files(launch: &Launch) -> Vec<InlineFile> {
    let mut hosts = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n");
    let address = match launch.network {
        Network::None { address } => address,
        Network::Host => None,
    };
    let own = address.map_or_else(|| "127.0.1.1".into(), |address| alloc::format!("{address}"));
    hosts.push_str(&alloc::format!("{own}\t{}\n", launch.hostname));
    let hostname = alloc::format!("{}\n", launch.hostname);
    let defaults = [("/etc/hostname", hostname), ("/etc/hosts", hosts)];
    let given = |target: &str| {
        let mut given = launch.files.iter();
        given.any(|file| path_bytes(&file.target) == target.as_bytes())
    };
    let missing = defaults.into_iter().filter(|(target, _)| !given(target));
    missing.map(|(target, text)| InlineFile { target: PathBuf::from(target), text }).collect()
}

/// Makes `root` the root and detaches everything that was there before.
fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    const STEP: &str = "pivot into the root";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = openat(CWD, "/", flags, Mode::empty()).step(STEP)?;
    fchdir(root).step(STEP)?;
    // Onto itself: the old root lands over the new one and needs no folder in it.
    pivot_root(".", ".").step(STEP)?;
    fchdir(&old).step(STEP)?;
    unmount(".", UnmountFlags::DETACH).step("detach the host's root")?;
    chdir("/").step(STEP)
}

//! The devices of every container, laid once over the launcher's own `/dev`.
//!
//! A user namespace cannot make device nodes, so the host's are bound, one mount
//! each. Binding them anew for every container takes 125 µs, cloning a prepared tree
//! 32 (engine.md §2). It is laid over the launcher's `/dev`, in its private
//! namespace, because kernels before 6.15 clone only from an attached tree.

use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use crate::failure::{Failure, MayFail as _, Step as _};
use crate::sys::{self, MountChange};

/// Device inside, device of the host that it is. A console that nobody reads is null;
/// a container with a terminal gets that laid over it.
const DEVICES: [(&str, &str); 7] = [
    ("null", "/dev/null"),
    ("zero", "/dev/zero"),
    ("full", "/dev/full"),
    ("random", "/dev/random"),
    ("urandom", "/dev/urandom"),
    ("tty", "/dev/tty"),
    ("console", "/dev/null"),
];

/// Names that programs expect beside the devices.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Where each container mounts file systems of its own.
const FOLDERS: [&str; 3] = ["pts", "shm", "mqueue"];

/// Makes the tree and lays it over `/dev`, where containers clone it from.
pub(super) fn lay_over_dev() -> Result<(), Failure> {
    let devices: Result<Vec<_>, Failure> = DEVICES.iter().map(|(_, host)| device(host)).collect();
    let devices = devices?;
    let tree = empty_tree()?;
    // The host's own devices are not needed any more; not a mount on every host.
    unmount("/dev", UnmountFlags::DETACH).may_fail();
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, "", CWD, "/dev", empty).step_on("mount the devices", b"/dev")?;
    for ((name, _), device) in DEVICES.iter().zip(&devices) {
        let step = "bind a device";
        move_mount(device, "", &tree, *name, empty).step_on(step, name.as_bytes())?;
    }
    let change = MountChange { set: libc::MOUNT_ATTR_RDONLY, idmap: None };
    sys::change_mount(&tree, change).step("make the devices' tree read-only")
}

fn device(host: &str) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let device = open_tree(CWD, host, flags).step_on("clone a device", host.as_bytes())?;
    let change = MountChange { set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC, idmap: None };
    sys::change_mount(&device, change).step_on("restrict a device", host.as_bytes())?;
    Ok(device)
}

fn empty_tree() -> Result<OwnedFd, Failure> {
    let step = "make the devices' tree";
    let file_system = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).step(step)?;
    for (key, value) in [("mode", "0755"), ("size", "64k"), ("nr_inodes", "64")] {
        fsconfig_set_string(&file_system, key, value).step(step)?;
    }
    fsconfig_create(&file_system).step(step)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tree = fsmount(&file_system, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(step)?;
    for (name, _) in DEVICES {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::WRONLY;
        openat(&tree, name, flags, Mode::empty()).step_on(step, name.as_bytes())?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &tree, name).step_on(step, name.as_bytes())?;
    }
    for name in FOLDERS {
        let mode = Mode::from_raw_mode(0o755);
        mkdirat(&tree, name, mode).step_on(step, name.as_bytes())?;
    }
    Ok(tree)
}

//! The kernel's own file systems inside: proc, sysfs, devpts, mqueue, and what of them
//! is masked.
//!
//! The lists are those of Docker and runc. Everything is attached onto names within
//! mounts that were made a moment ago, so that no image has a say in where it goes.

use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, Mode, accessat, mkdirat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    move_mount,
};

use crate::container::targets::{Kind, Targets, clone_of};
use crate::container::trees::Trees;
use crate::failure::{Failure, Step as _};
use crate::sys::{self, MountChange};

/// Files of /proc that show the host, laid over with null.
const HIDDEN_FILES: [&str; 7] =
    ["interrupts", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug"];
/// Folders of /proc that show the host, laid over with an empty one.
const HIDDEN_FOLDERS: [&str; 3] = ["asound", "acpi", "scsi"];
/// Parts of /proc that may be read.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// Folders of /sys that show the host.
const HIDDEN_OF_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];

const RESTRICTED: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// What hides.
#[derive(Debug)]
pub(super) struct Masks<'trees> {
    scratch: &'trees OwnedFd,
}

/// Folder of the scratch that hides others.
const NOTHING: &str = "nothing";

impl<'trees> Masks<'trees> {
    pub(super) fn new(scratch: &'trees OwnedFd) -> Result<Self, Failure> {
        mkdirat(scratch, NOTHING, Mode::from_raw_mode(0o555)).step("make an empty folder")?;
        Ok(Self { scratch })
    }

    fn hide_folders(&self, of: &OwnedFd, names: &[&str]) -> Result<(), Failure> {
        for name in names.iter().filter(|name| exists(of, name)) {
            let nothing = clone_of(self.scratch, NOTHING).step("clone the empty folder")?;
            restrict(&nothing).step("make the empty folder read-only")?;
            lay_over(&nothing, of, name)?;
        }
        Ok(())
    }
}

/// Attaches them all, masked; returns the devpts.
pub(super) fn attach(targets: &mut Targets<'_>, trees: &Trees, masks: &Masks<'_>) -> Result<OwnedFd, Failure> {
    // First, because what hides files is a device.
    let terminals = attach_devices(targets, trees)?;
    attach_proc(targets, trees, masks)?;
    let sysfs = match &trees.sys {
        Some(host) => host,
        None => &make("sysfs", &[], RESTRICTED | MountAttrFlags::MOUNT_ATTR_RDONLY)?,
    };
    targets.attach(sysfs, b"sys", Kind::Folder)?;
    masks.hide_folders(sysfs, &HIDDEN_OF_SYS)?;
    Ok(terminals)
}

fn attach_devices(targets: &mut Targets<'_>, trees: &Trees) -> Result<OwnedFd, Failure> {
    targets.attach(&trees.devices, b"dev", Kind::Folder)?;
    let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let terminals = make("devpts", &options, attributes)?;
    lay_over(&terminals, &trees.devices, "pts")?;
    lay_over(&make("mqueue", &[], RESTRICTED)?, &trees.devices, "mqueue")?;
    let shared = targets.scratch_folder("shm", Mode::from_raw_mode(0o1777))?;
    let change = MountChange { set: libc::MOUNT_ATTR_NOEXEC, idmap: None };
    sys::change_mount(&shared, change).step("restrict /dev/shm")?;
    lay_over(&shared, &trees.devices, "shm")?;
    Ok(terminals)
}

fn attach_proc(targets: &mut Targets<'_>, trees: &Trees, masks: &Masks<'_>) -> Result<(), Failure> {
    let proc = make("proc", &[], RESTRICTED)?;
    targets.attach(&proc, b"proc", Kind::Folder)?;
    for name in READ_ONLY {
        match clone_of(&proc, name) {
            Err(Errno::NOENT) => {}
            part => {
                let part = part.step_on("clone a part of /proc", name.as_bytes())?;
                restrict(&part).step_on("restrict a part of /proc", name.as_bytes())?;
                lay_over(&part, &proc, name)?;
            }
        }
    }
    for name in HIDDEN_FILES.into_iter().filter(|name| exists(&proc, name)) {
        let null = clone_of(&trees.devices, "null").step("clone /dev/null")?;
        lay_over(&null, &proc, name)?;
    }
    masks.hide_folders(&proc, &HIDDEN_FOLDERS)
}

/// A new file system of the kernel's, detached. An option without a value is a flag.
fn make(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let made = || {
        let file_system = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            match value.is_empty() {
                true => rustix::mount::fsconfig_set_flag(&file_system, *key)?,
                false => fsconfig_set_string(&file_system, *key, *value)?,
            }
        }
        fsconfig_create(&file_system)?;
        fsmount(&file_system, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    made().step_on("mount", kind.as_bytes())
}

fn restrict(tree: &OwnedFd) -> Result<(), Errno> {
    let attributes = RESTRICTED | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let set = u64::from(attributes.bits());
    sys::change_mount(tree, MountChange { set, idmap: None })
}

/// Asked before a mount is made to hide it: closing a mount that was never attached
/// waits for the kernel's grace period.
fn exists(folder: &OwnedFd, name: &str) -> bool {
    accessat(folder, name, Access::EXISTS, AtFlags::empty()).is_ok()
}

/// Attaches a detached mount onto a name within another.
fn lay_over(tree: &OwnedFd, folder: &OwnedFd, name: &str) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(tree, "", folder, name, flags).step_on("lay a mount over", name.as_bytes())
}

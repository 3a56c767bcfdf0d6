//! Overlays and id-mapped mounts, on the very file system that will carry them.
//!
//! All mounts here are detached: they hang in no directory and go with the last
//! descriptor.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};

use super::probe::{IdleChild, Scratch, enter_own_mounts, idmap};
use super::{Check, DoctorConfig, Outcome};

pub(super) const CHECKS: &[Check] = &[
    ("mount.api", |_| api()),
    ("mount.overlay", overlay),
    ("mount.overlay_lowerdir_plus", lowerdir_plus),
    ("mount.idmap_state_dir", idmapped_state_dir),
    ("mount.idmap_tmpfs", |_| idmapped_tmpfs()),
];

/// fsopen, fsconfig, fsmount: a tmpfs is made without being mounted anywhere.
fn api() -> Outcome {
    match enter_own_mounts().and_then(|()| tmpfs()) {
        Ok(_mount) => Outcome::ok("file systems can be mounted by descriptor"),
        Err(error) => Outcome::missing(
            format!("file systems cannot be mounted by descriptor: {error}"),
            "run shipway as root on Linux 6.1 or newer",
        ),
    }
}

fn tmpfs() -> io::Result<OwnedFd> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "size", "65536")?;
    mounted(&fs)
}

fn mounted(fs: &OwnedFd) -> io::Result<OwnedFd> {
    fsconfig_create(fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// An overlay whose lower and upper are in the state directory, written to.
fn overlay(config: &DoctorConfig) -> Outcome {
    let try_it = || {
        enter_own_mounts()?;
        let scratch = Scratch::near(&config.state_dir)?;
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (option, folder) in [("lowerdir", "l"), ("upperdir", "u"), ("workdir", "w")] {
            fsconfig_set_string(&fs, option, scratch.folder(folder)?)?;
        }
        let mount = mounted(&fs)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        rustix::fs::openat(&mount, "file", flags, Mode::RUSR)?;
        // The overlay goes before what it stands on.
        drop((mount, fs));
        Ok::<_, io::Error>(())
    };
    match try_it() {
        Ok(()) => Outcome::ok("an overlay works on the state directory"),
        Err(error) => Outcome::missing(
            format!("no overlay works on the state directory: {error}"),
            "modprobe overlay; put the state directory on ext4, xfs or btrfs, \
             not on another overlay",
        ),
    }
}

/// Layers named one by one (Linux 6.7), instead of in a list of bounded length.
fn lowerdir_plus(config: &DoctorConfig) -> Outcome {
    let try_it = || {
        enter_own_mounts()?;
        let scratch = Scratch::near(&config.state_dir)?;
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for folder in ["a", "b"] {
            fsconfig_set_string(&fs, "lowerdir+", scratch.folder(folder)?)?;
        }
        mounted(&fs).map(drop)
    };
    match try_it() {
        Ok(()) => Outcome::ok("layers can be added one by one"),
        Err(error) => Outcome::warning(
            format!("layers cannot be added one by one: {error}; the list is used"),
            "boot Linux 6.7 or newer for images of very many layers",
        ),
    }
}

fn idmapped_state_dir(config: &DoctorConfig) -> Outcome {
    let try_it = || {
        enter_own_mounts()?;
        let scratch = Scratch::near(&config.state_dir)?;
        idmapped_clone(scratch.path())
    };
    match try_it() {
        Ok(()) => Outcome::ok("the state directory's file system can be id-mapped"),
        Err(error) => Outcome::warning(
            format!(
                "the state directory's file system cannot be id-mapped: {error}; \
                 containers get shifted copies"
            ),
            "put the state directory on ext4, xfs or btrfs under Linux 6.1 or newer",
        ),
    }
}

fn idmapped_clone(path: &Path) -> io::Result<()> {
    let namespace = IdleChild::user_namespace()?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = open_tree(CWD, path, flags)?;
    idmap(&clone, &namespace)
}

fn idmapped_tmpfs() -> Outcome {
    let try_it = || {
        enter_own_mounts()?;
        idmap(&tmpfs()?, &IdleChild::user_namespace()?)
    };
    match try_it() {
        Ok(()) => Outcome::ok("a tmpfs can be id-mapped"),
        Err(error) => Outcome::warning(
            format!("a tmpfs cannot be id-mapped: {error}; its owner is changed instead"),
            "boot Linux 6.3 or newer for faster starts",
        ),
    }
}

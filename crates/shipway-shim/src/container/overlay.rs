//! An overlay of idmapped lowers below a private upper.
//!
//! Made by the shim, not inside: a mount of the user namespace's own would have to
//! keep its marks in `user.*` attributes, which a tmpfs has only since Linux 6.6. Made
//! with the host's privileges they are `trusted.*`, and the floor is Linux 6.1.
//!
//! Since 6.15 the layers can stay detached and are given as descriptors. Before, they
//! must be attached somewhere and named by path: in a mount namespace of the shim's
//! own, never in the launcher's, whose every mount costs every other container.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_fd,
    fsmount, fsopen, move_mount,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::fchdir;
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};
use shipway_shim::protocol::{PathBuf, Upper, path_bytes};

use crate::container::trees::clone_tree;
use crate::failure::{Failure, Step as _};
use crate::launcher::Shared;
use crate::sys::{self, MountChange};

const STEP: &str = "make the overlay";

/// The first kernel that takes detached mounts as layers.
const DETACHED_LAYERS: (u32, u32) = (6, 15);

/// An overlay, and the file system its writes go to; both detached.
#[derive(Debug)]
pub(super) struct Overlay {
    /// The overlay.
    pub(super) root: OwnedFd,
    /// Holds `upper` and `work`.
    pub(super) writes: OwnedFd,
}

/// Makes the overlay of `launch` below `scratch`, if its upper is a tmpfs, or below a
/// directory. Returns it and the scratch, which may have become another mount.
pub(super) fn make(
    lowers: &[PathBuf],
    upper: &Upper,
    scratch: OwnedFd,
    id_base: u32,
    shared: &Shared,
    namespace: &OwnedFd,
) -> Result<(OwnedFd, OwnedFd), Failure> {
    let layers: Result<Vec<OwnedFd>, Failure> =
        lowers.iter().map(|lower| idmapped(path_bytes(lower), libc::MOUNT_ATTR_RDONLY, namespace)).collect();
    let layers = layers?;
    let mount = |writes| match shared.kernel >= DETACHED_LAYERS {
        true => by_descriptor(&layers, writes),
        false => by_path(&layers, writes),
    };
    match upper {
        Upper::Tmpfs(_) => {
            make_upper(&scratch, id_base)?;
            mount(scratch).map(|made| (made.root, made.writes))
        }
        Upper::Directory { path } => {
            let writes = idmapped(path_bytes(path), 0, namespace)?;
            acting_as(id_base, || mount(writes)).map(|made| (made.root, scratch))
        }
    }
}

fn idmapped(path: &[u8], set: u64, namespace: &OwnedFd) -> Result<OwnedFd, Failure> {
    let tree = clone_tree(path, OpenTreeFlags::empty()).step_on("clone a layer", path)?;
    let change =
        MountChange { set: set | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV, idmap: Some(namespace.as_fd()) };
    sys::change_mount(&tree, change).step_on("map a layer's ids", path)?;
    Ok(tree)
}

/// `upper`, which becomes the root directory inside, and `work` on the tmpfs.
fn make_upper(scratch: &OwnedFd, id_base: u32) -> Result<(), Failure> {
    let (user, group) = (Uid::from_raw(id_base), Gid::from_raw(id_base));
    for name in ["upper", "work"] {
        mkdirat(scratch, name, Mode::from_raw_mode(0o755)).step(STEP)?;
        chownat(scratch, name, Some(user), Some(group), AtFlags::empty()).step(STEP)?;
    }
    Ok(())
}

/// Calls `mount` with the file system id `owner`: on an idmapped upper the kernel makes
/// its own folders as the mounter, and the host's 0 is nobody there (EOVERFLOW).
fn acting_as(owner: u32, mount: impl FnOnce() -> Result<Overlay, Failure>) -> Result<Overlay, Failure> {
    let before = capabilities(None).step(STEP)?;
    sys::act_as(owner);
    let all = CapabilitySets { effective: before.permitted, ..before };
    let result = set_capabilities(None, all).step(STEP).and_then(|()| mount());
    sys::act_as(0);
    set_capabilities(None, all).step(STEP)?;
    result
}

fn by_descriptor(layers: &[OwnedFd], writes: OwnedFd) -> Result<Overlay, Failure> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).step(STEP)?;
    for layer in layers {
        fsconfig_set_fd(&overlay, "lowerdir+", layer).step(STEP)?;
    }
    for (key, name) in [("upperdir", "upper"), ("workdir", "work")] {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(&writes, name, flags, Mode::empty()).step_on(STEP, name.as_bytes())?;
        fsconfig_set_fd(&overlay, key, &folder).step_on(STEP, key.as_bytes())?;
    }
    fsconfig_create(&overlay).step(STEP)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let root = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(STEP)?;
    Ok(Overlay { root, writes })
}

/// In a namespace of the shim's own: the layers are attached on a tmpfs laid over
/// `/dev`, the one place whose content the shim has already cloned or never needs,
/// named by numbers relative to it so that a hundred fit a page, and all detached again.
fn by_path(layers: &[OwnedFd], writes: OwnedFd) -> Result<Overlay, Failure> {
    sys::unshare(libc::CLONE_NEWNS).step(STEP)?;
    let stage = c"mode=0700,size=64k,nr_inodes=1k";
    mount("tmpfs", "/dev", "tmpfs", MountFlags::empty(), Some(stage)).step(STEP)?;
    let result = stage_and_mount(layers, &writes);
    let back = rustix::process::chdir("/").and_then(|()| unmount("/dev", UnmountFlags::DETACH));
    result.and_then(|made| back.step(STEP).map(|()| made))
}

fn stage_and_mount(layers: &[OwnedFd], writes: &OwnedFd) -> Result<Overlay, Failure> {
    let attach = |tree: &OwnedFd, name: &str| -> Result<(), Errno> {
        mkdirat(CWD, name, Mode::RWXU)?;
        move_mount(tree, "", CWD, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let stage = openat(CWD, "/dev", flags, Mode::empty()).step(STEP)?;
    fchdir(&stage).step(STEP)?;
    let mut list = String::from("lowerdir=");
    for (number, layer) in layers.iter().enumerate() {
        let name = format!("{number}");
        attach(layer, &name).step_on("attach a layer", name.as_bytes())?;
        list.push_str(if number == 0 { "" } else { ":" });
        list.push_str(&name);
    }
    attach(writes, "w").step("attach the upper")?;
    list.push_str(",upperdir=w/upper,workdir=w/work");
    mkdirat(CWD, "merged", Mode::RWXU).step(STEP)?;
    let data = alloc::ffi::CString::new(list).map_err(|_| Errno::INVAL).step(STEP)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("overlay", "merged", "overlay", flags, Some(data.as_c_str())).step(STEP)?;
    // Clones, because what is attached here is detached for good in a moment.
    Ok(Overlay {
        root: clone_tree("merged", OpenTreeFlags::empty()).step(STEP)?,
        writes: clone_tree("w", OpenTreeFlags::empty()).step(STEP)?,
    })
}

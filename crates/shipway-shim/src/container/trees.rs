//! What the shim prepares with the host's privileges, as detached mounts.
//!
//! Nothing here is attached to a namespace of the host's: each mount is a descriptor,
//! given to the child, gone when the last holder is. Files that belong to the host's
//! root appear inside as root's through an idmapped mount, so that one tree on disk
//! serves containers of every id range.

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};
use rustix::path::Arg;
use shipway_shim::protocol::{Bind, Launch, Network, Root, Tmpfs, Upper, path_bytes};

use crate::container::overlay;
use crate::failure::{Failure, Step as _};
use crate::launcher::Shared;
use crate::sys::{self, MountChange};

/// Scratch of a container whose writes go elsewhere: its `/dev/shm` and small files.
const SMALL_SCRATCH: Tmpfs = Tmpfs { size_bytes: 64 * 1024 * 1024, inodes: 16_384 };

/// The mounts of one container, detached.
#[derive(Debug)]
pub(crate) struct Trees {
    /// Its root.
    pub(crate) root: OwnedFd,
    /// One tmpfs, owned by its root, for everything else that it may write to.
    pub(crate) scratch: OwnedFd,
    /// Its devices.
    pub(crate) devices: OwnedFd,
    /// The host's `/sys`, when the network is the host's: the kernel makes a new one
    /// only for the owner of the network.
    pub(crate) sys: Option<OwnedFd>,
    /// What is bound into it, in the launch's order.
    pub(crate) binds: Vec<OwnedFd>,
}

impl Trees {
    /// Prepares the mounts of `launch`, seen through `namespace`'s maps.
    pub(crate) fn prepare(launch: &Launch, shared: &Shared, namespace: &OwnedFd) -> Result<Self, Failure> {
        let scratch = scratch(launch)?;
        let (root, scratch) = match &launch.root {
            Root::Tree { path, .. } => (read_only_tree(path_bytes(path), namespace)?, scratch),
            Root::Overlay { lowers, upper } => {
                overlay::make(lowers, upper, scratch, launch.id_base, shared, namespace)?
            }
        };
        let binds = launch.binds.iter().map(|bind| prepare_bind(bind, namespace));
        Ok(Self {
            root,
            scratch,
            devices: clone_tree("/dev", OpenTreeFlags::AT_RECURSIVE).step("clone the devices")?,
            sys: host_sys(&launch.network)?,
            binds: binds.collect::<Result<_, _>>()?,
        })
    }

    /// In the order that [`Trees::from_descriptors`] takes them back.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let first = [self.root.as_fd(), self.scratch.as_fd(), self.devices.as_fd()];
        let sys = self.sys.iter().map(AsFd::as_fd);
        let binds = self.binds.iter().map(AsFd::as_fd);
        first.into_iter().chain(sys).chain(binds).collect()
    }

    /// The child's side of [`Trees::descriptors`].
    pub(crate) fn from_descriptors(launch: &Launch, came: Vec<OwnedFd>) -> Option<Self> {
        let mut came = came.into_iter();
        let trees = Self {
            root: came.next()?,
            scratch: came.next()?,
            devices: came.next()?,
            sys: match launch.network {
                Network::Host => Some(came.next()?),
                Network::None { .. } => None,
            },
            binds: came.collect(),
        };
        (trees.binds.len() == launch.binds.len()).then_some(trees)
    }
}

/// A detached clone of the mount that holds `path`, rooted there. A last link is not followed.
pub(super) fn clone_tree(path: impl Arg, also: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(CWD, path, flags | also)
}

/// A read-only view of a directory whose owner 0 is the container's root.
fn read_only_tree(path: &[u8], namespace: &OwnedFd) -> Result<OwnedFd, Failure> {
    let tree = clone_tree(path, OpenTreeFlags::empty()).step_on("clone the root", path)?;
    let change = MountChange {
        set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        idmap: Some(namespace.as_fd()),
    };
    sys::change_mount(&tree, change).step_on("map the root's ids", path)?;
    Ok(tree)
}

fn prepare_bind(bind: &Bind, namespace: &OwnedFd) -> Result<OwnedFd, Failure> {
    let source = path_bytes(&bind.source);
    let tree = clone_tree(source, OpenTreeFlags::empty()).step_on("clone a bind's source", source)?;
    let mut set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    if !bind.writable {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    if !bind.executable {
        set |= libc::MOUNT_ATTR_NOEXEC;
    }
    let idmap = Some(namespace.as_fd());
    match sys::change_mount(&tree, MountChange { set, idmap }) {
        // A file system that cannot be idmapped can still be read as somebody else's.
        Err(Errno::INVAL | Errno::PERM) if !bind.writable => sys::change_mount(&tree, MountChange { set, idmap: None }),
        other => other,
    }
    .step_on("restrict a bind", source)?;
    Ok(tree)
}

/// The one tmpfs of a container, its root directory owned by the container's root.
fn scratch(launch: &Launch) -> Result<OwnedFd, Failure> {
    const STEP: &str = "make the scratch file system";
    let bounds = match &launch.root {
        Root::Tree { scratch, .. } => *scratch,
        Root::Overlay { upper: Upper::Tmpfs(bounds), .. } => *bounds,
        Root::Overlay { upper: Upper::Directory { .. }, .. } => SMALL_SCRATCH,
    };
    let file_system = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).step(STEP)?;
    let options = [
        ("size", format!("{}", bounds.size_bytes)),
        ("nr_inodes", format!("{}", bounds.inodes)),
        ("uid", format!("{}", launch.id_base)),
        ("gid", format!("{}", launch.id_base)),
        ("mode", "0755".into()),
    ];
    for (key, value) in options {
        fsconfig_set_string(&file_system, key, value.as_str()).step_on(STEP, key.as_bytes())?;
    }
    fsconfig_create(&file_system).step(STEP)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&file_system, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(STEP)
}

fn host_sys(network: &Network) -> Result<Option<OwnedFd>, Failure> {
    const STEP: &str = "clone the host's /sys";
    if let Network::None { .. } = network {
        return Ok(None);
    }
    let tree = clone_tree("/sys", OpenTreeFlags::empty()).step(STEP)?;
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    sys::change_mount(&tree, MountChange { set, idmap: None }).step(STEP)?;
    Ok(Some(tree))
}

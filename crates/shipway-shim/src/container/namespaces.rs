//! Which namespaces a container gets, and the ids its user namespace maps.

use alloc::format;
use core::ffi::c_int;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use shipway_shim::protocol::Network;

use crate::failure::{Failure, Step as _};
use crate::files::{open_folder, write_existing};

/// How many ids a container's user namespace maps; every id a program may use.
pub(crate) const IDS: u32 = 65_536;

/// The namespaces that the child is born into. Its cgroup namespace is made later, by
/// itself: one made before it joins its v1 cgroups would show the host's paths.
pub(crate) fn of_a_new_container(network: &Network) -> c_int {
    let always = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    always | own_network(network)
}

/// `CLONE_NEWNET` if the container has a network of its own.
pub(crate) fn own_network(network: &Network) -> c_int {
    match network {
        Network::None { .. } => libc::CLONE_NEWNET,
        Network::Host => 0,
    }
}

/// Writes the maps of process `pid` from outside and returns its user namespace.
pub(crate) fn map_ids(pid: i32, id_base: u32) -> Result<OwnedFd, Failure> {
    let process = open_folder(format!("/proc/{pid}")).step("open the new process in /proc")?;
    let map = format!("0 {id_base} {IDS}\n");
    for name in ["uid_map", "gid_map"] {
        write_existing(&process, name, map.as_bytes()).step_on("write an id map", name.as_bytes())?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat(&process, "ns/user", flags, Mode::empty()).step("open the user namespace")
}

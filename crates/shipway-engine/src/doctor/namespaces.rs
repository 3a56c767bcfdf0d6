//! Whether each kind of namespace can be made, by making one.

use super::probe::IdleChild;
use super::{Check, Outcome};

pub(super) const CHECKS: &[Check] = &[
    ("namespace.user", |_| made(libc::CLONE_NEWUSER, "user")),
    ("namespace.pid", |_| made(libc::CLONE_NEWPID, "pid")),
    ("namespace.mount", |_| made(libc::CLONE_NEWNS, "mnt")),
    ("namespace.net", |_| made(libc::CLONE_NEWNET, "net")),
    ("namespace.ipc", |_| made(libc::CLONE_NEWIPC, "ipc")),
    ("namespace.uts", |_| made(libc::CLONE_NEWUTS, "uts")),
    ("namespace.cgroup", |_| made(libc::CLONE_NEWCGROUP, "cgroup")),
    ("namespace.together", |_| together()),
    ("namespace.idmap", |_| mapped()),
];

fn made(flag: libc::c_int, name: &str) -> Outcome {
    match IdleChild::start(flag) {
        Ok(_child) => Outcome::ok(format!("a namespace of kind {name} can be made")),
        Err(error) => {
            Outcome::missing(format!("no namespace of kind {name} can be made: {error}"), remedy(&error, name))
        }
    }
}

fn remedy(error: &std::io::Error, name: &str) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => format!("sysctl -w user.max_{name}_namespaces=31000"),
        Some(libc::EPERM) => "run shipway as root, outside other containers".to_owned(),
        Some(libc::EINVAL) => format!("boot a kernel with {name} namespaces"),
        Some(libc::ENOSYS) => "boot Linux 6.1 or newer: clone3 is missing".to_owned(),
        _ => "see the cause".to_owned(),
    }
}

/// As a container is made: all at once, the others owned by the user namespace.
fn together() -> Outcome {
    let all = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    match IdleChild::start(all) {
        Ok(_child) => Outcome::ok("all seven can be made in one call"),
        Err(error) => Outcome::missing(
            format!("they cannot be made together: {error}"),
            "see the findings about single namespaces",
        ),
    }
}

fn mapped() -> Outcome {
    match IdleChild::user_namespace() {
        Ok(_namespace) => Outcome::ok("a user namespace takes 65,536 ids of its own"),
        Err(error) => {
            Outcome::missing(format!("ids cannot be mapped: {error}"), "run shipway as root, outside other containers")
        }
    }
}

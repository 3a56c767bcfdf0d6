//! Numbers of the kernel's that stop the hundredth container, not the first.

use rustix::process::{Resource, getrlimit};

use super::{Check, Outcome};

pub(super) const CHECKS: &[Check] = &[
    ("limit.namespaces", |_| namespaces()),
    ("limit.pids", |_| at_least("kernel/pid_max", 100_000, "processes on the host")),
    ("limit.threads", |_| at_least("kernel/threads-max", 50_000, "threads on the host")),
    ("limit.files", |_| at_least("fs/file-max", 500_000, "open files on the host")),
    ("limit.open_files", |_| open_files()),
    ("limit.mounts", |_| at_least("fs/mount-max", 10_000, "mounts in one namespace")),
];

/// A container takes one of each; a thousand containers are a promise.
const NAMESPACES_MIN: u64 = 1_200;
/// The proxy holds two descriptors a visitor.
const OPEN_FILES_MIN: u64 = 65_536;

fn namespaces() -> Outcome {
    let kinds = ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"];
    let low: Vec<String> = kinds
        .iter()
        .map(|kind| format!("user/max_{kind}_namespaces"))
        .filter(|name| read(name).is_some_and(|value| value < NAMESPACES_MIN))
        .collect();
    let Some(first) = low.first() else {
        return Outcome::ok(format!("at least {NAMESPACES_MIN} namespaces of each kind"));
    };
    let name = first.replace('/', ".");
    let what = format!("few namespaces are allowed: {}", low.join(", "));
    let remedy = format!("sysctl -w {name}=31000, and the same for the others");
    match low.iter().any(|name| read(name) == Some(0)) {
        true => Outcome::missing(what, remedy),
        false => Outcome::warning(what, remedy),
    }
}

fn at_least(name: &str, enough: u64, what: &str) -> Outcome {
    match read(name) {
        Some(value) if value >= enough => Outcome::ok(format!("{value} {what}")),
        Some(value) => {
            Outcome::warning(format!("only {value} {what}"), format!("sysctl -w {}={enough}", name.replace('/', ".")))
        }
        None => Outcome::warning(format!("the number of {what} is unknown"), "mount /proc"),
    }
}

fn open_files() -> Outcome {
    let limit = getrlimit(Resource::Nofile);
    match limit.maximum {
        Some(most) if most < OPEN_FILES_MIN => Outcome::warning(
            format!("a process may open {most} files at most"),
            format!("ulimit -Hn {OPEN_FILES_MIN}, or LimitNOFILE= in the service"),
        ),
        Some(most) => Outcome::ok(format!("a process may open {most} files")),
        None => Outcome::ok("a process may open any number of files"),
    }
}

fn read(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.trim().parse().ok()
}

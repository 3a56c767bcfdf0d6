//! The kernel, who we are to it, and single system calls.

#![expect(unsafe_code, reason = "system calls that rustix lacks, without effect; each says why it is sound")]

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::CapabilitySet;

use super::{Check, Outcome};

pub(super) const CHECKS: &[Check] = &[
    ("kernel.version", |_| version()),
    ("kernel.root", |_| root()),
    ("kernel.pidfd", |_| pidfd()),
    ("kernel.close_range", |_| close_range()),
    ("kernel.openat2", |_| openat2()),
];

/// What the engine is proven on. The other checks decide; this is for people.
const OLDEST: (u32, u32) = (6, 1);

fn version() -> Outcome {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    match parse(&release) {
        Some(version) if version >= OLDEST => Outcome::ok(format!("Linux {release}")),
        Some(_) => Outcome::warning(
            format!("Linux {release} is older than 6.1, the oldest Shipway is tested on"),
            "boot a newer kernel; Debian 12 has 6.1",
        ),
        None => Outcome::warning(format!("Linux {release}: not a version we know"), "see the other findings"),
    }
}

pub(super) fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What the engine does as root; a container's root on a host lacks some of it.
const NEEDED: [(CapabilitySet, &str); 8] = [
    (CapabilitySet::SYS_ADMIN, "sys_admin"),
    (CapabilitySet::NET_ADMIN, "net_admin"),
    (CapabilitySet::SETUID, "setuid"),
    (CapabilitySet::SETGID, "setgid"),
    (CapabilitySet::SETPCAP, "setpcap"),
    (CapabilitySet::CHOWN, "chown"),
    (CapabilitySet::DAC_OVERRIDE, "dac_override"),
    (CapabilitySet::KILL, "kill"),
];

fn root() -> Outcome {
    if !rustix::process::geteuid().is_root() {
        return Outcome::missing("not running as root", "run shipway as root");
    }
    let held = rustix::thread::capabilities(None).map(|sets| sets.effective);
    let held = held.unwrap_or(CapabilitySet::empty());
    let lacking: Vec<&str> =
        NEEDED.into_iter().filter(|(capability, _)| !held.contains(*capability)).map(|(_, name)| name).collect();
    if !lacking.is_empty() {
        return Outcome::missing(
            format!("root lacks the capabilities {}", lacking.join(", ")),
            "run shipway outside other containers, or give them all capabilities",
        );
    }
    if !held.contains(CapabilitySet::SYS_RESOURCE) {
        return Outcome::warning(
            "root lacks sys_resource: limits of open files can only be lowered",
            "give shipway the capability, or raise the limits where it is started",
        );
    }
    Outcome::ok("running as root with every capability that is needed")
}

fn pidfd() -> Outcome {
    present("pidfd_open", pidfd_open(getpid(), PidfdFlags::empty()).map(drop))
}

fn close_range() -> Outcome {
    // SAFETY: marks close-on-exec whatever is at the one descriptor number that
    // cannot exist; changes nothing.
    let result = unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    let result = match result {
        0 => Ok(()),
        _ => {
            Err(rustix::io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(rustix::io::Errno::NOSYS))
        }
    };
    present("close_range", result)
}

fn openat2() -> Outcome {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    present("openat2", rustix::fs::openat2(CWD, ".", flags, Mode::empty(), resolve).map(drop))
}

fn present(name: &str, result: rustix::io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::ok(format!("{name} works")),
        Err(error) => Outcome::missing(
            format!("{name} does not work: {error}"),
            "boot Linux 6.1 or newer; inside another container, allow the call in its seccomp profile",
        ),
    }
}

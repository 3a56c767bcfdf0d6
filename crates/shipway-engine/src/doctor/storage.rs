//! The state directory's disk, and the clock.

#![expect(unsafe_code, reason = "adjtimex has no safe wrapper; the call says why it is sound")]

use std::fs::File;

use shipway_stdx::clock::{Clock, HostClock, rfc3339};

use super::probe::Scratch;
use super::{Check, DoctorConfig, Outcome};

pub(super) const CHECKS: &[Check] =
    &[("storage.space", space), ("storage.inodes", inodes), ("storage.reflink", reflink), ("clock", |_| clock())];

/// A host image takes 300 MB; less than this is trouble before long.
const SPACE_WARNING_BYTES: u64 = 5 << 30;
const SPACE_MISSING_BYTES: u64 = 512 << 20;
/// A host image has 7,000 files.
const INODES_WARNING: u64 = 100_000;
/// This program did not exist before 2026-01-01.
const OLDEST_NOW_MICROS: i64 = 1_767_225_600_000_000;

fn statvfs(config: &DoctorConfig) -> rustix::io::Result<rustix::fs::StatVfs> {
    let there = config.state_dir.ancestors().find(|path| path.is_dir());
    rustix::fs::statvfs(there.unwrap_or(&config.state_dir))
}

fn space(config: &DoctorConfig) -> Outcome {
    let at = config.state_dir.display();
    let found = match statvfs(config) {
        Ok(found) => found,
        Err(error) => return Outcome::missing(format!("cannot look at {at}: {error}"), "mount it"),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let what = format!("{} MiB free at {at}", free >> 20);
    let remedy = "free some space, or move the state directory to a larger disk";
    match free {
        free if free < SPACE_MISSING_BYTES => Outcome::missing(what, remedy),
        free if free < SPACE_WARNING_BYTES => Outcome::warning(what, remedy),
        _ => Outcome::ok(what),
    }
}

fn inodes(config: &DoctorConfig) -> Outcome {
    match statvfs(config) {
        // btrfs makes inodes as it goes, and says 0 of 0.
        Ok(found) if found.f_files == 0 => Outcome::ok("inodes are made as needed"),
        Ok(found) if found.f_favail < INODES_WARNING => Outcome::warning(
            format!("{} inodes free", found.f_favail),
            "remove many small files, or make the file system anew with more inodes",
        ),
        Ok(found) => Outcome::ok(format!("{} inodes free", found.f_favail)),
        Err(error) => Outcome::missing(format!("unknown: {error}"), "mount the state directory"),
    }
}

/// Copies by reference make host images and layers almost free.
fn reflink(config: &DoctorConfig) -> Outcome {
    let try_it = || {
        let scratch = Scratch::near(&config.state_dir)?;
        let one = File::create(scratch.path().join("one"))?;
        let two = File::create(scratch.path().join("two"))?;
        Ok::<_, std::io::Error>(rustix::fs::ioctl_ficlone(&two, &one).is_ok())
    };
    match try_it() {
        Ok(true) => Outcome::ok("files can be copied by reference"),
        // ext4 cannot, and most hosts have it: no reason for a warning.
        Ok(false) => Outcome::ok("files are copied byte by byte (xfs and btrfs would share them)"),
        Err(error) => {
            Outcome::missing(format!("nothing can be written in the state directory: {error}"), "mount it writable")
        }
    }
}

fn clock() -> Outcome {
    let now = HostClock.now();
    if now < OLDEST_NOW_MICROS {
        return Outcome::missing(
            format!("the clock says {}", rfc3339(now)),
            "set the clock: certificates and leases depend on it",
        );
    }
    // SAFETY: timex is plain numbers, for which zero means "change nothing"; the call
    // fills it and keeps no pointer.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut timex)
    };
    if state == libc::TIME_ERROR {
        return Outcome::warning(
            "the clock is not synchronised, says the kernel",
            "apt-get install -y systemd-timesyncd (virtual machines may get their host's clock)",
        );
    }
    Outcome::ok("the clock is synchronised")
}

//! A mount namespace of few mounts.
//!
//! Every container's mount namespace begins as a copy of the launcher's: 145 µs
//! with a fresh VM's twenty mounts, 1,660 µs on a host that has a thousand more
//! (engine.md §4). So the launcher leaves the host's namespace for a private one and
//! detaches what no container needs. The host's own mounts are not touched.

use alloc::vec::Vec;

use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use crate::failure::{Failure, MayFail as _, Step as _};
use crate::sys;

/// One line of `/proc/self/mountinfo`.
struct Mount {
    /// Where it is mounted.
    point: Vec<u8>,
    /// Its file system's type.
    kind: Vec<u8>,
}

/// Moves into a private namespace that keeps what holds `paths`, `/proc`, `/sys` and
/// the cgroup trees. With no path, it keeps everything.
pub(super) fn leave_the_hosts(paths: &[Vec<u8>]) -> Result<(), Failure> {
    sys::unshare(libc::CLONE_NEWNS).step("make a private mount namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step("make all mounts private")?;
    if paths.is_empty() {
        return Ok(());
    }
    let table = crate::files::read_small(CWD, "/proc/self/mountinfo").step("read the mount table")?;
    let mounts: Vec<Mount> = table.split(|byte| *byte == b'\n').filter_map(parse).collect();
    // Later lines are mounted on earlier ones.
    for (mount, kept) in mounts.iter().zip(kept(&mounts, paths)).rev() {
        if !kept {
            // One that will not go only costs time; the containers detach it anyway.
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            unmount(mount.point.as_slice(), flags).may_fail();
        }
    }
    Ok(())
}

/// `36 35 98:0 /root /point options [optional]... - type source super`.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = unescape(fields.nth(4)?);
    fields.find(|field| *field == b"-")?;
    let kind = fields.next()?.to_vec();
    Some(Mount { point, kind })
}

/// The kernel writes space, tab, newline and backslash as `\040` and so on.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let Some(digits) = octal else {
            plain.push(*first);
            rest = after;
            continue;
        };
        let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit & 7));
        plain.push(u8::try_from(value & 0xff).unwrap_or(b'?'));
        rest = after.get(3..).unwrap_or_default();
    }
    plain
}

/// Whether to keep each mount: needed itself, or below one that is.
fn kept(mounts: &[Mount], paths: &[Vec<u8>]) -> Vec<bool> {
    let needed: Vec<bool> = mounts.iter().map(|mount| is_needed(mount, mounts, paths)).collect();
    let holds_needed = |point: &[u8]| {
        let mut others = mounts.iter().zip(&needed);
        others.any(|(other, needed)| *needed && is_at_or_below(&other.point, point))
    };
    mounts.iter().map(|mount| holds_needed(&mount.point)).collect()
}

fn is_needed(mount: &Mount, mounts: &[Mount], paths: &[Vec<u8>]) -> bool {
    let point = mount.point.as_slice();
    // The devices are still to be cloned; `devices` detaches them then.
    let always = [b"/".as_slice(), b"/dev", b"/proc", b"/sys"].contains(&point);
    always
        || mount.kind.starts_with(b"cgroup")
        || paths.iter().any(|path| is_at_or_below(point, path) || holder(path, mounts) == Some(point))
}

/// The deepest mount point at or above `path`.
fn holder<'mounts>(path: &[u8], mounts: &'mounts [Mount]) -> Option<&'mounts [u8]> {
    let points = mounts.iter().map(|mount| mount.point.as_slice());
    points.filter(|point| is_at_or_below(path, point)).max_by_key(|point| point.len())
}

fn is_at_or_below(path: &[u8], point: &[u8]) -> bool {
    match path.strip_prefix(point) {
        Some(rest) => rest.is_empty() || point == b"/" || rest.first() == Some(&b'/'),
        None => false,
    }
}

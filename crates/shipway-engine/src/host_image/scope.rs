//! Which of the packages' paths an image holds, and why not the others.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Why something is left out of an image. Counted, so that nothing is left out in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// Manuals, translations, headers: half of the files, and no program reads them.
    Bulk,
    /// The host's own configuration and state, which are nobody else's business.
    HostState,
    /// `/usr/local`: what the administrator put there belongs to the host.
    Local,
    /// It runs as somebody else: an image grants no privilege.
    SetId,
    /// It carries capabilities: the same.
    Capability,
    /// Not everybody on the host may read it, so no container may.
    NotWorldReadable,
    /// A device, pipe or socket.
    Special,
    /// In the package's list but not on the host (`path-exclude`, or removed by hand).
    Absent,
}

/// How many paths were left out for each reason.
pub(super) type LeftOutCounts = BTreeMap<LeftOut, u64>;

/// Where programs live. On a host without merged `/usr` the short ones are real.
const PROGRAMS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// No program needs these to run. Together they are a third of the bytes and half
/// of the files, and every file costs at each hashing. Licences stay on the host
/// that the image was made from and never leaves.
const BULK: [&str; 13] = [
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/i18n",
    "usr/share/lintian",
    "usr/share/linda",
    "usr/share/bug",
    "usr/share/menu",
    "usr/share/bash-completion",
    "usr/include",
    "usr/src",
];

/// What programs look for in `/etc` and what says nothing about the host. The rest
/// of `/etc` is made for the image.
const ETC: [&str; 13] = [
    "etc/debian_version",
    "etc/ethertypes",
    "etc/gai.conf",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/mime.types",
    "etc/networks",
    "etc/os-release",
    "etc/perl",
    "etc/protocols",
    "etc/rpc",
    "etc/services",
    "etc/ssl/openssl.cnf",
];

/// Decides by the path alone, which is given from the root without its slash.
pub(super) fn judge(path: &Path) -> Option<LeftOut> {
    if path.starts_with("usr/local") {
        return Some(LeftOut::Local);
    }
    if PROGRAMS.iter().any(|folder| path.starts_with(folder)) {
        let is_bulk = BULK.iter().any(|folder| path.starts_with(folder));
        return is_bulk.then_some(LeftOut::Bulk);
    }
    let is_python = path
        .strip_prefix("etc")
        .ok()
        .and_then(|path| path.components().next())
        .is_some_and(|first| first.as_os_str().to_string_lossy().starts_with("python3"));
    // The directory itself is kept, and whatever is chosen from it.
    if path == Path::new("etc") || is_python || ETC.iter().any(|kept| path.starts_with(kept)) {
        return None;
    }
    Some(LeftOut::HostState)
}

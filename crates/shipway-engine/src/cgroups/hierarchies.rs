//! Which cgroup trees this host has mounted, and with which controllers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::EngineError;
use crate::error::Doing;

/// The cgroup trees of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Mount point of the v2 tree.
    pub v2: Option<PathBuf>,
    /// The controllers that the v2 tree has.
    pub v2_controllers: BTreeSet<String>,
    /// Mount point of each v1 controller.
    pub v1: BTreeMap<String, PathBuf>,
}

/// The v1 controllers we know how to use.
const V1_CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuacct", "blkio"];

impl Hierarchies {
    /// Looks at this host.
    ///
    /// # Errors
    ///
    /// [`EngineError::Host`] when `/proc/self/mountinfo` cannot be read.
    pub fn detect() -> Result<Self, EngineError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").doing(|| "read /proc/self/mountinfo".to_owned())?;
        let mut found = Self::parse(&mounts);
        if let Some(root) = &found.v2 {
            let file = root.join("cgroup.controllers");
            let text = fs::read_to_string(&file).on("read", &file)?;
            found.v2_controllers = text.split_whitespace().map(str::to_owned).collect();
        }
        Ok(found)
    }

    /// Reads the mounts (`proc_pid_mountinfo(5)`); the v2 controllers are not in there.
    ///
    /// Of several mounts of one tree the first counts; one of a part of a tree
    /// (its root field is not `/`) counts as well: that is how containers see it.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, source)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = mount.split(' ').nth(4).map(unescape) else {
                continue;
            };
            let mut source = source.split(' ');
            match (source.next(), source.nth(1)) {
                (Some("cgroup2"), _) => {
                    found.v2.get_or_insert(point);
                }
                (Some("cgroup"), Some(options)) => {
                    for name in options.split(',').filter(|o| V1_CONTROLLERS.contains(o)) {
                        found.v1.entry(name.to_owned()).or_insert_with(|| point.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Says in one word what a person would call this host: `v2`, `hybrid`, `v1`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (&self.v2, self.v1.is_empty()) {
            (Some(_), true) => "v2",
            (Some(_), false) => "hybrid",
            (None, false) => "v1",
            (None, true) => "none",
        }
    }
}

/// Undoes the kernel's `\040` for spaces and the like.
fn unescape(text: &str) -> PathBuf {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|d| u8::from_str_radix(d, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    PathBuf::from(plain)
}

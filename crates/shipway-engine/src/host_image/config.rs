//! Which host, and which of its packages.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What host images are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostImageConfig {
    /// The root of the host's files. Anything but `/` is for tests.
    pub host_root: PathBuf,
    /// The packages asked for; what they depend on comes along.
    pub packages: Vec<Wanted>,
}

/// One package asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Names in the order of preference; the first that is installed is taken.
    pub any_of: Vec<String>,
    /// Whether there is no image without it.
    pub is_required: bool,
}

impl Wanted {
    /// A package no image can do without; `a | b` names alternatives.
    #[must_use]
    pub fn required(names: &str) -> Self {
        Self::parse(names, true)
    }

    /// A package that is taken where it is installed; `a | b` names alternatives.
    #[must_use]
    pub fn optional(names: &str) -> Self {
        Self::parse(names, false)
    }

    fn parse(names: &str, is_required: bool) -> Self {
        let any_of = names.split('|').map(|name| name.trim().to_owned());
        Self { any_of: any_of.collect(), is_required }
    }
}

/// What a POSIX shell script expects to find. Debian calls all of them essential.
const REQUIRED: [&str; 8] =
    ["base-files", "coreutils", "dash", "findutils", "gawk | mawk | original-awk", "grep", "libc-bin", "sed"];

/// What makes it a pleasant place, where the host has it. util-linux and mount are
/// absent on purpose: inside a container their set-id and mount tools are of no use.
/// nginx and fcgiwrap are what the runner `nginx` serves with.
const OPTIONAL: [&str; 22] = [
    "bash",
    "bc",
    "bzip2",
    "ca-certificates",
    "curl",
    "debianutils",
    "diffutils",
    "fcgiwrap",
    "file",
    "gzip",
    "hostname",
    "jq",
    "netbase",
    "nginx",
    "nodejs",
    "perl | perl-base",
    "procps",
    "python3",
    "tar",
    "tzdata",
    "wget",
    "xz-utils",
];

impl Default for HostImageConfig {
    fn default() -> Self {
        let required = REQUIRED.into_iter().map(Wanted::required);
        let optional = OPTIONAL.into_iter().map(Wanted::optional);
        Self { host_root: PathBuf::from("/"), packages: required.chain(optional).collect() }
    }
}

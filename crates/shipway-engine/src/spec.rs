//! What a container is made from, and what can never work.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use shipway_shim::protocol::{BINDS_MAX, Bind, InlineFile, LOWERS_MAX, LogLimits, Network, Process, Root, Upper};

use crate::{EngineError, Limits};

/// Longest id. A UUID has 36.
const ID_BYTES_MAX: usize = 40;
/// Most labels, and the longest key and value.
const LABELS_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 1024;
/// Most bytes of arguments and environment together; the rest of a launch's
/// message has to fit beside them.
const WORDS_BYTES_MAX: usize = 160 * 1024;
/// Most bytes of inline files together.
const FILES_BYTES_MAX: usize = 48 * 1024;
/// Capabilities anything a user supplies may keep (in its own user namespace):
/// CHOWN `DAC_OVERRIDE` FOWNER FSETID KILL SETGID SETUID SETPCAP `NET_BIND_SERVICE`
/// `NET_RAW` `SYS_CHROOT` MKNOD `AUDIT_WRITE` SETFCAP, by their numbers.
const CAPABILITIES_MAX: u64 = 1 << 0
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 10
    | 1 << 13
    | 1 << 18
    | 1 << 27
    | 1 << 29
    | 1 << 31;

/// Everything a container is made from. Kept as JSON in its state directory, so
/// fields are added with defaults and never change their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Names it, for ever: a UUID, or anything of `a-z 0-9 -` up to 40 bytes.
    pub id: String,
    /// For people and for finding it again.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its root file system.
    pub root: Root,
    /// Its first process.
    pub process: Process,
    /// Files and directories bound into it.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// Small files made inside before every start.
    #[serde(default)]
    pub files: Vec<InlineFile>,
    /// Host name inside; the id's first 12 bytes if not given.
    #[serde(default)]
    pub hostname: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// The network it lives in.
    pub network: Network,
    /// Its way out to the internet, if it has one. Needs a network namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressSpec>,
    /// How it is reached.
    pub ingress: Ingress,
    /// Bounds of its log.
    pub log: LogLimits,
}

/// How much of the internet a container may use. What it may reach is the operator's
/// word ([`OutsideConfig`](crate::OutsideConfig)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressSpec {
    /// Bytes a second in each direction; `None` for as fast as it goes.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Connections open at a time, at least one.
    pub connections: u32,
}

/// How a container is reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Ingress {
    /// Not at all.
    None,
    /// Its first process gets a listening unix socket as descriptor 3.
    Listener,
    /// Its shim dials this address inside for the proxy.
    Dialer {
        /// In the container's own network namespace.
        address: SocketAddr,
    },
}

impl ContainerSpec {
    /// The host name it gets.
    #[must_use]
    pub fn hostname(&self) -> &str {
        let short = self.id.get(..12).unwrap_or(&self.id).trim_end_matches('-');
        self.hostname.as_deref().unwrap_or(short)
    }

    /// The extra address on its `lo`, if it has one.
    #[must_use]
    pub const fn address(&self) -> Option<Ipv4Addr> {
        match self.network {
            Network::None { address } => address,
            Network::Host => None,
        }
    }

    /// Checks all that can be checked without looking at the host.
    ///
    /// # Errors
    ///
    /// [`EngineError::Invalid`] naming the first part that can never work, and the rule.
    pub fn check(&self) -> Result<(), EngineError> {
        self.check_names()?;
        self.check_root()?;
        self.check_process()?;
        self.check_binds()?;
        self.check_numbers()
    }

    fn check_names(&self) -> Result<(), EngineError> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let id = self.id.as_bytes();
        rule(
            matches!(id, [first, ..] if *first != b'-') && id.len() <= ID_BYTES_MAX && id.iter().all(|c| plain(*c)),
            "id: 1 to 40 of a-z, 0-9 and -, not beginning with -",
        )?;
        let name = self.hostname().as_bytes();
        rule(
            (1..=63).contains(&name.len()) && name.iter().all(|c| plain(c.to_ascii_lowercase()) || *c == b'.'),
            "hostname: 1 to 63 letters, digits, dots and hyphens",
        )?;
        let short = |text: &String| text.len() <= LABEL_BYTES_MAX;
        rule(
            self.labels.len() <= LABELS_MAX && self.labels.iter().all(|(key, value)| short(key) && short(value)),
            "labels: at most 64, of at most 1024 bytes each",
        )
    }

    fn check_root(&self) -> Result<(), EngineError> {
        match &self.root {
            Root::Tree { path, scratch } => {
                rule(is_plain(path), "root.path: an absolute path without ..")?;
                rule(scratch.size_bytes > 0 && scratch.inodes > 0, "root.scratch: at least one byte and one file")
            }
            Root::Overlay { lowers, upper } => {
                rule(
                    (1..=LOWERS_MAX).contains(&lowers.len()) && lowers.iter().all(|l| is_plain(l)),
                    "root.lowers: 1 to 128 absolute paths without ..",
                )?;
                match upper {
                    Upper::Tmpfs(tmpfs) => {
                        rule(tmpfs.size_bytes > 0 && tmpfs.inodes > 0, "root.upper: at least one byte and one file")
                    }
                    Upper::Directory { path } => rule(is_plain(path), "root.upper.path: an absolute path without .."),
                }
            }
        }
    }

    fn check_process(&self) -> Result<(), EngineError> {
        check_command(&self.process.argv, &self.process.env, &self.process.cwd)?;
        let process = &self.process;
        rule(!process.terminal, "process.terminal: only a further process gets one")?;
        rule(
            process.uid < 65_536 && process.gid < 65_536 && process.groups.iter().all(|group| *group < 65_536),
            "process.uid, gid, groups: below 65536",
        )?;
        rule(process.groups.len() <= 32, "process.groups: at most 32")?;
        rule(
            process.capabilities & !CAPABILITIES_MAX == 0,
            "process.capabilities: only the short list that a sandbox may keep",
        )?;
        rule(
            process.rlimits.len() <= 16 && process.rlimits.iter().all(|l| l.resource < 16 && l.soft <= l.hard),
            "process.rlimits: at most 16, of a known kind, soft at most hard",
        )
    }

    fn check_binds(&self) -> Result<(), EngineError> {
        rule(self.binds.len() <= BINDS_MAX && self.files.len() <= BINDS_MAX, "binds, files: at most 64 of each")?;
        for bind in &self.binds {
            rule(
                is_plain(&bind.source) && is_inside(&bind.target),
                "binds: absolute paths without .., the target below the root",
            )?;
        }
        rule(
            self.files.iter().all(|file| is_inside(&file.target)),
            "files: absolute paths without .., below the root",
        )?;
        let bytes: usize = self.files.iter().map(|file| file.text.len()).sum();
        rule(bytes <= FILES_BYTES_MAX, "files: at most 48 KiB together")
    }

    fn check_numbers(&self) -> Result<(), EngineError> {
        let Limits { memory_bytes, cpu_millis, pids } = self.limits;
        rule(memory_bytes >= 1 << 20, "limits.memory_bytes: at least 1 MiB")?;
        rule(memory_bytes <= i64::MAX.cast_unsigned() / 4096 * 4096, "limits.memory_bytes: below 2^63")?;
        rule(cpu_millis >= 10, "limits.cpu_millis: at least 10")?;
        rule((1..=1 << 22).contains(&pids), "limits.pids: 1 to 4194304")?;
        rule(
            self.log.segment_bytes >= 4096 && self.log.segments >= 2,
            "log: at least 2 segments of at least 4096 bytes",
        )?;
        let dials_itself = match self.ingress {
            Ingress::Dialer { address } => address.port() != 0,
            Ingress::None | Ingress::Listener => true,
        };
        rule(dials_itself, "ingress.address: a port that is not 0")?;
        let Some(egress) = self.egress else { return Ok(()) };
        rule(egress.connections > 0, "egress.connections: at least 1")?;
        rule(self.network != Network::Host, "egress: only with a network of its own")
    }
}

/// Checks a command, of a first process or a further one.
pub(crate) fn check_command(argv: &[String], env: &[String], cwd: &Path) -> Result<(), EngineError> {
    let program = argv.first().is_some_and(|program| !program.is_empty());
    rule(program, "process.argv: a program, then its arguments")?;
    let bytes: usize = argv.iter().chain(env).map(|word| word.len() + 1).sum();
    rule(bytes <= WORDS_BYTES_MAX, "process.argv, env: at most 160 KiB together")?;
    rule(argv.iter().chain(env).all(|word| !word.contains('\0')), "process.argv, env: no NUL bytes")?;
    let named = |entry: &String| entry.split_once('=').is_some_and(|(name, _)| !name.is_empty());
    rule(env.iter().all(named), "process.env: NAME=value")?;
    rule(is_plain(cwd), "process.cwd: an absolute path without ..")
}

fn rule(kept: bool, rule: &str) -> Result<(), EngineError> {
    match kept {
        true => Ok(()),
        false => Err(EngineError::Invalid(rule.to_owned())),
    }
}

/// Absolute, without `..` and without NUL.
fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path.components().all(|part| part != Component::ParentDir)
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

/// The same, and not the root itself.
fn is_inside(path: &Path) -> bool {
    is_plain(path) && path.parent().is_some()
}

#[cfg(test)]
mod tests;

//! What a container looks like.
//!
//! Of a URL service: the host image as its root, read-only, with a small tmpfs for what a script
//! writes; the runner at [`RUNNER`], the content at [`CONTENT`], both read-only and
//! owned by somebody else. Runner and scripts run as user [`USER`] inside, which is
//! nobody in particular outside, without any capability. The listening socket comes
//! as descriptor 3, never as a path.
//!
//! Served by nginx, the runner's own first process is the container's root where there is a
//! script to be kept from it (see [`nginx`]); scripts are user [`USER`] all the same.
//!
//! Of a command in an image: the image below a private tmpfs that takes every write and
//! lasts one run; the command is the container's root, and is reached at the one address
//! and port that were registered for it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use shipway_driver::{DriverError, ExecSpec, Ingress, Program, Workload};
use shipway_engine::{
    Bind, ContainerSpec, EgressSpec, Ingress as EngineIngress, Limits, LogLimits, Network, Process, Rlimit, Root,
    Tmpfs, Upper,
};
use shipway_model::{ContentKind, Egress, RootFs, Runner};

mod nginx;

/// Where the runner is, inside.
const RUNNER: &str = "/.shipway/runner";
/// Where the content is, inside.
const CONTENT: &str = "/srv/content";
/// User and group of everything that runs inside.
const USER: u32 = 1000;
/// What a program with an address of its own listens on: IPv4's dummy address
/// (RFC 7600 §4.8), which is nobody's, so it collides with no network that a
/// container may be given, and no visitor seems to come from localhost.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Segments of a log: the oldest quarter goes when it is full.
const LOG_SEGMENTS: u32 = 4;
/// `RLIMIT_CORE` and `RLIMIT_NOFILE`, as Linux numbers them.
const CORE: u32 = 4;
const OPEN_FILES: u32 = 7;

const ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8"), ("TMPDIR", "/tmp")];

/// Who a container's program is.
struct User {
    id: u32,
    /// Beside its own.
    groups: &'static [u32],
    /// A set of bits, by capabilities(7).
    capabilities: u64,
    home: &'static str,
    cwd: &'static str,
}

/// Of a URL service: nobody in particular.
const SCRIPT: User = User { id: USER, groups: &[], capabilities: 0, home: "/tmp", cwd: "/tmp" };

/// Of an image: its root, as the programs in one expect, over its own files and ids and
/// nothing else. `CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `KILL`, `SETGID`, `SETUID` and
/// `NET_BIND_SERVICE`, by their numbers: what a server needs to open its port and become
/// somebody else. They hold in the container's user namespace only.
const IMAGE: User = User {
    id: 0,
    groups: &[],
    capabilities: 1 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10,
    home: "/root",
    cwd: "/",
};

/// What is on this host for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    /// Its root file system.
    pub(crate) root: &'a Path,
    /// The runner.
    pub(crate) runner: &'a Path,
    /// The content to serve.
    pub(crate) content: Option<&'a Path>,
}

/// Turns a workload into what the engine takes.
pub(crate) fn spec(workload: &Workload, places: &Places<'_>) -> Result<ContainerSpec, DriverError> {
    let limits = &workload.limits;
    limits.check().map_err(|error| DriverError::Invalid(error.to_string()))?;
    let scratch = Tmpfs { size_bytes: limits.disk_bytes, inodes: u64::from(limits.inodes) };
    let root = match &workload.root {
        RootFs::HostImage { .. } => Root::Tree { path: places.root.to_owned(), scratch },
        RootFs::Image { .. } => {
            let upper = Upper::Tmpfs(scratch);
            Root::Overlay { lowers: vec![places.root.to_owned()], upper }
        }
    };
    let user = user(workload);
    let mut env = environment(&workload.env, user.home)?;
    let (argv, binds) = match &workload.program {
        Program::Command { argv } => (argv.clone(), Vec::new()),
        Program::Runner { runner, kind, .. } => {
            let content = content(places.content)?;
            let binds = runner_binds(*kind, places.runner, content);
            let argv = match runner {
                Runner::Native => runner_argv(workload),
                Runner::Nginx => {
                    nginx::check(workload, places.root)?;
                    env.extend(nginx::environment(workload));
                    vec![RUNNER.to_owned(), "nginx".to_owned()]
                }
            };
            (argv, binds)
        }
    };
    let (network, ingress) = reach(workload.ingress);
    Ok(ContainerSpec {
        id: workload.container.to_string(),
        labels: workload.labels.clone(),
        root,
        process: Process {
            argv,
            env,
            cwd: PathBuf::from(user.cwd),
            uid: user.id,
            gid: user.id,
            groups: user.groups.to_vec(),
            capabilities: user.capabilities,
            rlimits: vec![rlimit(CORE, 0), rlimit(OPEN_FILES, u64::from(limits.open_files))],
            terminal: false,
        },
        binds,
        files: Vec::new(),
        hostname: None,
        limits: Limits { memory_bytes: limits.memory_bytes, cpu_millis: limits.cpu_millis, pids: limits.pids },
        network,
        egress: egress(workload)?,
        ingress,
        log: LogLimits { segment_bytes: limits.log_bytes / u64::from(LOG_SEGMENTS), segments: LOG_SEGMENTS },
    })
}

/// Who its program is: by what it is, and a command by where it comes from.
const fn user(workload: &Workload) -> &'static User {
    match (&workload.program, &workload.root) {
        (Program::Runner { runner: Runner::Nginx, kind: ContentKind::Script, .. }, _) => &nginx::STARTER,
        (Program::Runner { .. }, _) | (_, RootFs::HostImage { .. }) => &SCRIPT,
        (Program::Command { .. }, RootFs::Image { .. }) => &IMAGE,
    }
}

/// Turns a further process into what the engine takes.
pub(crate) fn exec(spec: ExecSpec) -> Result<shipway_engine::ExecSpec, DriverError> {
    let mut env = spec.env;
    if spec.terminal.is_some() && !env.iter().any(|(name, _)| name == "TERM") {
        env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    let env = env.iter().map(|(name, value)| entry(name, value));
    Ok(shipway_engine::ExecSpec {
        argv: spec.argv,
        env: env.collect::<Result<_, _>>()?,
        cwd: None,
        terminal: spec.terminal,
    })
}

const fn rlimit(resource: u32, most: u64) -> Rlimit {
    Rlimit { resource, soft: most, hard: most }
}

fn egress(workload: &Workload) -> Result<Option<EgressSpec>, DriverError> {
    let limits = &workload.limits;
    match workload.egress {
        Egress::None => Ok(None),
        Egress::Internet => {
            let least = || DriverError::Invalid("egress_bytes_per_second must not be 0".to_owned());
            let bytes_per_second = Some(NonZeroU64::new(limits.egress_bytes_per_second).ok_or_else(least)?);
            Ok(Some(EgressSpec { bytes_per_second, connections: limits.egress_connections }))
        }
    }
}

fn reach(ingress: Ingress) -> (Network, EngineIngress) {
    match ingress {
        Ingress::None => (Network::None { address: None }, EngineIngress::None),
        Ingress::Listener => (Network::None { address: None }, EngineIngress::Listener),
        Ingress::Port { port } => (
            Network::None { address: Some(ADDRESS) },
            EngineIngress::Dialer { address: SocketAddr::from((ADDRESS, port)) },
        ),
    }
}

/// The content, which must be a file that everybody may read: inside, the runner is
/// a stranger to whoever owns it on this host.
fn content(path: Option<&Path>) -> Result<&Path, DriverError> {
    let path = path.ok_or_else(|| DriverError::Invalid("a runner needs content".to_owned()))?;
    let unusable = |why: String| DriverError::Unavailable {
        what: format!("the content {}: {why}", path.display()),
        hint: Some("deploy again".to_owned()),
    };
    let found = fs::symlink_metadata(path).map_err(|error| unusable(error.to_string()))?;
    if !found.is_file() || found.permissions().mode() & 0o004 == 0 {
        return Err(unusable("not a file that everybody may read".to_owned()));
    }
    Ok(path)
}

fn runner_binds(kind: ContentKind, runner: &Path, content: &Path) -> Vec<Bind> {
    let bind = |source: &Path, target: &str, executable| Bind {
        source: source.to_owned(),
        target: PathBuf::from(target),
        writable: false,
        executable,
    };
    vec![bind(runner, RUNNER, true), bind(content, CONTENT, kind == ContentKind::Script)]
}

/// The runner's command line. Every value stands alone in its argument, after its
/// flag, so none can be taken for a flag.
fn runner_argv(workload: &Workload) -> Vec<String> {
    let words = told(workload).into_iter().flat_map(|(name, value)| [format!("--{name}"), value]);
    [RUNNER.to_owned(), "serve".to_owned()].into_iter().chain(words).collect()
}

/// What a runner is told, in the words of its flags.
fn told(workload: &Workload) -> Vec<(&'static str, String)> {
    let Program::Runner { runner: _, kind, digest, content_type, file_name } = &workload.program else {
        return Vec::new();
    };
    let kind = match kind {
        ContentKind::Static => "static",
        ContentKind::Script => "script",
    };
    let limits = &workload.limits;
    let all = [
        ("kind", Some(kind.to_owned())),
        ("content", Some(CONTENT.to_owned())),
        ("digest", Some(digest.to_string())),
        ("content-type", content_type.clone()),
        ("file-name", file_name.clone()),
        ("timeout-ms", Some(limits.request_timeout_ms.to_string())),
        ("output-bytes", Some(limits.request_output_bytes.to_string())),
        ("concurrency", Some(limits.concurrency.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Ours first; the user's own replace them.
fn environment(user: &BTreeMap<String, String>, home: &'static str) -> Result<Vec<String>, DriverError> {
    let ours = ENVIRONMENT
        .into_iter()
        .chain([("HOME", home)])
        .filter(|(name, _)| !user.contains_key(*name))
        .map(|(name, value)| format!("{name}={value}"));
    let theirs = user.iter().map(|(name, value)| entry(name, value));
    ours.map(Ok).chain(theirs).collect()
}

fn entry(name: &str, value: &str) -> Result<String, DriverError> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        // The value may be a secret, so only the name is told.
        return Err(DriverError::Invalid(format!(
            "environment variable {name:?}: a name without `=`, and no NUL bytes"
        )));
    }
    Ok(format!("{name}={value}"))
}

#[cfg(test)]
mod tests;

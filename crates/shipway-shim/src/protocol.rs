//! The protocol of launcher and shim, version [`VERSION`].
//!
//! Everything is JSON, one message a packet on `SOCK_SEQPACKET` unix sockets,
//! descriptors beside it by `SCM_RIGHTS`. A release works with shims that the two
//! releases before it left running, so fields are added with defaults and never
//! change their meaning; fixtures of every version are kept in `tests/fixtures`.
//!
//! ```text
//! engine ──Launch──► launcher ──fork──► shim ──clone──► container's pid 1
//!   ▲                                     │
//!   └── files: run.json, exit.json, log/ ◄┤
//!   └── ctl.sock: signal, exec, resize  ◄─┘
//! ```

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Version of every message and file below.
pub const VERSION: u32 = 1;

/// Longest message either side reads; a longer one is refused, not cut.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// In the container's state directory: the [`Launch`] it was made from.
pub const SPEC_FILE: &str = "spec.json";
/// In the container's state directory, while or after it ran: [`Run`].
pub const RUN_FILE: &str = "run.json";
/// In the container's state directory, after it ended: [`Exit`].
pub const EXIT_FILE: &str = "exit.json";
/// In the container's state directory: log segments `00000000.log`, `00000001.log`, …
pub const LOG_FOLDER: &str = "log";
/// In the container's run directory: the shim's control socket.
pub const CONTROL_SOCKET: &str = "ctl.sock";
/// In the container's run directory: the dialer's socket.
pub const DIAL_SOCKET: &str = "dial.sock";
/// In the container's run directory: the listening socket handed to a runner.
pub const LISTEN_SOCKET: &str = "http.sock";

/// Engine → launcher: make and start this container.
///
/// One descriptor may travel with it: a listening socket that the container gets
/// as descriptor 3, announced by `LISTEN_FDS=1` (sd_listen_fds(3)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// [`VERSION`].
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// Its state directory: holds the files above. Exists, mode 0700.
    pub state_dir: PathBuf,
    /// Its run directory: holds the sockets above. Exists; short enough for a socket's path.
    pub run_dir: PathBuf,
    /// Its root file system.
    pub root: Root,
    /// First of the 65,536 host ids that its user namespace maps 0.. to.
    pub id_base: u32,
    /// Host name inside.
    pub hostname: String,
    /// Files and directories bound into it, in order.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// Small files made inside `/etc` and elsewhere before the start: resolv.conf, hosts.
    #[serde(default)]
    pub files: Vec<InlineFile>,
    /// Its first process.
    pub process: Process,
    /// Cgroup directories to join, already made and limited by the engine.
    pub cgroups: Vec<Cgroup>,
    /// The network it lives in.
    pub network: Network,
    /// The address its dialer connects to, and who may ask it; `None`: no dialer.
    #[serde(default)]
    pub dialer: Option<Dialer>,
    /// Whether a listening socket travels with this message.
    #[serde(default)]
    pub listener: bool,
    /// Bounds of its log.
    pub log: LogLimits,
}

/// A root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Root {
    /// One prepared tree, read-only, idmapped; `/tmp`, `/run`, `/var/tmp` and
    /// `/data` are a private tmpfs of the given size.
    Tree {
        /// The tree.
        path: PathBuf,
        /// Bytes and files of the writable places.
        scratch: Tmpfs,
    },
    /// Overlay of idmapped lowers, topmost first, below a private upper.
    Overlay {
        /// Content-addressed directories, shared by all containers.
        lowers: Vec<PathBuf>,
        /// Where writes go.
        upper: Upper,
    },
}

/// Where the writes of an overlay go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Upper {
    /// A tmpfs counted in the container's memory; lasts one run.
    Tmpfs(Tmpfs),
    /// A directory holding `upper` and `work`, on a file system of its own that
    /// bounds it; survives stop and start.
    Directory {
        /// Parent of `upper` and `work`.
        path: PathBuf,
    },
}

/// Bounds of a tmpfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// `size=`.
    pub size_bytes: u64,
    /// `nr_inodes=`.
    pub inodes: u64,
}

/// A file or directory bound into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host. Opened without following a last symbolic link.
    pub source: PathBuf,
    /// Inside, absolute; resolved beneath the root, never through a link out of it.
    pub target: PathBuf,
    /// Whether it can be written to inside.
    pub writable: bool,
    /// Whether a file of it may be executed.
    pub executable: bool,
}

/// A small file made inside before the start, mode 0644, owned by root inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineFile {
    /// Absolute path inside.
    pub target: PathBuf,
    /// Its text.
    pub text: String,
}

/// A container's first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; the program is looked up in the `PATH` of `env` inside.
    pub argv: Vec<String>,
    /// `NAME=value`, nothing inherited.
    pub env: Vec<String>,
    /// Working directory inside.
    pub cwd: PathBuf,
    /// User and group inside, and further groups.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
    /// See `uid`.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Capabilities kept, as the kernel's bit mask (1 << CAP_…); bounding set and all others.
    pub capabilities: u64,
    /// `RLIMIT_*` numbers with soft and hard value.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// Whether it gets a terminal.
    #[serde(default)]
    pub terminal: bool,
}

/// One resource limit (setrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on, as the kernel numbers them.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// One cgroup directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Absolute directory.
    pub path: PathBuf,
    /// True on the v2 tree: joined by `CLONE_INTO_CGROUP`, ended by `cgroup.kill`.
    /// False on a v1 tree: the child writes `0` to `tasks` itself.
    pub v2: bool,
}

/// The network a container lives in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Network {
    /// A namespace of its own with nothing but `lo`, which also carries `address` if given.
    None {
        /// An extra IPv4 address on `lo`, so that a visitor is never taken for localhost.
        address: Option<std::net::Ipv4Addr>,
    },
    /// The host's own network. Administrators only.
    Host,
}

/// The one address a dialer connects to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialer {
    /// In the container's network namespace.
    pub address: std::net::SocketAddr,
    /// Owner of `dial.sock`, the only user but root who may ask.
    pub owner_uid: u32,
}

/// Bounds of a log: segments of at most `segment_bytes`, the newest `segments` kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Size after which a new segment begins.
    pub segment_bytes: u64,
    /// Segments kept.
    pub segments: u32,
}

/// Launcher → engine: how a [`Launch`] went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Launched {
    /// The user's program has been executed; `run.json` is written.
    Running(Run),
    /// It could not be made; everything made so far is gone again.
    Failed {
        /// Step that failed, such as `mount overlay`.
        step: String,
        /// `errno`, or 0.
        errno: i32,
        /// What a person needs to know.
        detail: String,
    },
}

/// `run.json`: who runs. Written by the shim before the container's program is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// [`VERSION`].
    pub version: u32,
    /// The shim.
    pub shim: ProcessId,
    /// The container's first process, seen from the host.
    pub init: ProcessId,
    /// The kernel's boot id: after a reboot the rest means nothing.
    pub boot_id: String,
    /// When it started, microseconds since the epoch.
    pub started_at: i64,
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number on the host.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot.
    pub start_ticks: u64,
}

/// `exit.json`: how it ended. Written by the shim, by rename, once its output is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// [`VERSION`].
    pub version: u32,
    /// Exit status, when it exited.
    pub code: Option<i32>,
    /// Signal, when it was killed.
    pub signal: Option<i32>,
    /// Whether its memory limit was hit by the kernel's killer.
    pub out_of_memory: bool,
    /// When, microseconds since the epoch.
    pub ended_at: i64,
}

/// Anybody → shim, over `ctl.sock`; answered by one [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Send a signal to the container's first process.
    Signal {
        /// Number.
        signal: i32,
    },
    /// Kill every process in it.
    Kill,
    /// Answer [`Answer::Exited`] when it ends.
    Wait,
    /// Run another process in it. Three descriptors travel with it (stdin,
    /// stdout, stderr), or one (the terminal's slave side is made by the shim, and
    /// the master comes back with [`Answer::Executed`]) when `process.terminal`.
    /// The connection stays open: the next message is [`Answer::Exited`]; the
    /// asker may send [`Ask::Signal`] for this process. Hanging up kills it.
    Exec {
        /// What to run.
        process: Process,
    },
    /// Liveness.
    Ping,
}

/// Shim → asker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done,
    /// The process of an `Exec` runs.
    Executed {
        /// Seen from the host.
        pid: i32,
    },
    /// The container (after `Wait`) or the process (after `Exec`) ended.
    Exited {
        /// Exit status, or `None` when killed.
        code: Option<i32>,
        /// Signal, or `None` when it exited.
        signal: Option<i32>,
    },
    /// It could not be done.
    Refused {
        /// `errno`, or 0.
        errno: i32,
        /// What a person needs to know.
        detail: String,
    },
}

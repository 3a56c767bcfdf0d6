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
//!   ├── the launch's reply socket: Launched ┤
//!   ├── files: run.json, exit.json, log/ ◄┤
//!   └── ctl.sock: signal, wait, exec    ◄─┘
//! ```
//!
//! # The launcher
//!
//! Started as `shipway-shim launcher [PATH]...` with a `SOCK_SEQPACKET` socket as
//! descriptor [`LAUNCHER_FD`] and the compiled seccomp program (an array of
//! `struct sock_filter`) in a memfd as descriptor [`SECCOMP_FD`]; stdin, stdout and
//! stderr as the engine likes. It moves into a private mount namespace of few
//! mounts: the file systems that hold the PATHs (the engine's state and run
//! directories, anything a launch names), `/proc`, `/sys` and the cgroup trees. With
//! no PATH every mount stays, which works and is slow on a host with many. A file
//! system mounted on the host later is not seen by it. End of file on
//! [`LAUNCHER_FD`] ends the launcher; the shims go on.
//!
//! Launches are concurrent: the launcher forks and reads on. Each [`Launch`] carries
//! its own **reply socket** (one end of a `SOCK_SEQPACKET` pair), on which the shim
//! itself answers with one [`Launched`] and then hangs up. A reply socket that ends
//! without an answer means that the shim died: nothing is left of the container.
//!
//! A launch with [`Launch::gate_ms`] is answered twice: [`Launched::Prepared`] when the
//! sandbox is finished and waits, then, after the engine's [`Gate::Open`] on the same
//! socket, as any other launch. Until then nothing of the user's has run and no file of
//! an earlier run is touched. If the engine hangs up instead, or says nothing for that
//! time, the shim takes everything away again and ends.
//!
//! Descriptors beside a [`Launch`], in this order: the reply socket, then the
//! listening socket if [`Launch::listener`]. A packet without a reply socket is
//! dropped. The sender of packets near [`MESSAGE_BYTES_MAX`] must raise `SO_SNDBUF`.
//!
//! # The end of a container
//!
//! The shim drains the output into the log, unlinks its own two sockets, writes
//! `exit.json`, answers those who [`Ask::Wait`], and exits. A reader who finds no
//! `ctl.sock` and no `exit.json`, but the shim of `run.json` alive, looks again; if
//! that shim is not alive, the container is lost. Cgroup directories, `http.sock` and
//! the state directory are the engine's to remove.
//!
//! # The dialer
//!
//! `dial.sock` is a `SOCK_STREAM` socket. For every accepted connection the shim
//! connects once to the dialer's address and sends **one byte**: [`DIAL_CONNECTED`]
//! with the connected, non-blocking socket beside it (`SCM_RIGHTS`), or a byte that
//! says why not; then it hangs up. Nothing is read from the asker.

use alloc::string::String;
use alloc::vec::Vec;

#[cfg(feature = "std")]
pub use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A path; the shipped program is built without std and takes the JSON's text as it is.
#[cfg(not(feature = "std"))]
pub type PathBuf = String;
/// See [`PathBuf`].
#[cfg(not(feature = "std"))]
pub type Path = str;

/// Version of every message and file below.
pub const VERSION: u32 = 1;

/// Longest message either side reads; a longer one is refused, not cut.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The launcher's end of the socket that launches come by.
pub const LAUNCHER_FD: i32 = 3;
/// The launcher's descriptor of the compiled seccomp program.
pub const SECCOMP_FD: i32 = 4;

/// Most lowers of a [`Root::Overlay`].
pub const LOWERS_MAX: usize = 128;
/// Most [`Launch::binds`] and most [`Launch::files`].
pub const BINDS_MAX: usize = 64;
/// Most cgroups of one container: every v1 controller and the v2 tree.
pub const CGROUPS_MAX: usize = 16;
/// Most connections to one `ctl.sock` at a time; further ones are hung up on.
pub const CONNECTIONS_MAX: usize = 64;
/// Most processes started by [`Ask::Exec`] at a time.
pub const EXECS_MAX: usize = 32;
/// Most dials under way at a time; further ones get [`DIAL_BUSY`].
pub const DIALS_MAX: usize = 64;

/// The dialer's byte: connected, the socket is beside it.
pub const DIAL_CONNECTED: u8 = 0;
/// The dialer's byte: nobody listens there (yet), or the program hung up.
pub const DIAL_REFUSED: u8 = 1;
/// The dialer's byte: no answer in time, or too many dials under way.
pub const DIAL_BUSY: u8 = 2;

/// The last step of a launch and of an [`Ask::Exec`], execve(2): what fails at it has to do
/// with the program itself. In [`Launched::Failed`] it is the step; in
/// [`Answer::Refused`] the detail begins with it and a colon.
pub const EXECUTE: &str = "execute the program";

/// In the container's state directory, written by the engine: the [`Launch`] it was made from.
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

/// The bytes of a path, with and without std.
#[must_use]
pub fn path_bytes(path: &Path) -> &[u8] {
    #[cfg(feature = "std")]
    return path.as_os_str().as_encoded_bytes();
    #[cfg(not(feature = "std"))]
    return path.as_bytes();
}

/// Engine → launcher: make and start this container.
///
/// The first descriptor beside it is the reply socket; the second, if `listener`, a
/// listening socket that the container gets as descriptor 3, announced by
/// `LISTEN_FDS=1` and `LISTEN_PID=1` (`sd_listen_fds(3)`).
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
    /// `/etc/hostname` and `/etc/hosts` are made from what is known if they are not here.
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
    /// Milliseconds for which the finished sandbox waits for [`Gate::Open`]; `None`: its
    /// program runs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_ms: Option<u64>,
}

/// Engine → shim, on the reply socket of a launch that was [`Launched::Prepared`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Gate {
    /// Run the program.
    Open,
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
        address: Option<core::net::Ipv4Addr>,
    },
    /// The host's own network. Administrators only.
    Host,
}

/// The one address a dialer connects to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialer {
    /// In the container's network namespace.
    pub address: core::net::SocketAddr,
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

/// Shim → engine, on the launch's reply socket: how a [`Launch`] went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Launched {
    /// The user's program has been executed; `run.json` is written.
    Running(Run),
    /// The sandbox is finished and waits for [`Gate::Open`]; nothing is recorded yet.
    Prepared {
        /// The shim.
        shim: ProcessId,
        /// What will be the container's first process, seen from the host.
        init: ProcessId,
    },
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
    /// stdout, stderr), or none when `process.terminal`: the terminal is made from
    /// the container's devpts, and its master side comes back beside
    /// [`Answer::Executed`]; whoever holds it resizes it (`TIOCSWINSZ`).
    /// The connection stays open: the next message is [`Answer::Exited`]; the
    /// asker may send [`Ask::Signal`] for this process. Hanging up kills it.
    Exec {
        /// What to run.
        process: Process,
        /// The terminal's size from the first moment on. Shims of before November 2026
        /// overlook it, so the asker sets it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<TerminalSize>,
    },
    /// Liveness.
    Ping,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// In a row.
    pub columns: u16,
    /// On the screen.
    pub rows: u16,
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

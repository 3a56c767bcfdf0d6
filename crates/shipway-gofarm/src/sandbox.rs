//! The narrow door to whatever runs commands apart from everything else.
//!
//! A [`Bench`] is a place to work for one build: a root file system of the platform's,
//! the Go toolchain, perhaps a cache, all read-only, and below them a private, bounded
//! disk that outlasts a command and not the bench. Each command is a container of its
//! own on that disk: what it leaves running ends with it, and only what it left in
//! files is there for the next.
//!
//! Builds declare what they need of an engine here; an engine's crate keeps it, beside
//! its driver. A driver's `start` offers less on purpose: nobody's service gets layers,
//! disks or listeners of its choice.

use std::fmt::Debug;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use shipway_model::Digest;
use tokio::sync::{mpsc, oneshot};

/// Gives out benches, and keeps the caches that they may have below them.
#[async_trait]
pub trait Sandbox: Debug + Send + Sync {
    /// Furnishes a bench; waits while all are taken.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Unavailable`]; [`SandboxError::Refused`] for an order that can
    /// never be filled.
    async fn bench(&self, order: BenchOrder) -> Result<Box<dyn Bench>, SandboxError>;

    /// Lists the caches kept, whole ones only.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Unavailable`].
    async fn caches(&self) -> Result<Vec<Digest>, SandboxError>;

    /// Reads every byte of a cache and says whether it still is what its name says.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Unavailable`], also when there is no such cache.
    async fn is_intact(&self, cache: &Digest) -> Result<bool, SandboxError>;

    /// Removes a cache, unless a bench stands on it; says whether it is gone.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Unavailable`].
    async fn forget(&self, cache: &Digest) -> Result<bool, SandboxError>;
}

/// A place to work, until it is closed. One that is dropped instead ends what runs on
/// it and is cleared by and by.
#[async_trait]
pub trait Bench: Debug + Send + Sync {
    /// Writes a file, mode 0644 and the build's own, in place of what is there. Folders on
    /// the way are made; a link on the way is an error, never followed.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Refused`], [`SandboxError::Full`], [`SandboxError::Unavailable`].
    async fn write(&self, path: &str, content: &[u8]) -> Result<(), SandboxError>;

    /// Starts a command. One at a time.
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoProgram`], [`SandboxError::Refused`], [`SandboxError::Full`],
    /// [`SandboxError::Unavailable`].
    async fn start(&self, command: BenchCommand) -> Result<Running, SandboxError>;

    /// Copies a regular file that a command made into the new file `to`; returns its bytes.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Refused`] for anything but a regular file, below no link, of at
    /// most `bytes_max`; [`SandboxError::Unavailable`].
    async fn take(&self, path: &str, to: &Path, bytes_max: u64) -> Result<u64, SandboxError>;

    /// Puts an empty folder of the build's own in place of one.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Refused`], [`SandboxError::Unavailable`].
    async fn renew(&self, folder: &str) -> Result<(), SandboxError>;

    /// Makes a cache of these folders of the bench, which are its own no more afterwards.
    /// Only of a bench that nobody's code but the platform's choice was ever on.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Refused`], [`SandboxError::Unavailable`].
    async fn keep(&self, folders: &[&str]) -> Result<Digest, SandboxError>;

    /// Ends what runs, and clears everything away.
    async fn close(self: Box<Self>);
}

/// What a bench is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchOrder {
    /// The build it is for, as operators may want to find it.
    pub build: String,
    /// On this host, and where it shall be inside: the Go toolchain, read-only.
    pub toolchain: (PathBuf, String),
    /// A cache to stand on.
    pub cache: Option<Digest>,
    /// Absolute paths inside: empty folders of the build's own.
    pub folders: Vec<String>,
}

/// A command to run on a bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchCommand {
    /// Program, an absolute path, and arguments. No shell.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory, absolute.
    pub directory: String,
    /// Memory of everything it starts, bytes.
    pub memory_bytes: u64,
    /// Longest it may take.
    pub deadline: Duration,
    /// Where on its loopback somebody outside listens for it; otherwise there is nobody at all.
    pub door: Option<SocketAddr>,
}

/// A command that was started. Dropped, it is killed with all that it started.
#[derive(Debug)]
pub struct Running {
    /// What listens at its door.
    pub door: Option<TcpListener>,
    /// What it says. Not read, it waits; and loses lines in the end.
    pub lines: mpsc::Receiver<Line>,
    /// How it ended, told after its last line has been sent.
    pub ended: oneshot::Receiver<Result<Ended, SandboxError>>,
    /// Dropping it is the wish to end.
    pub leash: oneshot::Sender<()>,
}

/// A line of a command's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was said, microseconds since the epoch.
    pub at: i64,
    /// Whether on standard error.
    pub is_error: bool,
    /// Whether the same line goes on in the next piece.
    pub is_partial: bool,
    /// Its text; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// How a command ended, and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub how: End,
    /// From its start.
    pub took: Duration,
    /// Most memory seen, page cache included; looked at twice a second, so a short one has 0.
    pub memory_peak_bytes: u64,
    /// Bytes taken on the bench's disk at its end.
    pub disk_bytes: u64,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal that nobody here sent.
    Signalled(i32),
    /// The kernel killed it, or part of it, at its limit of memory.
    OutOfMemory,
    /// It took too long.
    Deadline,
    /// Somebody let go of it.
    Stopped,
    /// Nobody saw how: the host, or who watched it, was in trouble.
    Lost,
}

/// Why a bench could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// The program is not there, or cannot be executed. No use in trying again.
    #[error("{0}")]
    NoProgram(String),
    /// What was asked for breaks a rule. No use in trying again.
    #[error("{0}")]
    Refused(String),
    /// The bench's own disk is full, by what its commands wrote. No use in trying again.
    #[error("{0}")]
    Full(String),
    /// The host or the engine is in trouble, or has no room. It may pass.
    #[error("{0}")]
    Unavailable(String),
}

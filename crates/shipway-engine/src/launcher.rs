//! The small process that makes containers, so that the server never forks.
//!
//! Forking a server of many threads and much memory costs milliseconds and invites
//! deadlocks; the launcher is a copy of the shim program, single-threaded, started
//! once by `posix_spawn` (which shares memory until the exec). It is told what to
//! make in packets; each carries the socket on which the new container's shim
//! answers for itself. If the launcher dies, its shims live on, and the next launch
//! starts another.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use shipway_shim::protocol::{LAUNCHER_FD, Launch, Launched, MESSAGE_BYTES_MAX, SECCOMP_FD};

use crate::EngineError;
use crate::error::Doing;
use crate::packet::{self, Packets};
use crate::spawn::spawn;

/// Longest wait for a launcher that is behind. It only forks; longer means it is stuck.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// Longest wait for the end of a launcher that was hung up on.
const LAST_WORDS: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The launcher, alive or to be started.
#[derive(Debug)]
pub(crate) struct Launcher {
    shim: PathBuf,
    paths: Vec<PathBuf>,
    seccomp: OwnedFd,
    errors: PathBuf,
    alive: Mutex<Option<Alive>>,
}

#[derive(Debug)]
struct Alive {
    socket: OwnedFd,
    pid: Pid,
}

impl Launcher {
    /// Starts a launcher.
    ///
    /// `paths` are directories whose file systems it must see; `errors` is a file
    /// for what it and its shims have to say when nobody else listens.
    pub(crate) fn start(shim: &Path, paths: Vec<PathBuf>, errors: PathBuf) -> Result<Self, EngineError> {
        let launcher = Self {
            shim: shim.to_owned(),
            paths,
            seccomp: seccomp().doing(|| "keep the seccomp program in memory".to_owned())?,
            errors,
            alive: Mutex::new(None),
        };
        *launcher.lock() = Some(launcher.spawn()?);
        Ok(launcher)
    }

    /// Sends a launch and returns the socket on which its shim will answer.
    ///
    /// Blocks for a moment at most; a launcher that is not there any more is
    /// replaced first. `listener` goes along as the container's descriptor 3.
    ///
    /// Must be called inside a tokio runtime.
    pub(crate) fn send(&self, launch: &Launch, listener: Option<BorrowedFd<'_>>) -> Result<Packets, EngineError> {
        let bytes = serde_json::to_vec(launch).expect("a launch is plain data");
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(EngineError::Invalid(format!(
                "the specification takes {} bytes, more than {MESSAGE_BYTES_MAX}",
                bytes.len()
            )));
        }
        let (reply, theirs) = packet::pair().doing(|| "make a socket".to_owned())?;
        let mut beside = vec![theirs.as_fd()];
        beside.extend(listener);
        let mut alive = self.lock();
        for _ in 0..2 {
            let current = match &mut *alive {
                Some(current) => current,
                none => none.insert(self.spawn()?),
            };
            match send_patiently(&current.socket, &bytes, &beside) {
                Ok(()) => return Packets::new(reply).doing(|| "wait for a new shim".to_owned()),
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    tracing::warn!(launcher.pid = current.pid.as_raw_nonzero(), "launcher died");
                    if let Some(dead) = alive.take() {
                        reap(dead.pid);
                    }
                }
                Err(error) => return Err(error).doing(|| "talk to the launcher".to_owned()),
            }
        }
        Err(EngineError::Start {
            step: "launcher".to_owned(),
            errno: 0,
            detail: format!("it dies at once; see {}", self.errors.display()),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Alive>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self) -> Result<Alive, EngineError> {
        let (ours, theirs) = packet::pair().doing(|| "make a socket".to_owned())?;
        packet::widen(&ours).doing(|| "widen a socket".to_owned())?;
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.on("open", Path::new("/dev/null"))?;
        // Truncated: what an earlier launcher had to say has been read by now, or
        // will not be.
        let errors =
            OpenOptions::new().create(true).write(true).truncate(true).open(&self.errors).on("open", &self.errors)?;
        let mut words = vec![self.shim.as_os_str().as_bytes(), b"launcher"];
        words.extend(self.paths.iter().map(|path| path.as_os_str().as_bytes()));
        let descriptors = [
            (null.as_fd(), 0),
            (null.as_fd(), 1),
            (errors.as_fd(), 2),
            (theirs.as_fd(), LAUNCHER_FD),
            (self.seccomp.as_fd(), SECCOMP_FD),
        ];
        let pid =
            spawn(&self.shim, &words, &descriptors).doing(|| format!("start the launcher {}", self.shim.display()))?;
        Ok(Alive { socket: ours, pid })
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        if let Some(alive) = self.lock().take() {
            alive.end();
        }
    }
}

impl Alive {
    /// Hangs up, which ends it: it forks and reads on, so it sees the end of file at
    /// once. One that is stopped or stuck is killed; its shims do not mind.
    fn end(self) {
        let Self { socket, pid } = self;
        drop(socket);
        let gone = pidfd_open(pid, PidfdFlags::empty()).is_ok_and(|pidfd| {
            let mut wait = [PollFd::new(&pidfd, PollFlags::IN)];
            poll(&mut wait, Some(&LAST_WORDS)).is_ok_and(|ready| ready > 0)
        });
        if !gone && let Err(error) = kill_process(pid, Signal::KILL) {
            tracing::debug!(%error, "the launcher cannot be killed");
        }
        reap(pid);
    }
}

/// Takes note of the end of a launcher that has ended or been killed.
fn reap(pid: Pid) {
    let reaped = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
    if let Err(error) = reaped {
        tracing::debug!(%error, "somebody else has reaped the launcher");
    }
}

/// Sends a packet; waits while the launcher is behind, at most [`PATIENCE`].
fn send_patiently(socket: &OwnedFd, bytes: &[u8], beside: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    loop {
        match packet::send_now(socket, bytes, beside) {
            Err(Errno::AGAIN) => {
                let mut wait = [PollFd::new(socket, PollFlags::OUT)];
                if rustix::io::retry_on_intr(|| poll(&mut wait, Some(&PATIENCE)))? == 0 {
                    return Err(Errno::TIMEDOUT);
                }
            }
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Waits for the next answer of a launch.
pub(crate) async fn answer(reply: &Packets) -> Result<Launched, EngineError> {
    match reply.receive().await.doing(|| "hear from a new shim".to_owned())? {
        Some((launched, _)) => Ok(launched),
        None => Ok(Launched::Failed {
            step: "shim".to_owned(),
            errno: 0,
            detail: "the launcher or the shim died on the way".to_owned(),
        }),
    }
}

fn seccomp() -> io::Result<OwnedFd> {
    use std::io::{Seek, Write};
    let memory = rustix::fs::memfd_create("shipway-seccomp", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(&crate::seccomp::program())?;
    file.rewind()?;
    Ok(file.into())
}

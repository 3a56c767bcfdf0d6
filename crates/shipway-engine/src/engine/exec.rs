//! Running another process in a container.
//!
//! The shim makes it; we hold the other ends of its pipes or terminal, and a
//! connection whose hanging up kills it. One task per process carries what flows,
//! and ends with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use rustix::termios::{Winsize, tcsetwinsize};
use shipway_shim::protocol::{Answer, Ask, Process, TerminalSize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Engine;
use crate::EngineError;
use crate::error::Doing;
use crate::packet::Packets;
use crate::ready;
use crate::spec::check_command;

/// Messages that may wait in either direction. More hide latency, fewer hold memory.
const QUEUE: usize = 16;
/// Bytes of one message.
const CHUNK_BYTES: usize = 16 * 1024;
/// Longest a shim takes to make a process.
const PATIENCE: Duration = Duration::from_secs(20);
/// Once the process has ended, how long others may hold its output open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What a shell says for a process whose end nobody saw.
const KILLED: i32 = 128 + 9;

/// Another process to run in a container. It gets the container's own user,
/// capabilities and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`; replaces the container's own of the same name.
    pub env: Vec<String>,
    /// Working directory; the container's own if not given.
    pub cwd: Option<std::path::PathBuf>,
    /// Whether it gets a terminal, and of what size (columns, rows).
    pub terminal: Option<(u16, u16)>,
}

/// A running process. Dropping `input` kills it.
#[derive(Debug)]
pub struct ExecSession {
    /// To the process.
    pub input: mpsc::Sender<ExecInput>,
    /// From the process; the last message is [`ExecOutput::Exited`].
    pub output: mpsc::Receiver<ExecOutput>,
}

/// To a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecInput {
    /// Standard input, or keys.
    Stdin(Bytes),
    /// End of standard input. A terminal gets its end-of-file key.
    Eof,
    /// The terminal's new size (columns, rows).
    Resize(u16, u16),
    /// A signal.
    Signal(i32),
}

/// From a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Standard output, or the terminal's.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// It ended: status, or 128 + signal.
    Exited(i32),
}

impl Engine {
    /// Runs another process in a running container.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`], [`EngineError::NotRunning`], [`EngineError::Invalid`]
    /// for a command that can never work, [`EngineError::Start`] when it could not
    /// be made (no such program, limits reached); its step and `errno` are the shim's.
    pub async fn exec(&self, id: &str, spec: ExecSpec) -> Result<ExecSession, EngineError> {
        let container = self.inner.find(id)?;
        container.running()?;
        let process = process(&container.spec.process, &spec);
        check_command(&process.argv, &process.env, &process.cwd)?;
        let socket = container.files.control();
        let size = spec.terminal.map(|(columns, rows)| TerminalSize { columns, rows });
        let opened = tokio::time::timeout(PATIENCE, open(&socket, process, size))
            .await
            .unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        let ends = match opened {
            Ok(ends) => ends,
            Err(_) if container.running().is_err() => {
                return Err(EngineError::NotRunning(id.to_owned()));
            }
            Err(why) => return Err(why.into_start()),
        };
        // A shim that an older release has left running knows nothing of sizes.
        if let (Some((columns, rows)), Some(terminal)) = (spec.terminal, &ends.terminal) {
            resize(terminal, columns, rows).doing(|| "set a terminal's size".to_owned())?;
        }
        let (input, from_user) = mpsc::channel(QUEUE);
        let (to_user, output) = mpsc::channel(QUEUE);
        tokio::spawn(carry(ends, from_user, to_user));
        Ok(ExecSession { input, output })
    }
}

fn process(first: &Process, spec: &ExecSpec) -> Process {
    let name = |entry: &String| entry.split('=').next().map(str::to_owned);
    let replaced: Vec<_> = spec.env.iter().map(name).collect();
    let kept = first.env.iter().filter(|entry| !replaced.contains(&name(entry)));
    Process {
        argv: spec.argv.clone(),
        env: kept.chain(&spec.env).cloned().collect(),
        cwd: spec.cwd.clone().unwrap_or_else(|| first.cwd.clone()),
        terminal: spec.terminal.is_some(),
        ..first.clone()
    }
}

/// Our ends of what a process has.
struct Ends {
    control: Packets,
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// Why there is no process.
enum NotMade {
    /// The shim tried, and says at which step it failed.
    Refused { errno: i32, detail: String },
    /// It could not be asked, or did not answer.
    Unasked(io::Error),
}

impl From<io::Error> for NotMade {
    fn from(error: io::Error) -> Self {
        Self::Unasked(error)
    }
}

impl From<rustix::io::Errno> for NotMade {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Unasked(errno.into())
    }
}

impl NotMade {
    fn into_start(self) -> EngineError {
        match self {
            Self::Refused { errno, detail } => {
                // As the shim writes it: the step, a colon, what it was done to.
                let (step, detail) = detail.split_once(": ").unwrap_or(("exec", &detail));
                EngineError::Start { step: step.to_owned(), errno, detail: detail.to_owned() }
            }
            Self::Unasked(error) => EngineError::Start {
                step: "exec".to_owned(),
                errno: error.raw_os_error().unwrap_or(0),
                detail: error.to_string(),
            },
        }
    }
}

async fn open(socket: &std::path::Path, process: Process, size: Option<TerminalSize>) -> Result<Ends, NotMade> {
    let control = Packets::connect(socket)?;
    let terminal = process.terminal;
    let ask = Ask::Exec { process, size };
    if terminal {
        control.send(&ask, &[]).await?;
        let master = executed(&control).await?;
        let master = master.ok_or_else(|| io::Error::other("no terminal came back"))?;
        rustix::io::ioctl_fionbio(&master, true)?;
        return Ok(Ends {
            control,
            stdin: master.try_clone()?,
            stdout: master.try_clone()?,
            stderr: None,
            terminal: Some(master),
        });
    }
    let (their_in, stdin) = pipe()?;
    let (stdout, their_out) = pipe()?;
    let (stderr, their_err) = pipe()?;
    for ours in [&stdin, &stdout, &stderr] {
        // Of our end's own description; theirs stays as programs expect it.
        rustix::io::ioctl_fionbio(ours, true)?;
    }
    let theirs = [their_in.as_fd(), their_out.as_fd(), their_err.as_fd()];
    control.send(&ask, &theirs).await?;
    executed(&control).await?;
    Ok(Ends { control, stdin, stdout, stderr: Some(stderr), terminal: None })
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Waits for the process to be made; returns the terminal that came with it.
async fn executed(control: &Packets) -> Result<Option<OwnedFd>, NotMade> {
    let Some((answer, beside)) = control.receive::<Answer>().await? else {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    };
    match answer {
        Answer::Executed { .. } => Ok(beside.into_iter().next()),
        Answer::Refused { errno, detail } => Err(NotMade::Refused { errno, detail }),
        other => Err(io::Error::other(format!("unexpected answer: {other:?}")).into()),
    }
}

fn resize(terminal: &OwnedFd, columns: u16, rows: u16) -> rustix::io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size)
}

/// Carries everything until the process has ended or its user has gone.
async fn carry(ends: Ends, mut from_user: mpsc::Receiver<ExecInput>, to_user: mpsc::Sender<ExecOutput>) {
    let mut readers = JoinSet::new();
    readers.spawn(copy_out(ends.stdout, to_user.clone(), ExecOutput::Stdout));
    if let Some(stderr) = ends.stderr {
        readers.spawn(copy_out(stderr, to_user.clone(), ExecOutput::Stderr));
    }
    let (keys, typed) = mpsc::channel(QUEUE);
    let mut writer = JoinSet::new();
    writer.spawn(copy_in(ends.stdin, typed));
    let mut keys = Some(keys);

    let exit = exit(&ends.control);
    tokio::pin!(exit);
    let status = loop {
        let message = tokio::select! {
            status = &mut exit => break status,
            message = from_user.recv() => message,
        };
        match message {
            // Hanging up kills it; nobody is left to tell.
            None => return,
            Some(ExecInput::Stdin(bytes)) => {
                if let Some(keys) = &keys {
                    // An error is a process that has closed its input.
                    drop(keys.send(bytes).await);
                }
            }
            Some(ExecInput::Eof) => match (&ends.terminal, &keys) {
                (Some(_), Some(keys)) => drop(keys.send(Bytes::from_static(b"\x04")).await),
                _ => keys = None,
            },
            Some(ExecInput::Resize(columns, rows)) => {
                if let Some(terminal) = &ends.terminal
                    && let Err(error) = resize(terminal, columns, rows)
                {
                    tracing::debug!(%error, "a terminal kept its size");
                }
            }
            Some(ExecInput::Signal(signal)) => {
                // If the shim has gone, `exit` says so.
                drop(ends.control.send(&Ask::Signal { signal }, &[]).await);
            }
        }
    };
    let rest = async { while readers.join_next().await.is_some() {} };
    drop(tokio::time::timeout(LAST_WORDS, rest).await);
    drop(to_user.send(ExecOutput::Exited(status)).await);
}

/// Waits for the end, and says it as a shell would.
async fn exit(control: &Packets) -> i32 {
    loop {
        match control.receive::<Answer>().await {
            Ok(Some((Answer::Exited { code, signal }, _))) => {
                return code.unwrap_or_else(|| signal.map_or(KILLED, |signal| 128 + signal));
            }
            // The answer to a signal. A refused one came too late: the end is next.
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return KILLED,
        }
    }
}

async fn copy_out(from: OwnedFd, to: mpsc::Sender<ExecOutput>, wrap: fn(Bytes) -> ExecOutput) -> io::Result<()> {
    let from = ready::register(from, tokio::io::Interest::READABLE)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.async_io(tokio::io::Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut chunk)?)).await?;
        // The end; a terminal's is an error (EIO), told above.
        if read == 0 || to.send(wrap(Bytes::copy_from_slice(&chunk[..read]))).await.is_err() {
            return Ok(());
        }
    }
}

async fn copy_in(to: OwnedFd, mut from: mpsc::Receiver<Bytes>) -> io::Result<()> {
    let to = ready::register(to, tokio::io::Interest::WRITABLE)?;
    while let Some(mut bytes) = from.recv().await {
        while !bytes.is_empty() {
            let written = to.async_io(tokio::io::Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, &bytes)?)).await?;
            drop(bytes.split_to(written));
        }
    }
    Ok(())
}

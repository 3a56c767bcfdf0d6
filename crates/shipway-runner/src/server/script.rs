//! One request's script: its process, its pipes, and what has come of it so far.
//!
//! Its output is held back until it has exited, so that a failure can still be a
//! 502. Once 64 KiB have come its answer is begun (*committed*) and streams; a
//! failure after that can only break the connection off.
//!
//! The end of a script is the end of its first process. Whatever else still
//! holds its pipes is being killed then, so the pipes are read as far as they are
//! filled and no further.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::connection::{Connection, Filled, Gone};
use super::log::{Lines, Log};
use super::poller::Poller;
use super::slots::{Source, Token};
use super::{Server, limits};
use crate::cgi::environment;
use crate::cgi::header::{self, Block};
use crate::content::Reply;
use crate::family::{self, Family};
use crate::http::body::Piece;
use crate::http::head::{Head, Refusal};
use crate::strategy::{Order, Strategy};
use crate::sys::Ending;

pub mod failure;
pub mod stream;

use failure::{Failure, NotStarted};
use stream::Stream;

/// Bytes read from a pipe at a time: half of what it holds.
pub const READ_BYTES: usize = 32 * 1024;

/// Most reads of one pipe before others get their turn.
const READS_A_TURN: usize = 32;

/// What moving a script on came to.
#[derive(Debug)]
pub enum Outcome {
    /// It must wait for something.
    Wait,
    /// Its answer is whole, in the connection's output.
    Streamed,
    /// This is its answer.
    Reply(Reply),
    /// The request turned out to be malformed.
    Refused(Refusal),
    /// Its answer is that of another path.
    Redirect(String),
}

/// One script at work.
#[derive(Debug)]
pub struct Script {
    root: Pid,
    ending: Option<Ending>,
    stdin: Option<Pipe>,
    stdout: Option<Pipe>,
    stderr: Option<Pipe>,
    lines: Lines,
    held: Vec<u8>,
    stream: Option<Stream>,
    printed: u64,
    /// When it has worked too long.
    pub deadline: Instant,
    /// That has happened.
    pub is_overdue: bool,
    /// Local redirects that led here.
    pub redirects: u32,
}

/// Our end of a pipe.
#[derive(Debug)]
struct Pipe {
    fd: OwnedFd,
    /// Worth trying: the last try did not end in `EAGAIN`, or an event came since.
    is_ready: bool,
    is_watched: bool,
}

impl Pipe {
    fn new(fd: OwnedFd, is_ready: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, is_ready, is_watched: false })
    }

    /// Watches exactly while it is not ready: a pipe whose other end is closed is
    /// an event for ever, and would spin the loop while we cannot act on it.
    fn watch(&mut self, poller: &Poller, flags: EventFlags, data: u64) -> io::Result<()> {
        match (self.is_ready, self.is_watched) {
            (false, false) => poller.add(&self.fd, flags, data)?,
            (true, true) => poller.delete(&self.fd)?,
            _ => {}
        }
        self.is_watched = !self.is_ready;
        Ok(())
    }
}

impl Script {
    /// Starts one for a request.
    ///
    /// # Errors
    ///
    /// Why it could not be, as an answer.
    pub fn start(
        server: &mut Server,
        token: Token,
        head: &Head,
        deadline: Instant,
        redirects: u32,
    ) -> Result<Self, NotStarted> {
        let marker = family::marker();
        let path = server.config.content.clone();
        let environment = environment::build(&server.base, head, &path.to_string_lossy(), &marker)
            .map_err(|environment::BadPath| NotStarted::bad_path())?;
        let folder = path.parent().map_or(&b"/"[..], |folder| folder.as_os_str().as_bytes());
        let folder = CString::new(folder).map_err(|error| NotStarted::new("its folder", &error.into()))?;
        let has_body = head.framing != crate::http::head::Framing::None;
        let (child_ends, mut script) =
            Self::pipes(has_body, deadline, redirects).map_err(|error| NotStarted::new("no pipe", &error))?;
        let program = server.program().map_err(|error| NotStarted::new("its file", &error))?;
        let [stdin, stdout, stderr] = &child_ends;
        let order = Order {
            program,
            environment: &environment,
            folder: &folder,
            stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        };
        script.root = Strategy::Exec.start(&order).map_err(|error| NotStarted::new(&program.name(), &error))?;
        server.family.adopt(script.root, marker, token.data(Source::Socket));
        Ok(script)
    }

    /// Makes its pipes; returns the child's ends and ours.
    fn pipes(has_body: bool, deadline: Instant, redirects: u32) -> io::Result<([OwnedFd; 3], Self)> {
        let (stdout, child_stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, child_stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // A pipe without a writer is an input without bytes, wherever /dev is.
        let (child_stdin, stdin) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let stdin = has_body.then(|| Pipe::new(stdin, true)).transpose()?;
        let script = Self {
            root: rustix::process::getpid(),
            ending: None,
            stdin,
            stdout: Some(Pipe::new(stdout, false)?),
            stderr: Some(Pipe::new(stderr, false)?),
            lines: Lines::default(),
            held: Vec::new(),
            stream: None,
            printed: 0,
            deadline,
            is_overdue: false,
            redirects,
        };
        Ok(([child_stdin, child_stdout, child_stderr], script))
    }

    /// Takes note of an event on one of its pipes.
    pub fn wake(&mut self, source: Source) {
        let pipe = match source {
            Source::Stdin => &mut self.stdin,
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
            Source::Socket => return,
        };
        if let Some(pipe) = pipe {
            pipe.is_ready = true;
        }
    }

    /// Takes note that its first process has ended: what is in the pipes now is all.
    pub fn ended(&mut self, root: Pid, ending: Ending) {
        if self.root == root {
            self.ending = Some(ending);
            self.wake(Source::Stdout);
            self.wake(Source::Stderr);
        }
    }

    /// Kills it: nobody waits for its answer any more.
    pub fn abandon(&self, family: &mut Family) {
        if self.ending.is_none() {
            family.cancel(self.root);
        }
    }

    /// Moves it on as far as it goes.
    ///
    /// # Errors
    ///
    /// The client is gone, or must see the connection break off.
    pub fn pump(&mut self, server: &mut Server, connection: &mut Connection) -> Result<Outcome, Gone> {
        if let Err(refusal) = self.feed(connection)? {
            self.abandon(&mut server.family);
            return if self.stream.is_some() { Err(Gone) } else { Ok(Outcome::Refused(refusal)) };
        }
        let mut scratch = std::mem::take(&mut server.scratch);
        scratch.resize(READ_BYTES, 0);
        self.read_stderr(&mut server.log, &mut scratch);
        let moved = self.move_output(server, connection, &mut scratch);
        server.scratch = scratch;
        if connection.again {
            server.wake_by(server.now);
        }
        match moved? {
            Ok(_) if self.is_overdue => self.fail(server, connection, &Failure::Timeout),
            Err(failure) => self.fail(server, connection, &failure),
            Ok(is_drained) => match self.ending {
                Some(ending) if is_drained => self.finish(server, connection, ending),
                _ => Ok(Outcome::Wait),
            },
        }
    }

    /// Moves what the script prints towards the client until one of them must be
    /// waited for; true when the script's pipe holds no more at the moment.
    fn move_output(
        &mut self,
        server: &Server,
        connection: &mut Connection,
        scratch: &mut [u8],
    ) -> Result<Result<bool, Failure>, Gone> {
        let most = server.config.output_bytes;
        for _ in 0..READS_A_TURN {
            let is_drained = match self.read_stdout(connection, most, scratch) {
                Ok(is_drained) => is_drained,
                Err(failure) => return Ok(Err(failure)),
            };
            let is_taken = connection.flush(server.now)?;
            if is_drained || !is_taken {
                return Ok(Ok(is_drained));
            }
        }
        connection.again = true;
        Ok(Ok(false))
    }

    /// Passes the request's body on, as much as the script takes. The inner error
    /// is a malformed body.
    fn feed(&mut self, connection: &mut Connection) -> Result<Result<(), Refusal>, Gone> {
        loop {
            let piece = match connection.body.next(&connection.input) {
                Ok(piece) => piece,
                Err(refusal) => return Ok(Err(refusal)),
            };
            match piece {
                Piece::Done => {
                    self.stdin = None;
                    return Ok(Ok(()));
                }
                Piece::Framing(count) => connection.used(count),
                Piece::Wait => match connection.fill()? {
                    Filled::More => {}
                    Filled::Blocked => return Ok(Ok(())),
                    // It promised more than it sent.
                    Filled::End => return Err(Gone),
                },
                Piece::Data(count) => {
                    let Some(taken) = self.write_stdin(&connection.input[..count]) else {
                        return Ok(Ok(()));
                    };
                    connection.body.consume(taken);
                    connection.used(taken);
                }
            }
        }
    }

    /// Returns how many bytes are dealt with, or `None` when the script takes none
    /// now. Once it has closed its input, all of them are.
    fn write_stdin(&mut self, data: &[u8]) -> Option<usize> {
        let Some(pipe) = &mut self.stdin else {
            return Some(data.len());
        };
        if !pipe.is_ready {
            return None;
        }
        match rustix::io::write(&pipe.fd, data) {
            Ok(count) => Some(count),
            Err(Errno::AGAIN | Errno::INTR) => {
                pipe.is_ready = false;
                None
            }
            Err(_) => {
                self.stdin = None;
                Some(data.len())
            }
        }
    }

    fn read_stderr(&mut self, log: &mut Log, scratch: &mut [u8]) {
        for _ in 0..READS_A_TURN {
            let Some(pipe) = self.stderr.as_mut().filter(|pipe| pipe.is_ready) else {
                return;
            };
            if log.is_full() {
                return;
            }
            match rustix::io::read(&pipe.fd, &mut *scratch) {
                Ok(0) => self.stderr = None,
                Ok(count) => self.lines.take(&scratch[..count], |line| log.line(line)),
                Err(Errno::INTR) => {}
                Err(_) => pipe.is_ready = false,
            }
        }
        // More may have come; being watched, it says so itself.
        if let Some(pipe) = &mut self.stderr {
            pipe.is_ready = false;
        }
    }

    /// Reads what the script prints; true when there is no more at the moment.
    fn read_stdout(&mut self, connection: &mut Connection, most: u64, scratch: &mut [u8]) -> Result<bool, Failure> {
        for _ in 0..READS_A_TURN {
            let Some(pipe) = self.stdout.as_mut().filter(|pipe| pipe.is_ready) else {
                return Ok(true);
            };
            if connection.output.held_bytes() >= limits::OUTPUT_BYTES {
                // Read again when the client has taken some.
                return Ok(false);
            }
            match rustix::io::read(&pipe.fd, &mut *scratch) {
                Ok(0) => self.stdout = None,
                Ok(count) => self.take_output(connection, &scratch[..count], most)?,
                Err(Errno::INTR) => {}
                Err(_) => pipe.is_ready = false,
            }
        }
        connection.again = true;
        Ok(false)
    }

    fn take_output(&mut self, connection: &mut Connection, bytes: &[u8], most: u64) -> Result<(), Failure> {
        self.printed += bytes.len() as u64;
        if self.printed > most {
            return Err(Failure::OutputLimit);
        }
        if let Some(stream) = &mut self.stream {
            return stream.push(&mut connection.output, bytes);
        }
        self.held.extend_from_slice(bytes);
        if self.held.len() >= limits::HELD_BYTES {
            let held = std::mem::take(&mut self.held);
            let (block, at) = header::split(&held);
            let mut stream = Stream::begin(connection, &block)?;
            stream.push(&mut connection.output, &held[at..])?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Everything it did is known.
    fn finish(&mut self, server: &mut Server, connection: &mut Connection, ending: Ending) -> Result<Outcome, Gone> {
        self.lines.finish(|line| server.log.line(line));
        if ending != Ending::Exited(0) {
            return self.fail(server, connection, &Failure::of(ending));
        }
        if let Some(stream) = &mut self.stream {
            return match stream.end(&mut connection.output) {
                Ok(()) => Ok(Outcome::Streamed),
                Err(failure) => self.fail(server, connection, &failure),
            };
        }
        let held = std::mem::take(&mut self.held);
        let (block, at) = header::split(&held);
        match &block.local_redirect {
            Some(_) if self.redirects >= limits::REDIRECTS_MAX => self.fail(server, connection, &Failure::Redirects),
            Some(path) => Ok(Outcome::Redirect(path.clone())),
            None => Ok(Outcome::Reply(whole(connection, &block, &held[at..]))),
        }
    }

    /// Kills what is left of it, and says what went wrong where it still can.
    fn fail(&mut self, server: &mut Server, connection: &Connection, failure: &Failure) -> Result<Outcome, Gone> {
        self.abandon(&mut server.family);
        self.lines.finish(|line| server.log.line(line));
        let message = failure.message(&server.config);
        let Some(head) = connection.head.as_deref() else {
            return Err(Gone);
        };
        server.log.say(&format!("{} {}: {message}", head.method, failure::shown(head)));
        if self.stream.is_some() {
            connection.reset();
            return Err(Gone);
        }
        Ok(Outcome::Reply(crate::content::plain(head, failure.status(), &message)))
    }

    /// Asks to be told of what it waits for.
    ///
    /// # Errors
    ///
    /// `epoll` takes no more.
    pub fn watch(&mut self, poller: &Poller, token: Token) -> io::Result<()> {
        let pipes = [
            (&mut self.stdin, EventFlags::OUT, Source::Stdin),
            (&mut self.stdout, EventFlags::IN, Source::Stdout),
            (&mut self.stderr, EventFlags::IN, Source::Stderr),
        ];
        for (pipe, flags, source) in pipes {
            if let Some(pipe) = pipe {
                pipe.watch(poller, flags, token.data(source))?;
            }
        }
        Ok(())
    }
}

/// The answer of a script whose whole output is at hand.
fn whole(connection: &Connection, block: &Block, body: &[u8]) -> Reply {
    let is_head = connection.head.as_ref().is_some_and(|head| head.method == "HEAD");
    let mut answer = stream::begin_answer(block);
    if block.has_body() {
        // A script that knows HEAD prints no body but may say how long it would be.
        let said = block.length.filter(|_| is_head && body.is_empty());
        answer = answer.header("Content-Length", said.unwrap_or(body.len() as u64).to_string());
    }
    let body = if is_head || !block.has_body() { Vec::new() } else { super::exchange::text(body.to_vec()) };
    Reply { answer, body }
}

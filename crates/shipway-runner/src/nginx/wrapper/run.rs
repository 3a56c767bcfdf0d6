//! From the start of the script to the end of its answer: one loop around `poll`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::spool::Spool;
use super::{Wrapper, reply};
use crate::cgi::environment;
use crate::cgi::header::{self, Block};
use crate::cgi::program::Program;
use crate::family::{self, Family};
use crate::http::head::{Framing, Head};
use crate::server::limits;
use crate::server::log::{Lines, Log};
use crate::server::script::READ_BYTES;
use crate::server::script::failure::{self, Failure, NotStarted};
use crate::strategy::{Order, Strategy};
use crate::sys::{self, Ending};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// Nobody waits for an answer any more.
    Gone,
    /// With an answer that must break off.
    Broken,
}

/// One request.
#[derive(Debug)]
pub struct Run {
    wrapper: Wrapper,
    head: Option<Head>,
    family: Family,
    signals: OwnedFd,
    log: Log,
    lines: Lines,
    script: Option<Script>,
    spool: Spool,
    /// Whether the body's end has come.
    is_body_over: bool,
    /// For fcgiwrap to take.
    output: Vec<u8>,
    held: Vec<u8>,
    answer: Answer,
    printed: u64,
    redirects: u32,
    deadline: Instant,
    scratch: Vec<u8>,
}

/// A running script.
#[derive(Debug)]
struct Script {
    root: Pid,
    ending: Option<Ending>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing of it is out.
    Held,
    /// Its head is out; if the script said how long its body is, so much is missing.
    Begun(Option<u64>),
    /// All of it is in the output.
    Whole,
}

/// What there is to do after waiting.
#[derive(Debug, Default, Clone, Copy)]
struct Ready {
    body: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    output: bool,
    is_gone: bool,
}

impl Run {
    /// Takes over the process: its pipes, its signals, its children to come.
    ///
    /// # Errors
    ///
    /// Any error of the calls.
    pub fn begin(wrapper: Wrapper, began: Instant) -> io::Result<Self> {
        sys::hide_from_scripts()?;
        for fd in [rustix::stdio::stdin(), rustix::stdio::stdout()] {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Self {
            deadline: began + wrapper.config.timeout,
            head: None,
            family: Family::open()?,
            signals: sys::take_signals()?,
            log: Log::default(),
            lines: Lines::default(),
            script: None,
            spool: Spool::default(),
            is_body_over: false,
            output: Vec::new(),
            held: Vec::new(),
            answer: Answer::Held,
            printed: 0,
            redirects: 0,
            scratch: vec![0; READ_BYTES],
            wrapper,
        })
    }

    /// Does everything.
    ///
    /// # Errors
    ///
    /// `poll` failed, which nothing can be done about.
    pub fn go(mut self) -> io::Result<Outcome> {
        // It may have waited for its seat longer than its visitor did.
        if self.wait(Duration::ZERO)?.is_gone {
            return Ok(Outcome::Gone);
        }
        match self.wrapper.head() {
            Ok(head) => {
                self.head = Some(head);
                self.start();
            }
            Err(refusal) => self.reply(refusal.status, refusal.reason),
        }
        let outcome = loop {
            if let Some(outcome) = self.outcome() {
                break outcome;
            }
            let ready = self.wait(Duration::MAX)?;
            if ready.is_gone {
                break Outcome::Gone;
            }
            if let Err(failure) = self.turn(ready) {
                if self.answer != Answer::Held {
                    self.note(&failure);
                    break Outcome::Broken;
                }
                self.fail(&failure);
            }
            self.log.flush();
        };
        if outcome == Outcome::Answered {
            // fcgiwrap hands the answer on at its end, and need not wait for the rest.
            let nothing = std::fs::File::open("/dev/null")?;
            rustix::stdio::dup2_stdout(nothing)?;
        }
        self.script = None;
        self.family.end_all();
        self.finish_log()?;
        Ok(outcome)
    }

    /// Nobody else will write what this script said, so the log is waited for, a while.
    fn finish_log(&mut self) -> io::Result<()> {
        let until = Instant::now() + limits::LINGER;
        self.log.flush();
        while !self.log.is_empty() && Instant::now() < until {
            let stderr = rustix::stdio::stderr();
            let mut fds = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
            poll(&mut fds, Some(&time(limits::RETRY)))?;
            self.log.flush();
        }
        Ok(())
    }

    /// Whether there is nothing left to do.
    fn outcome(&self) -> Option<Outcome> {
        let is_over = self.answer == Answer::Whole && self.script.is_none();
        if is_over && Instant::now() >= self.deadline {
            return Some(Outcome::Gone);
        }
        // fcgiwrap takes the answer for a failure unless it gets rid of all of the body.
        (is_over && self.output.is_empty() && self.is_body_over).then_some(Outcome::Answered)
    }

    /// Starts the script, or says why not.
    fn start(&mut self) {
        match self.try_start() {
            Ok(script) => self.script = Some(script),
            Err(refusal) => {
                self.log.say(&refusal.message);
                self.reply(refusal.status, &refusal.message);
            }
        }
    }

    fn try_start(&mut self) -> Result<Script, NotStarted> {
        let head = self.head.as_ref().ok_or_else(NotStarted::bad_path)?;
        let content = &self.wrapper.config.content;
        let marker = family::marker();
        let environment = environment::build(&self.wrapper.base, head, &content.to_string_lossy(), &marker)
            .map_err(|environment::BadPath| NotStarted::bad_path())?;
        let folder = content.parent().map_or(&b"/"[..], |folder| folder.as_os_str().as_bytes());
        let folder = CString::new(folder).map_err(|error| NotStarted::new("its folder", &error.into()))?;
        let program = Program::of_script(content).map_err(|error| NotStarted::new("its file", &error))?;
        let pipes = pipes().map_err(|error| NotStarted::new("no pipe", &error))?;
        let order = Order {
            program: &program,
            environment: &environment,
            folder: &folder,
            stdio: [pipes.theirs[0].as_fd(), pipes.theirs[1].as_fd(), pipes.theirs[2].as_fd()],
        };
        let root = Strategy::Exec.start(&order).map_err(|error| NotStarted::new(&program.name(), &error))?;
        self.family.adopt(root, marker, 0);
        let [stdin, stdout, stderr] = pipes.ours;
        let has_body = head.framing != Framing::None;
        Ok(Script { root, ending: None, stdin: has_body.then_some(stdin), stdout: Some(stdout), stderr: Some(stderr) })
    }

    /// Waits until something can be done, at most so long.
    fn wait(&mut self, most: Duration) -> io::Result<Ready> {
        let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        let script = self.script.as_ref();
        let wants_stderr = !self.log.is_full();
        let has_room = self.output.len() < limits::OUTPUT_BYTES;
        // A descriptor nobody wants is left out: its end would wake us for ever.
        let rows: [(Option<BorrowedFd<'_>>, PollFlags); 8] = [
            (Some(self.signals.as_fd()), PollFlags::IN),
            ((!self.is_body_over).then_some(stdin.as_fd()), PollFlags::IN),
            (wanted(!self.spool.is_empty(), script.map(|script| &script.stdin)), PollFlags::OUT),
            (wanted(has_room, script.map(|script| &script.stdout)), PollFlags::IN),
            (wanted(wants_stderr, script.map(|script| &script.stderr)), PollFlags::IN),
            (Some(stdout.as_fd()), if self.output.is_empty() { PollFlags::empty() } else { PollFlags::OUT }),
            (self.wrapper.connection.as_ref().map(AsFd::as_fd), PollFlags::RDHUP),
            (Some(self.wrapper.watch.as_fd()), PollFlags::RDHUP),
        ];
        let mut fds: Vec<PollFd<'_>> =
            rows.iter().filter_map(|(fd, flags)| Some(PollFd::from_borrowed_fd((*fd)?, *flags))).collect();
        let retry = self.log.is_waiting().then_some(limits::RETRY);
        let left = self.deadline.saturating_duration_since(Instant::now());
        match poll(&mut fds, Some(&time(retry.unwrap_or(left).min(left).min(most)))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = fds.iter().map(PollFd::revents);
        let mut is_ready = rows.iter().map(|(fd, _)| fd.and_then(|_| seen.next()).unwrap_or(PollFlags::empty()));
        let mut next = || is_ready.next().unwrap_or(PollFlags::empty());
        let _signals = next();
        let (body, stdin, stdout, stderr) = (next(), next(), next(), next());
        let (output, connection, watch) = (next(), next(), next());
        Ok(Ready {
            body: !body.is_empty(),
            stdin: !stdin.is_empty(),
            stdout: !stdout.is_empty(),
            stderr: !stderr.is_empty(),
            output: output.contains(PollFlags::OUT),
            is_gone: output.contains(PollFlags::ERR) || !connection.is_empty() || !watch.is_empty(),
        })
    }

    /// Does what can be done now.
    fn turn(&mut self, ready: Ready) -> Result<(), Failure> {
        self.reap();
        let has_ended = self.script.as_ref().is_some_and(|script| script.ending.is_some());
        if ready.body {
            self.take_body()?;
        }
        if ready.stdin {
            self.feed();
        }
        if ready.stderr || has_ended {
            self.read_stderr();
        }
        let is_drained = if ready.stdout || has_ended { self.read_stdout()? } else { false };
        if ready.output {
            self.write_output();
        }
        if self.script.is_some() && Instant::now() >= self.deadline {
            return Err(Failure::Timeout);
        }
        let ending = self.script.as_ref().and_then(|script| script.ending);
        match ending {
            Some(ending) if is_drained => self.finish(ending),
            _ => Ok(()),
        }
    }

    fn reap(&mut self) {
        // What is read says only that somebody has ended.
        while rustix::io::read(&self.signals, &mut self.scratch).is_ok_and(|count| count > 0) {}
        while let Ok(Some((pid, ending))) = sys::next_ended() {
            let is_root = self.family.ended(pid).is_some();
            sys::forget(pid);
            if let (true, Some(script)) = (is_root, &mut self.script) {
                script.ending = Some(ending);
            }
        }
    }

    /// Takes what fcgiwrap has of the body; it must get rid of all of it.
    fn take_body(&mut self) -> Result<(), Failure> {
        match rustix::io::read(rustix::stdio::stdin(), &mut self.scratch) {
            Ok(0) => self.is_body_over = true,
            Ok(count) if self.wants_body() => {
                if self.spool.push(&self.scratch[..count]).is_err() {
                    self.spool.clear();
                    return Err(Failure::BodyRoom);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) | Ok(_) => {}
            Err(_) => self.is_body_over = true,
        }
        self.feed();
        Ok(())
    }

    fn wants_body(&self) -> bool {
        self.script.as_ref().is_some_and(|script| script.stdin.is_some())
    }

    /// Gives the script of the body what it takes.
    fn feed(&mut self) {
        let Some(script) = &mut self.script else {
            return;
        };
        if let Some(stdin) = &script.stdin
            && !self.spool.is_empty()
        {
            match self.spool.give(&mut self.scratch, |bytes| rustix::io::write(stdin, bytes)) {
                Ok(Ok(()) | Err(Errno::AGAIN | Errno::INTR)) => {}
                // It has closed its input: the rest is for nobody.
                Ok(Err(_)) | Err(_) => {
                    script.stdin = None;
                    self.spool.clear();
                }
            }
        }
        if self.is_body_over && self.spool.is_empty() {
            script.stdin = None;
        }
    }

    fn read_stderr(&mut self) {
        let Some(script) = &mut self.script else {
            return;
        };
        while let Some(stderr) = &script.stderr {
            if self.log.is_full() {
                return;
            }
            match rustix::io::read(stderr, &mut self.scratch) {
                Ok(0) => script.stderr = None,
                Ok(count) => self.lines.take(&self.scratch[..count], |line| self.log.line(line)),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Reads what the script prints; true when there is no more at the moment.
    fn read_stdout(&mut self) -> Result<bool, Failure> {
        loop {
            let Some(stdout) = self.script.as_ref().and_then(|script| script.stdout.as_ref()) else {
                return Ok(true);
            };
            if self.output.len() >= limits::OUTPUT_BYTES {
                return Ok(false);
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            let read = rustix::io::read(stdout, &mut scratch);
            let taken = match read {
                Ok(0) => {
                    self.script.iter_mut().for_each(|script| script.stdout = None);
                    Ok(())
                }
                Ok(count) => self.take_output(&scratch[..count]),
                Err(_) => Ok(()),
            };
            self.scratch = scratch;
            taken?;
            match read {
                Err(Errno::INTR) | Ok(_) => {}
                Err(_) => return Ok(true),
            }
        }
    }

    fn take_output(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.printed += bytes.len() as u64;
        if self.printed > self.wrapper.config.output_bytes {
            return Err(Failure::OutputLimit);
        }
        if let Answer::Begun(left) = &mut self.answer {
            if let Some(left) = left {
                *left = left.checked_sub(bytes.len() as u64).ok_or(Failure::Length)?;
            }
            self.output.extend_from_slice(bytes);
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        if self.held.len() < limits::HELD_BYTES {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let (block, at) = header::split(&held);
        if block.local_redirect.is_some() {
            return Err(Failure::RedirectBody);
        }
        let length = block.length.filter(|_| block.has_body());
        let body = &held[at..];
        let left = match length {
            Some(length) => Some(length.checked_sub(body.len() as u64).ok_or(Failure::Length)?),
            None => None,
        };
        self.output = reply::head(&block, length);
        self.output.extend_from_slice(body);
        self.answer = Answer::Begun(left);
        Ok(())
    }

    /// Everything the script did is known.
    fn finish(&mut self, ending: Ending) -> Result<(), Failure> {
        self.lines.finish(|line| self.log.line(line));
        if ending != Ending::Exited(0) {
            return Err(Failure::of(ending));
        }
        if let Answer::Begun(left) = self.answer {
            return match left {
                Some(1..) => Err(Failure::Length),
                _ => {
                    self.end_answer();
                    Ok(())
                }
            };
        }
        let held = std::mem::take(&mut self.held);
        let (block, at) = header::split(&held);
        match &block.local_redirect {
            Some(_) if self.redirects >= limits::REDIRECTS_MAX => return Err(Failure::Redirects),
            Some(path) => self.redirect(path),
            None => {
                self.output = self.whole(&block, &held[at..]);
                self.end_answer();
            }
        }
        Ok(())
    }

    /// The answer of a script whose whole output is at hand.
    fn whole(&self, block: &Block, body: &[u8]) -> Vec<u8> {
        let is_head = self.head.as_ref().is_some_and(|head| head.method == "HEAD");
        if !block.has_body() {
            return reply::head(block, None);
        }
        let said = block.length.filter(|_| is_head && body.is_empty());
        let mut bytes = reply::head(block, Some(said.unwrap_or(body.len() as u64)));
        if !is_head {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn redirect(&mut self, path: &str) {
        self.redirects += 1;
        self.script = None;
        self.spool.clear();
        self.head = self.head.take().map(|head| head.redirected(path));
        self.start();
    }

    fn fail(&mut self, failure: &Failure) {
        self.lines.finish(|line| self.log.line(line));
        let message = self.note(failure);
        self.reply(failure.status(), &message);
    }

    /// Says in the log what went wrong.
    fn note(&mut self, failure: &Failure) -> String {
        let message = failure.message(&self.wrapper.config);
        if let Some(head) = &self.head {
            self.log.say(&format!("{} {}: {message}", head.method, failure::shown(head)));
        }
        message
    }

    fn reply(&mut self, status: u16, message: &str) {
        self.output = reply::plain(status, message);
        self.end_answer();
    }

    /// The answer is whole: whatever is left of the script is ended, and fcgiwrap has
    /// a while to take it.
    fn end_answer(&mut self) {
        if let Some(script) = self.script.take()
            && script.ending.is_none()
        {
            self.family.cancel(script.root);
        }
        self.spool.clear();
        self.answer = Answer::Whole;
        self.deadline = Instant::now() + limits::STALL;
    }

    fn write_output(&mut self) {
        if let Ok(count) = rustix::io::write(rustix::stdio::stdout(), &self.output) {
            self.output.drain(..count);
        }
    }
}

/// Both ends of a script's three pipes.
struct Pipes {
    theirs: [OwnedFd; 3],
    ours: [OwnedFd; 3],
}

fn pipes() -> io::Result<Pipes> {
    let (their_stdin, stdin) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (stdout, their_stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, their_stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let ours = [stdin, stdout, stderr];
    for fd in &ours {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    Ok(Pipes { theirs: [their_stdin, their_stdout, their_stderr], ours })
}

fn wanted(is_wanted: bool, pipe: Option<&Option<OwnedFd>>) -> Option<BorrowedFd<'_>> {
    pipe?.as_ref().filter(|_| is_wanted).map(AsFd::as_fd)
}

fn time(left: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) }
}

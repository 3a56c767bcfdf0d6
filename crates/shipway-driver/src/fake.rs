//! A container engine that exists only in memory, for the tests of its users.
//!
//! The fake is a small world with state, not a list of expected calls: what was
//! started runs until it ends, ended containers stay until they are removed, and
//! a second [`FakeDriver`] made by `clone` sees the same world, as a new process
//! would after a `kill -9`. Endpoints are real unix sockets answered by a few
//! lines of HTTP, so that a prober's own code runs for real.
//!
//! It understands the programs of [`crate::conformance::Script`] and nothing
//! else: a runner, and any other command, simply runs until told to end.

mod endpoint;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, Digest, RootFs};
use tokio::sync::mpsc;

use crate::conformance::Script;
use crate::{
    Driver, DriverError, ExecInput, ExecOutput, ExecSession, ExecSpec, Exit, LogLine, LogQuery, LogStream, Phase,
    Program, Seen, Started, Stats, Workload,
};

pub use endpoint::Answers;
use world::{Held, World};

/// A driver whose containers are entries of a map.
#[derive(Debug, Clone)]
pub struct FakeDriver {
    world: Arc<World>,
}

/// Which error a failing start gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// [`DriverError::Invalid`]: permanent.
    Invalid(String),
    /// [`DriverError::Unavailable`] without a hint: may work later.
    Unavailable(String),
}

impl StartFailure {
    fn error(&self) -> DriverError {
        match self {
            Self::Invalid(text) => DriverError::Invalid(text.clone()),
            Self::Unavailable(what) => DriverError::Unavailable { what: what.clone(), hint: None },
        }
    }
}

impl Default for FakeDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeDriver {
    /// Makes an empty world. Its sockets live in a temporary directory that goes
    /// with the last clone.
    #[must_use]
    pub fn new() -> Self {
        Self { world: Arc::new(World::new()) }
    }

    /// Makes the next `times` starts of new containers fail.
    pub fn fail_starts(&self, times: usize, failure: StartFailure) {
        self.world.lock().failing = Some((times, failure));
    }

    /// Decides how containers started from now on answer; [`Answers::Ready`] at first.
    pub fn answer_new(&self, answers: Answers) {
        self.world.lock().answers = answers;
    }

    /// Changes how one container answers. Unknown ids are ignored.
    pub fn answer(&self, container: ContainerId, answers: Answers) {
        if let Some(held) = self.world.find(container) {
            held.answers.send_replace(answers);
        }
    }

    /// Ends a running container by itself, as a crash would. Returns whether it ran.
    pub fn exit(&self, container: ContainerId, exit: Exit) -> bool {
        self.world.find(container).is_some_and(|held| held.end(exit))
    }

    /// Adds a line to a container's log. Unknown ids are ignored.
    pub fn print(&self, container: ContainerId, stream: LogStream, text: &str) {
        if let Some(held) = self.world.find(container) {
            held.print(self.world.next_time(), stream, text);
        }
    }

    /// Lists the containers that run, in the order they were started.
    #[must_use]
    pub fn running(&self) -> Vec<ContainerId> {
        self.world.running()
    }

    /// Returns what a container was started with.
    #[must_use]
    pub fn workload(&self, container: ContainerId) -> Option<Workload> {
        self.world.find(container).map(|held| held.workload.clone())
    }

    /// Counts the containers made so far (a repeated start of one id counts once).
    #[must_use]
    pub fn made(&self) -> usize {
        self.world.lock().made
    }

    /// Returns the digest of the fake host image: 32 bytes of `0xfa`.
    #[must_use]
    pub const fn host_image() -> Digest {
        Digest::from_sha256([0xfa; 32])
    }

    fn held(&self, container: ContainerId) -> Result<Arc<Held>, DriverError> {
        self.world.find(container).ok_or(DriverError::Unknown(container))
    }

    fn running_one(&self, container: ContainerId) -> Result<Arc<Held>, DriverError> {
        let held = self.held(container)?;
        match held.phase() {
            Phase::Running => Ok(held),
            Phase::Created | Phase::Exited(_) => Err(DriverError::NotRunning(container)),
        }
    }
}

#[async_trait]
impl Driver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn current_root(&self) -> Result<RootFs, DriverError> {
        Ok(RootFs::HostImage { digest: Self::host_image() })
    }

    async fn start(&self, workload: &Workload, content: Option<&Path>) -> Result<Started, DriverError> {
        if let Some(held) = self.world.find(workload.container) {
            return Ok(held.started());
        }
        if matches!(workload.program, Program::Runner { .. }) && content.is_none() {
            return Err(DriverError::Invalid("a runner needs content".to_owned()));
        }
        let held = self.world.make(workload)?;
        if let Program::Command { argv } = &workload.program
            && let Some(script) = Script::from_argv(argv)
        {
            held.play(&script, || self.world.next_time());
        }
        Ok(held.started())
    }

    async fn stop(&self, container: ContainerId, grace: Duration) -> Result<Exit, DriverError> {
        let held = self.held(container)?;
        if held.is_stubborn() {
            tokio::time::sleep(grace).await;
            held.end(world::killed(9, self.world.next_time()));
        } else {
            held.end(world::exited(143, self.world.next_time()));
        }
        Ok(held.ended().await)
    }

    async fn wait(&self, container: ContainerId) -> Result<Exit, DriverError> {
        Ok(self.held(container)?.ended().await)
    }

    async fn inspect(&self, container: ContainerId) -> Result<Seen, DriverError> {
        Ok(self.held(container)?.seen())
    }

    async fn recover(&self) -> Result<Vec<Seen>, DriverError> {
        Ok(self.world.all().iter().map(|held| held.seen()).collect())
    }

    async fn endpoint(&self, container: ContainerId) -> Result<Endpoint, DriverError> {
        let held = self.held(container)?;
        held.started().endpoint.ok_or_else(|| DriverError::Invalid(format!("container {container} has no ingress")))
    }

    async fn remove(&self, container: ContainerId) -> Result<(), DriverError> {
        match self.world.find(container).map(|held| held.phase()) {
            None => Ok(()),
            Some(Phase::Running) => {
                Err(DriverError::Invalid(format!("container {container} is running; stop it first")))
            }
            Some(Phase::Created | Phase::Exited(_)) => {
                self.world.forget(container);
                Ok(())
            }
        }
    }

    async fn logs(
        &self,
        container: ContainerId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, DriverError>>, DriverError> {
        let held = self.held(container)?;
        Ok(log_stream(held, query))
    }

    async fn stats(&self, container: ContainerId) -> Result<Stats, DriverError> {
        let held = self.running_one(container)?;
        Ok(Stats {
            memory_limit_bytes: held.workload.limits.memory_bytes,
            pids_limit: u64::from(held.workload.limits.pids),
            memory_bytes: 1 << 20,
            memory_peak_bytes: 1 << 20,
            cpu_usec: 1000,
            pids: 1,
            ..Stats::default()
        })
    }

    async fn exec(&self, container: ContainerId, spec: ExecSpec) -> Result<ExecSession, DriverError> {
        self.running_one(container)?;
        match spec.argv.first().map(String::as_str) {
            Some("/bin/sh") => Ok(play_exec(&spec)),
            // There is nothing in its root but the shell.
            program => Err(DriverError::NoProgram {
                missing: program != Some("/"),
                detail: program.unwrap_or_default().to_owned(),
            }),
        }
    }
}

/// Replays the lines that match, then follows if asked.
fn log_stream(held: Arc<Held>, query: LogQuery) -> BoxStream<'static, Result<LogLine, DriverError>> {
    let (matching, place) = held.lines(0, &query);
    let skip = query.tail.map_or(0, |n| matching.len().saturating_sub(n));
    let first = stream::iter(matching.into_iter().skip(skip).map(Ok));
    if !query.follow {
        return first.boxed();
    }
    let rest = stream::unfold((held, place, query), |(held, place, query)| async move {
        let (lines, next) = held.more(place, &query).await?;
        Some((stream::iter(lines.into_iter().map(Ok)), (held, next, query)))
    })
    .flatten();
    first.chain(rest).boxed()
}

/// Plays a further process: an echo of its input, or one of the known scripts.
fn play_exec(spec: &ExecSpec) -> ExecSession {
    let (input, mut from_user) = mpsc::channel(16);
    let (to_user, output) = mpsc::channel(16);
    let script = Script::from_argv(&spec.argv);
    let terminal = spec.terminal;
    tokio::spawn(async move {
        let status = match script {
            Some(Script::Echo) => echo(&mut from_user, &to_user).await,
            Some(Script::TerminalSize) => size(terminal, &mut from_user, &to_user).await,
            Some(Script::Exit(code)) => Some(code),
            Some(_) => Some(0),
            None => Some(127),
        };
        if let Some(status) = status {
            // The user may have gone; then nobody needs the status.
            drop(to_user.send(ExecOutput::Exited(status)).await);
        }
    });
    ExecSession { input, output }
}

async fn echo(input: &mut mpsc::Receiver<ExecInput>, output: &mpsc::Sender<ExecOutput>) -> Option<i32> {
    while let Some(message) = input.recv().await {
        match message {
            ExecInput::Stdin(bytes) => output.send(ExecOutput::Stdout(bytes)).await.ok()?,
            ExecInput::Eof => return Some(0),
            ExecInput::Signal(signal) => return Some(128 + signal),
            ExecInput::Resize(..) => {}
        }
    }
    None
}

async fn size(
    first: Option<(u16, u16)>,
    input: &mut mpsc::Receiver<ExecInput>,
    output: &mpsc::Sender<ExecOutput>,
) -> Option<i32> {
    let Some(mut now) = first else {
        return Some(1);
    };
    while let Some(message) = input.recv().await {
        match message {
            ExecInput::Resize(columns, rows) => now = (columns, rows),
            ExecInput::Stdin(_) => {
                let text = format!("{} {}\r\n", now.1, now.0);
                output.send(ExecOutput::Stdout(text.into())).await.ok()?;
            }
            ExecInput::Eof => return Some(0),
            ExecInput::Signal(signal) => return Some(128 + signal),
        }
    }
    None
}

//! A world of paper: a driver whose containers are files in a folder.
//!
//! Killing whoever works in it changes nothing in it, so that afterwards a checker can
//! look at what "runs", and at what was ever started. A container is made by one rename
//! that refuses to replace, so of two who start the same id one does; every start that
//! made something, and every removal, is a line in the world's diary. Any number of
//! processes may share a world, as the workers of a cluster share that.
//!
//! The containers answer, all on one socket, as long as [`Answers`] lives: that is the
//! tester, who is never killed.

mod answers;
mod diary;
mod files;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use shipway_driver::{
    Driver, DriverError, ExecSession, ExecSpec, Exit, LogLine, LogQuery, Phase, Seen, Started, Stats, Workload,
};
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, Digest, Micros, RootFs};
use shipway_stdx::clock::{Clock as _, HostClock};
use tokio::time::sleep;

pub use answers::Answers;
pub use diary::Entry;
pub use files::{Paper, State};

/// Between two looks at a container that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Between two looks at the gate.
const GATE_LOOK: Duration = Duration::from_millis(20);

/// In a container's environment: how many milliseconds its start takes.
pub const SLOW: &str = "TORTURE_SLOW_MS";

/// In a container's environment: its start waits until the world's gate is open.
pub const GATE: &str = "TORTURE_GATE";

/// In a container's environment: who starts it is killed by it.
pub const POISON: &str = "TORTURE_POISON";

/// In a container's environment: which request it is of.
pub const NONCE: &str = "TORTURE_NONCE";

/// The world in one folder.
#[derive(Debug, Clone)]
pub struct PaperWorld {
    folder: PathBuf,
}

impl PaperWorld {
    /// Opens the world in this folder, making it if need be. What killed writers left
    /// unfinished is removed, as an engine would.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn open(folder: &Path) -> io::Result<Self> {
        files::make(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Everything in it.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn papers(&self) -> io::Result<Vec<Paper>> {
        files::all(&self.folder)
    }

    /// What was ever started and removed in it.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn diary(&self) -> io::Result<Vec<Entry>> {
        diary::read(&self.folder)
    }

    /// Names in it that are no container's: what was not finished.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn scraps(&self) -> io::Result<Vec<String>> {
        files::scraps(&self.folder)
    }

    /// Where its containers answer.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("answers.sock")
    }

    /// Lets the starts go on that wait at the gate, and all after them.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn open_gate(&self) -> io::Result<()> {
        std::fs::File::create(self.gate()).map(drop)
    }

    fn gate(&self) -> PathBuf {
        self.folder.join("gate")
    }

    async fn wait_at_gate(&self) {
        while !self.gate().exists() {
            sleep(GATE_LOOK).await;
        }
    }

    /// Ends a container as a crash would. Returns whether it ran.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn crash(&self, container: ContainerId) -> io::Result<bool> {
        self.end(container, exit(Some(1)))
    }

    fn end(&self, container: ContainerId, how: Exit) -> io::Result<bool> {
        match files::read(&self.folder, container)? {
            Some(paper) if paper.state == State::Running => {
                let ended = Paper { state: State::Exited, code: how.code, ended_at: how.ended_at, ..paper };
                files::replace(&self.folder, &ended)
            }
            _ => Ok(false),
        }
    }

    fn find(&self, container: ContainerId) -> Result<Paper, DriverError> {
        files::read(&self.folder, container).map_err(|error| trouble(&error))?.ok_or(DriverError::Unknown(container))
    }

    fn started(&self, at: Micros) -> Started {
        Started { endpoint: Some(self.place()), started_at: at }
    }

    fn place(&self) -> Endpoint {
        Endpoint::Unix { path: self.socket().display().to_string() }
    }

    fn make(&self, workload: &Workload) -> io::Result<Paper> {
        let label = |name: &str| workload.labels.get(name).cloned().unwrap_or_default();
        let paper = Paper {
            container: workload.container,
            service: label("service"),
            release: label("release"),
            nonce: workload.env.get(NONCE).cloned().unwrap_or_default(),
            state: State::Running,
            code: None,
            started_at: HostClock.now(),
            ended_at: None,
        };
        if files::add(&self.folder, &paper)? {
            diary::write(&self.folder, &Entry::started(&paper))?;
        }
        Ok(paper)
    }
}

/// How a container ended, by itself or by us.
fn exit(code: Option<i32>) -> Exit {
    let signal = if code.is_none() { Some(15) } else { None };
    Exit { code, signal, out_of_memory: false, lost: false, ended_at: Some(HostClock.now()) }
}

fn trouble(error: &io::Error) -> DriverError {
    DriverError::Unavailable { what: format!("the paper world cannot be read or written: {error}"), hint: None }
}

fn number(workload: &Workload, name: &str) -> u64 {
    workload.env.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Paper {
    fn exit(&self) -> Exit {
        Exit { ended_at: self.ended_at, ..exit(self.code) }
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Running => Phase::Running,
            State::Exited => Phase::Exited(self.exit()),
        }
    }

    fn seen(&self) -> Seen {
        let labels = [("service", &self.service), ("release", &self.release)];
        let labels: BTreeMap<String, String> =
            labels.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        Seen { container: self.container, phase: self.phase(), labels, started_at: Some(self.started_at) }
    }
}

#[async_trait]
impl Driver for PaperWorld {
    fn name(&self) -> &'static str {
        "paper"
    }

    async fn current_root(&self) -> Result<RootFs, DriverError> {
        Ok(RootFs::HostImage { digest: Digest::from_sha256([0x9a; 32]) })
    }

    async fn start(&self, workload: &Workload, content: Option<&Path>) -> Result<Started, DriverError> {
        if let Ok(paper) = self.find(workload.container) {
            return Ok(self.started(paper.started_at));
        }
        if !content.is_some_and(Path::is_file) {
            return Err(DriverError::Invalid("the content is not there".to_owned()));
        }
        if number(workload, POISON) > 0 {
            die();
        }
        sleep(Duration::from_millis(number(workload, SLOW))).await;
        if number(workload, GATE) > 0 {
            self.wait_at_gate().await;
        }
        let paper = self.make(workload).map_err(|error| trouble(&error))?;
        Ok(self.started(paper.started_at))
    }

    async fn stop(&self, container: ContainerId, _grace: Duration) -> Result<Exit, DriverError> {
        self.end(container, exit(None)).map_err(|error| trouble(&error))?;
        Ok(self.find(container)?.exit())
    }

    async fn wait(&self, container: ContainerId) -> Result<Exit, DriverError> {
        loop {
            let paper = self.find(container)?;
            if paper.state == State::Exited {
                return Ok(paper.exit());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn inspect(&self, container: ContainerId) -> Result<Seen, DriverError> {
        Ok(self.find(container)?.seen())
    }

    async fn recover(&self) -> Result<Vec<Seen>, DriverError> {
        Ok(self.papers().map_err(|error| trouble(&error))?.iter().map(Paper::seen).collect())
    }

    async fn endpoint(&self, container: ContainerId) -> Result<Endpoint, DriverError> {
        self.find(container).map(|_| self.place())
    }

    async fn remove(&self, container: ContainerId) -> Result<(), DriverError> {
        let paper = match self.find(container) {
            Err(DriverError::Unknown(_)) => return Ok(()),
            found => found?,
        };
        if paper.state == State::Running {
            return Err(DriverError::Invalid(format!("container {container} is running; stop it first")));
        }
        let removed = files::remove(&self.folder, container)
            .and_then(|removed| if removed { diary::write(&self.folder, &Entry::removed(&paper)) } else { Ok(()) });
        removed.map_err(|error| trouble(&error))
    }

    async fn logs(
        &self,
        container: ContainerId,
        _query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, DriverError>>, DriverError> {
        self.find(container)?;
        Ok(stream::empty().boxed())
    }

    async fn stats(&self, container: ContainerId) -> Result<Stats, DriverError> {
        self.find(container).map(|_| Stats::default())
    }

    async fn exec(&self, _container: ContainerId, _spec: ExecSpec) -> Result<ExecSession, DriverError> {
        Err(DriverError::Invalid("nothing can be executed on paper".to_owned()))
    }
}

/// Kills this process, as whatever a poisonous task does to its worker would.
fn die() -> ! {
    let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    panic!("a process may kill itself: {killed:?}");
}

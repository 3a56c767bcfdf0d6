//! One command of a bench: a container, from its start to its last line.
//!
//! A task of its own carries the output, watches the time, looks at what is used, and
//! takes everything away at the end, whether or not anybody is still there to hear of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use shipway_engine::logs::Source;
use shipway_engine::{
    ContainerSpec, EXECUTE, EngineError, Exited, Ingress, Limits, LogLimits, LogLine, LogQuery, Network, Process,
    Rlimit,
};
use shipway_gofarm::sandbox::{BenchCommand, End, Ended, Line, Running, SandboxError};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::time::Instant;

use super::bench::{BenchGround, USER};
use super::{end, engine};
use shipway_stdx::chain;

/// Lines that may wait for whoever reads them.
const LINES: usize = 256;
/// A log that nobody reads keeps its newest 16 MiB.
const LOG: LogLimits = LogLimits { segment_bytes: 4 << 20, segments: 4 };
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// `RLIMIT_CORE` and `RLIMIT_NOFILE`.
const CORE: u32 = 4;
const OPEN_FILES: u32 = 7;
/// The Go command opens a file for each package it looks at.
const OPEN_FILES_MAX: u64 = 65_536;

/// Starts a command; `turn` is kept until nothing of it is left.
pub(super) async fn start(
    ground: Arc<BenchGround>,
    number: u32,
    command: BenchCommand,
    turn: OwnedMutexGuard<()>,
) -> Result<Running, SandboxError> {
    let id = format!("{}-{number}", ground.name);
    let begun = Instant::now();
    let (deadline, door) = (command.deadline, command.door);
    // From its creation on it is the task's to remove: also when our caller goes away.
    let (told, started) = oneshot::channel();
    let (lines, lines_here) = mpsc::channel(LINES);
    let (ended, ended_here) = oneshot::channel();
    let (leash, let_go) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let parts = Arc::clone(&ground.parts);
        let spec = spec(&ground, &id, command);
        // The engine writes on the disk, too, before the first instruction.
        let crowded = |error| match error {
            SandboxError::Unavailable(what) if ground.disk.is_full() => SandboxError::Full(what),
            other => other,
        };
        let opened = open(&parts.engine, spec, door).await.map_err(crowded);
        let is_open = opened.is_ok();
        // Nobody there to hear it has let go of the leash, too.
        drop(told.send(opened));
        let outcome = match is_open {
            true => {
                let watch = Watch { ground: &ground, id: &id, begun, deadline };
                let ended = watch.until_the_end(&lines, let_go).await;
                Some(believed(&ground, ended).await)
            }
            false => None,
        };
        if let Err(error) = end(&parts.engine, &id).await {
            tracing::warn!(container.id = id, error = chain(&error), "a command of a build stays until the next start");
        }
        drop(ground);
        drop(turn);
        if let Some(outcome) = outcome {
            drop(ended.send(outcome));
        }
    });
    let gone = || SandboxError::Unavailable("a command's keeper ended".to_owned());
    let door = started.await.map_err(|_| gone())??;
    Ok(Running { door, lines: lines_here, ended: ended_here, leash })
}

/// How a command ended. One that failed on a disk that lost what was written says nothing of the build.
async fn believed(ground: &BenchGround, ended: Result<Ended, SandboxError>) -> Result<Ended, SandboxError> {
    if matches!(&ended, Ok(ended) if ended.how != End::Exited(0)) {
        ground.disk.check().await.map_err(|error| SandboxError::Unavailable(error.to_string()))?;
    }
    ended
}

async fn open(
    engine_: &shipway_engine::Engine,
    spec: ContainerSpec,
    door: Option<std::net::SocketAddr>,
) -> Result<Option<std::net::TcpListener>, SandboxError> {
    let id = spec.id.clone();
    engine_.create(spec).await.map_err(|error| engine(&error))?;
    let started = match door {
        Some(address) => engine_.start_listening(&id, address).await.map(|(_, listener)| Some(listener)),
        None => engine_.start(&id).await.map(|_| None),
    };
    started.map_err(|error| match &error {
        EngineError::Start { step, errno, detail } if step == EXECUTE => {
            SandboxError::NoProgram(format!("{detail}: {}", std::io::Error::from_raw_os_error(*errno)))
        }
        error => engine(error),
    })
}

fn spec(ground: &BenchGround, id: &str, command: BenchCommand) -> ContainerSpec {
    let rlimit = |resource, most| Rlimit { resource, soft: most, hard: most };
    ContainerSpec {
        id: id.to_owned(),
        labels: [("shipway.bench", &ground.name), ("shipway.build", &ground.build)]
            .map(|(key, value)| (key.to_owned(), value.chars().take(200).collect()))
            .into(),
        root: ground.root(),
        process: Process {
            argv: command.argv,
            env: command.env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
            cwd: PathBuf::from(command.directory),
            uid: USER,
            gid: USER,
            groups: Vec::new(),
            capabilities: 0,
            rlimits: vec![rlimit(CORE, 0), rlimit(OPEN_FILES, OPEN_FILES_MAX)],
            terminal: false,
        },
        binds: vec![ground.toolchain.clone()],
        files: Vec::new(),
        hostname: Some("build".to_owned()),
        limits: Limits {
            memory_bytes: command.memory_bytes,
            cpu_millis: ground.parts.config.cpu_millis,
            pids: ground.parts.config.pids,
        },
        network: Network::None { address: None },
        egress: None,
        ingress: Ingress::None,
        log: LOG,
    }
}

/// Somebody who stays until the end.
struct Watch<'a> {
    ground: &'a BenchGround,
    id: &'a str,
    begun: Instant,
    deadline: Duration,
}

impl Watch<'_> {
    async fn until_the_end(
        &self,
        lines: &mpsc::Sender<Line>,
        let_go: oneshot::Receiver<()>,
    ) -> Result<Ended, SandboxError> {
        let saying = self.carry(lines);
        let ending = self.wait(let_go);
        let (said, ended) = tokio::join!(saying, ending);
        if let Err(error) = said {
            tracing::warn!(container.id = self.id, error = chain(&error), "output of a build is lost");
        }
        ended.map_err(|error| engine(&error))
    }

    /// Until the end of the log, or until nobody listens any more.
    async fn carry(&self, to: &mpsc::Sender<Line>) -> Result<(), EngineError> {
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut log = self.ground.parts.engine.logs(self.id, query).await?;
        while let Some(line) = log.next().await {
            if to.send(shown(line?)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn wait(&self, mut let_go: oneshot::Receiver<()>) -> Result<Ended, EngineError> {
        let engine = &self.ground.parts.engine;
        let mut memory_peak_bytes = 0;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let ended = engine.wait(self.id);
        tokio::pin!(ended);
        let deadline = tokio::time::sleep_until(self.begun + self.deadline);
        tokio::pin!(deadline);
        let how = loop {
            tokio::select! {
                exited = &mut ended => break how(exited?),
                () = &mut deadline => break self.kill(End::Deadline).await?,
                _ = &mut let_go => break self.kill(End::Stopped).await?,
                _ = looks.tick() => {
                    if let Ok(stats) = engine.stats(self.id).await {
                        memory_peak_bytes = memory_peak_bytes.max(stats.usage.memory_peak_bytes);
                    }
                }
            }
        };
        let disk_bytes = self.ground.disk.used_bytes();
        Ok(Ended { how, took: self.begun.elapsed(), memory_peak_bytes, disk_bytes })
    }

    /// Unless it has ended by itself meanwhile, it ends because of `why`.
    async fn kill(&self, why: End) -> Result<End, EngineError> {
        let exited = self.ground.parts.engine.stop(self.id, Duration::ZERO).await?;
        Ok(if exited.code.is_some() { how(exited) } else { why })
    }
}

const fn how(exited: Exited) -> End {
    match exited {
        Exited { out_of_memory: true, code: None | Some(1..), .. } => End::OutOfMemory,
        Exited { code: Some(code), .. } => End::Exited(code),
        Exited { signal: Some(signal), .. } => End::Signalled(signal),
        _ => End::Lost,
    }
}

fn shown(line: LogLine) -> Line {
    Line { at: line.at, is_error: line.source == Source::Stderr, is_partial: line.partial, text: line.text }
}

//! What the fake remembers: its containers, their lives and their logs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, Micros};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::StartFailure;
use super::endpoint::{self, Answers};
use crate::conformance::Script;
use crate::{DriverError, Exit, Ingress, LogCursor, LogLine, LogQuery, LogStream, Phase, Seen, Started, Workload};

/// Bytes after which the fake pretends a new log segment, so that cursors of its
/// users meet more than one.
const SEGMENT_LINES: usize = 4;

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    state: Mutex<State>,
    clock: AtomicI64,
    folder: TempDir,
}

/// The part that changes together.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) failing: Option<(usize, StartFailure)>,
    pub(super) answers: Answers,
    pub(super) made: usize,
    containers: BTreeMap<usize, Arc<Held>>,
}

/// One container.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) workload: Workload,
    pub(super) answers: watch::Sender<Answers>,
    phase: watch::Sender<Phase>,
    log: watch::Sender<Vec<LogLine>>,
    endpoint: Option<Endpoint>,
    server: Option<AbortHandle>,
    started_at: Micros,
    stubborn: AtomicBool,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            clock: AtomicI64::new(1_700_000_000_000_000),
            folder: TempDir::with_prefix("shipway-fake-").expect("a temporary directory can be made"),
        }
    }

    /// Every event gets a microsecond of its own.
    pub(super) fn next_time(&self) -> Micros {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<Arc<Held>> {
        self.lock().containers.values().cloned().collect()
    }

    pub(super) fn find(&self, container: ContainerId) -> Option<Arc<Held>> {
        self.all().into_iter().find(|held| held.workload.container == container)
    }

    pub(super) fn running(&self) -> Vec<ContainerId> {
        self.all().iter().filter(|held| held.phase() == Phase::Running).map(|held| held.workload.container).collect()
    }

    pub(super) fn forget(&self, container: ContainerId) {
        self.lock().containers.retain(|_, held| held.workload.container != container);
    }

    /// Makes a container, unless told to fail.
    pub(super) fn make(&self, workload: &Workload) -> Result<Arc<Held>, DriverError> {
        let at = self.next_time();
        let mut state = self.lock();
        if let Some((left, failure)) = &mut state.failing
            && *left > 0
        {
            *left -= 1;
            return Err(failure.error());
        }
        let answers = watch::Sender::new(state.answers.clone());
        let path = self.folder.path().join(format!("{}.sock", state.made));
        let (endpoint, server) = match workload.ingress {
            Ingress::None => (None, None),
            Ingress::Listener | Ingress::Port { .. } => {
                let server = endpoint::serve(&path, answers.subscribe(), workload.container);
                let path = path.to_string_lossy().into_owned();
                (Some(Endpoint::Unix { path }), Some(server))
            }
        };
        let held = Arc::new(Held {
            workload: workload.clone(),
            answers,
            phase: watch::Sender::new(Phase::Running),
            log: watch::Sender::new(Vec::new()),
            endpoint,
            server,
            started_at: at,
            stubborn: AtomicBool::new(false),
        });
        let number = state.made;
        state.made += 1;
        state.containers.insert(number, Arc::clone(&held));
        Ok(held)
    }
}

impl Held {
    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(super) fn seen(&self) -> Seen {
        Seen {
            container: self.workload.container,
            phase: self.phase(),
            labels: self.workload.labels.clone(),
            started_at: Some(self.started_at),
        }
    }

    pub(super) fn started(&self) -> Started {
        Started { endpoint: self.endpoint.clone(), started_at: self.started_at }
    }

    pub(super) fn is_stubborn(&self) -> bool {
        self.stubborn.load(Ordering::Relaxed) && self.phase() == Phase::Running
    }

    /// Ends it; its socket refuses connections from then on. False if it had ended.
    pub(super) fn end(&self, exit: Exit) -> bool {
        let ended = self.phase.send_if_modified(|phase| {
            let runs = *phase == Phase::Running;
            if runs {
                *phase = Phase::Exited(exit);
            }
            runs
        });
        if let (true, Some(server)) = (ended, &self.server) {
            server.abort();
        }
        ended
    }

    pub(super) async fn ended(&self) -> Exit {
        let mut phase = self.phase.subscribe();
        loop {
            if let Phase::Exited(exit) = *phase.borrow_and_update() {
                return exit;
            }
            phase.changed().await.expect("the sender lives in the container that is being waited for");
        }
    }

    pub(super) fn print(&self, at: Micros, stream: LogStream, text: &str) {
        self.log.send_modify(|lines| {
            let cursor = LogCursor {
                segment: (lines.len() / SEGMENT_LINES) as u64,
                offset: (lines.len() % SEGMENT_LINES + 1) as u64,
            };
            lines.push(LogLine { at, stream, partial: false, text: text.to_owned(), cursor });
        });
    }

    /// Does what the script would do.
    pub(super) fn play(&self, script: &Script, mut time: impl FnMut() -> Micros) {
        match script {
            Script::Exit(code) => {
                self.end(exited(*code, time()));
            }
            Script::Print(lines) | Script::PrintAndStay(lines) => {
                for n in 1..=*lines {
                    self.print(time(), LogStream::Stdout, &format!("line {n}"));
                }
                if matches!(script, Script::Print(_)) {
                    self.print(time(), LogStream::Stderr, "done");
                    self.end(exited(0, time()));
                }
            }
            Script::Stubborn => {
                self.stubborn.store(true, Ordering::Relaxed);
                self.print(time(), LogStream::Stdout, "ready");
            }
            Script::Stay => self.print(time(), LogStream::Stdout, "ready"),
            Script::Echo | Script::TerminalSize => {}
        }
    }

    /// Lines from number `from` on that the query wants, and the number after them.
    pub(super) fn lines(&self, from: usize, query: &LogQuery) -> (Vec<LogLine>, usize) {
        let lines = self.log.borrow();
        let wanted = lines[from..]
            .iter()
            .filter(|line| query.since.is_none_or(|since| line.at >= since))
            .filter(|line| query.after.is_none_or(|after| line.cursor > after))
            .cloned()
            .collect();
        (wanted, lines.len())
    }

    /// Waits for lines after number `from`; `None` when there will be none.
    pub(super) async fn more(&self, from: usize, query: &LogQuery) -> Option<(Vec<LogLine>, usize)> {
        let mut log = self.log.subscribe();
        tokio::select! {
            grown = log.wait_for(|lines| lines.len() > from) => drop(grown),
            _exit = self.ended() => {}
        }
        let (lines, next) = self.lines(from, query);
        (next > from).then_some((lines, next))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// An exit with a status.
pub(super) const fn exited(code: i32, at: Micros) -> Exit {
    Exit { code: Some(code), signal: None, out_of_memory: false, lost: false, ended_at: Some(at) }
}

/// A death by signal.
pub(super) const fn killed(signal: i32, at: Micros) -> Exit {
    Exit { code: None, signal: Some(signal), out_of_memory: false, lost: false, ended_at: Some(at) }
}

//! One container as the running engine knows it.
//!
//! ```text
//! created ──► running ──► exited ──► running …
//!                 └─────► exited (lost: nobody saw how)
//! ```
//!
//! Everything here can be found again from its state directory; only the channels
//! that wake those who wait live in memory alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shipway_shim::protocol::{
    CONTROL_SOCKET, DIAL_SOCKET, EXIT_FILE, Exit, LISTEN_SOCKET, LOG_FOLDER, Launch, ProcessId, RUN_FILE, Run,
    SPEC_FILE,
};
use shipway_stdx::fs::{Durability, remove_if_there, write_atomic};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::engine::Prepared;
use crate::error::Doing;
use crate::slots::Slot;
use crate::{ContainerSpec, EngineError, Ingress};

/// In the state directory: the [`ContainerSpec`] it was created from.
const RECORD_FILE: &str = "container.json";

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Made, not started (or its start failed).
    Created,
    /// Running.
    Running(Running),
    /// Ended.
    Exited(Exited),
}

/// A running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// When it started, microseconds since the epoch.
    pub started_at: i64,
    /// Its first process, seen from the host.
    pub init: ProcessId,
    /// Its shim.
    pub shim: ProcessId,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exited {
    /// Exit status, when it exited.
    pub code: Option<i32>,
    /// Signal, when it was killed.
    pub signal: Option<i32>,
    /// Killed by the kernel at its memory limit.
    pub out_of_memory: bool,
    /// Nobody saw how: its shim was killed, or the host was restarted.
    pub lost: bool,
    /// When, microseconds since the epoch, if known.
    pub ended_at: Option<i64>,
}

impl Exited {
    /// An end that nobody saw.
    #[must_use]
    pub const fn lost() -> Self {
        Self { code: None, signal: None, out_of_memory: false, lost: true, ended_at: None }
    }
}

impl From<Exit> for Exited {
    fn from(exit: Exit) -> Self {
        Self {
            code: exit.code,
            signal: exit.signal,
            out_of_memory: exit.out_of_memory,
            lost: false,
            ended_at: Some(exit.ended_at),
        }
    }
}

impl From<&Run> for Running {
    fn from(run: &Run) -> Self {
        Self { started_at: run.started_at, init: run.init, shim: run.shim }
    }
}

/// What the engine sees of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// As given.
    pub labels: BTreeMap<String, String>,
    /// What it is doing.
    pub phase: Phase,
    /// When it last started, if ever.
    pub started_at: Option<i64>,
}

/// One container.
#[derive(Debug)]
pub(crate) struct Container {
    /// What it was made from.
    pub(crate) spec: ContainerSpec,
    /// Its files.
    pub(crate) files: Files,
    /// Held by whoever starts or removes it.
    pub(crate) change: tokio::sync::Mutex<()>,
    /// What it is doing, and the bell for those who wait.
    pub(crate) phase: watch::Sender<Phase>,
    /// A sandbox that waits for its start. Put and taken while `change` is held; the lock
    /// is for those who only look.
    pub(crate) prepared: Mutex<Option<Prepared>>,
    run: Mutex<LastRun>,
}

/// What is kept of the current or last run.
#[derive(Debug, Default)]
pub(crate) struct LastRun {
    /// Name of its cgroup.
    pub(crate) cgroup: Option<String>,
    /// Its range of ids, kept while anything on disk is owned by it.
    pub(crate) slot: Option<Slot>,
    /// When it started.
    pub(crate) started_at: Option<i64>,
    /// The task that waits for its end.
    pub(crate) watch: Option<AbortHandle>,
}

impl Container {
    /// Wraps what is on disk; the caller says what it is doing.
    pub(crate) fn new(spec: ContainerSpec, files: Files, phase: Phase) -> Self {
        Self {
            spec,
            files,
            change: tokio::sync::Mutex::new(()),
            phase: watch::Sender::new(phase),
            prepared: Mutex::default(),
            run: Mutex::default(),
        }
    }

    /// Returns what is kept of the last run.
    pub(crate) fn last_run(&self) -> MutexGuard<'_, LastRun> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Returns the run, if it runs.
    pub(crate) fn running(&self) -> Result<Running, EngineError> {
        match *self.phase.borrow() {
            Phase::Running(running) => Ok(running),
            Phase::Created | Phase::Exited(_) => Err(EngineError::NotRunning(self.spec.id.clone())),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        let started_at = self.last_run().started_at;
        Seen { id: self.spec.id.clone(), labels: self.spec.labels.clone(), phase: self.phase(), started_at }
    }

    /// Waits until it has ended. A container that was never started has nothing to
    /// wait for, and one that is removed meanwhile is unknown.
    pub(crate) async fn ended(&self) -> Result<Exited, EngineError> {
        let mut phase = self.phase.subscribe();
        loop {
            match *phase.borrow_and_update() {
                Phase::Exited(exited) => return Ok(exited),
                Phase::Created => return Err(EngineError::NotRunning(self.spec.id.clone())),
                Phase::Running(_) => {}
            }
            if phase.changed().await.is_err() {
                return Err(EngineError::Unknown(self.spec.id.clone()));
            }
        }
    }

    /// Where it is reached from outside, if it is.
    pub(crate) fn endpoint(&self) -> Option<PathBuf> {
        match self.spec.ingress {
            Ingress::None => None,
            Ingress::Listener => Some(self.files.run.join(LISTEN_SOCKET)),
            Ingress::Dialer { .. } => Some(self.files.run.join(DIAL_SOCKET)),
        }
    }
}

/// Where a container's files are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Its state directory.
    pub(crate) state: PathBuf,
    /// Its run directory.
    pub(crate) run: PathBuf,
}

impl Files {
    pub(crate) fn control(&self) -> PathBuf {
        self.run.join(CONTROL_SOCKET)
    }

    pub(crate) fn listener(&self) -> PathBuf {
        self.run.join(LISTEN_SOCKET)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.state.join(LOG_FOLDER)
    }

    pub(crate) fn read_run(&self) -> Option<Run> {
        read(&self.state.join(RUN_FILE))
    }

    pub(crate) fn read_exit(&self) -> Option<Exit> {
        read(&self.state.join(EXIT_FILE))
    }

    pub(crate) fn read_launch(&self) -> Option<Launch> {
        read(&self.state.join(SPEC_FILE))
    }

    pub(crate) fn write_launch(&self, launch: &Launch) -> Result<(), EngineError> {
        write(&self.state.join(SPEC_FILE), launch)
    }

    /// Forgets how the last run went, before the next one begins.
    pub(crate) fn forget_run(&self) -> Result<(), EngineError> {
        for name in [EXIT_FILE, RUN_FILE] {
            let path = self.state.join(name);
            remove_if_there(&path).on("remove", &path)?;
        }
        Ok(())
    }
}

/// Reads the specification in a state directory.
pub(crate) fn read_record(state: &Path) -> Option<ContainerSpec> {
    let record: Record = read(&state.join(RECORD_FILE))?;
    (record.version == RECORD_VERSION).then_some(record.spec)
}

/// Writes the specification into a state directory.
pub(crate) fn write_record(state: &Path, spec: &ContainerSpec) -> Result<(), EngineError> {
    let record = Record { version: RECORD_VERSION, spec: spec.clone() };
    write(&state.join(RECORD_FILE), &record)
}

/// Version of `container.json`.
const RECORD_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    spec: ContainerSpec,
}

/// A file that is missing or damaged (both mean: written by nobody who finished) is `None`.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Survives `kill -9`. A power cut ends the container anyhow, and its record with it
/// at worst: whoever wanted it asks again.
fn write(path: &Path, value: &impl Serialize) -> Result<(), EngineError> {
    let text = serde_json::to_vec(value).expect("our own types are JSON");
    write_atomic(path, &text, 0o600, Durability::Process).on("write", path)
}

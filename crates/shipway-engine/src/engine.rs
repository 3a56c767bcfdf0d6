//! The engine: every operation on containers.
//!
//! An [`Engine`] does what it is told and says what it sees. It restarts nothing by
//! itself, gives nothing up, and remembers nothing that [`Engine::open`] could not
//! find again after a `kill -9`.
//!
//! Prepare, start and remove of one container exclude each other; everything else may
//! happen at any time, from any task.

mod exec;
mod inside;
mod open;
mod prepare;
mod reach;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use shipway_shim::protocol::Ask;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::cgroups::{Cgroups, Pool};
use crate::container::{self, Container, Exited, Files, Phase, Seen};
use crate::error::Doing;
use crate::home::Home;
use crate::launcher::Launcher;
use crate::logs::{self, LogLine, LogQuery, Watcher};
use crate::outside::{Outside, OutsideConfig};
use crate::slots::Slots;
use crate::sweep::Job;
use crate::{ContainerSpec, EngineError, Limits, Usage, control, process};

pub use exec::{ExecInput, ExecOutput, ExecSession, ExecSpec};
pub(crate) use prepare::Prepared;

/// Longest a container takes to be gone after SIGKILL. Longer means a process that
/// the kernel cannot end now (a dead disk).
const KILL_PATIENCE: Duration = Duration::from_secs(20);
const SIGTERM: i32 = 15;

/// What an engine needs to know. See each field for what smaller and larger mean.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The engine root: state of all containers. One owner at a time.
    pub root: PathBuf,
    /// Parent of the run directories, such as `/run/shipway`; at most 38 bytes,
    /// because the paths of sockets are short.
    pub run_parent: PathBuf,
    /// The user that may open the containers' sockets: the proxy's. Never root's,
    /// never `nobody`'s, in production.
    pub proxy_uid: u32,
    /// Most containers, running or not.
    pub containers_max: usize,
    /// Cgroups made ahead. More make bursts of starts faster and cost kernel memory.
    pub cgroups_ready: usize,
    /// Most sandboxes that wait for their start at a time ([`Engine::prepare`]); each
    /// holds two processes and some 0.7 MB of the kernel's memory.
    pub prepared_max: usize,
    /// How long one waits before it is taken away again.
    pub prepared_for: Duration,
    /// A delegated cgroup v2 directory to use instead of the root of the tree.
    pub cgroup_parent: Option<PathBuf>,
    /// How containers with egress reach out.
    pub outside: OutsideConfig,
    /// Directories that root file systems and binds come from, besides the engine
    /// root: the launcher keeps only the mounts it is told about.
    pub sources: Vec<PathBuf>,
}

impl EngineConfig {
    /// The usual limits for this root and run parent.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, run_parent: impl Into<PathBuf>, proxy_uid: u32) -> Self {
        Self {
            root: root.into(),
            run_parent: run_parent.into(),
            proxy_uid,
            containers_max: 4096,
            cgroups_ready: 4,
            prepared_max: 16,
            prepared_for: Duration::from_secs(60),
            cgroup_parent: None,
            outside: OutsideConfig::default(),
            sources: Vec::new(),
        }
    }
}

/// Containers on this host. Cheap to clone; the engine root is given up with the
/// last clone, and the containers run on.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: EngineConfig,
    home: Home,
    boot: String,
    cgroups: Arc<Cgroups>,
    pool: Arc<Pool>,
    slots: Arc<Slots>,
    outside: Arc<Outside>,
    launcher: Launcher,
    watcher: Watcher,
    sweeper: mpsc::Sender<Job>,
    /// Ends by itself once the last sender is gone and all is clean; what the end of
    /// the runtime cuts short, the next open finishes.
    _sweeping: JoinHandle<()>,
    /// Containers being started at once: past the cores only latency grows.
    starts: Semaphore,
    /// Room for sandboxes that wait.
    prepared: Arc<Semaphore>,
    trash: AtomicU64,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
}

/// What a container uses, and what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Now.
    pub usage: Usage,
    /// At most.
    pub limits: Limits,
}

impl Engine {
    /// Makes a container. Making it again from an equal specification is fine.
    ///
    /// # Errors
    ///
    /// [`EngineError::Invalid`], [`EngineError::Exists`], [`EngineError::Full`], or
    /// [`EngineError::Host`] when its directory cannot be written.
    pub async fn create(&self, spec: ContainerSpec) -> Result<(), EngineError> {
        spec.check()?;
        let engine = self.clone();
        blocking(move || engine.inner.create(spec)).await
    }

    /// Returns what a container was made from.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`].
    pub fn spec(&self, id: &str) -> Result<ContainerSpec, EngineError> {
        Ok(self.inner.find(id)?.spec.clone())
    }

    /// Sends a signal to a container's first process.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`], [`EngineError::NotRunning`], [`EngineError::Host`]
    /// when there is no such signal.
    pub async fn signal(&self, id: &str, signal: i32) -> Result<(), EngineError> {
        let container = self.inner.find(id)?;
        container.running()?;
        container.signal(signal).await
    }

    /// Sends SIGTERM, waits at most `grace`, then kills all of the container.
    ///
    /// A grace of zero kills at once. One that has ended already says how.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`], [`EngineError::NotRunning`] when it never started.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<Exited, EngineError> {
        let container = self.inner.find(id)?;
        match container.phase() {
            Phase::Exited(exited) => return Ok(exited),
            Phase::Created => return Err(EngineError::NotRunning(id.to_owned())),
            Phase::Running(_) => {}
        }
        if !grace.is_zero() {
            if let Err(error) = container.signal(SIGTERM).await {
                tracing::debug!(container.id = id, %error, "no SIGTERM");
            }
            if let Ok(ended) = tokio::time::timeout(grace, container.ended()).await {
                return ended;
            }
        }
        self.kill(&container).await
    }

    /// Waits until a container ends.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`], also when it is removed meanwhile;
    /// [`EngineError::NotRunning`] when it never started.
    pub async fn wait(&self, id: &str) -> Result<Exited, EngineError> {
        self.inner.find(id)?.ended().await
    }

    /// Says what a container is doing.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`].
    pub fn inspect(&self, id: &str) -> Result<Seen, EngineError> {
        Ok(self.inner.find(id)?.seen())
    }

    /// Lists all containers, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Seen> {
        let containers = self.inner.containers();
        containers.values().map(|one| one.seen()).collect()
    }

    /// Returns the socket where a container is reached, if it is to be.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`].
    pub fn endpoint(&self, id: &str) -> Result<Option<PathBuf>, EngineError> {
        Ok(self.inner.find(id)?.endpoint())
    }

    /// Forgets a container that does not run, its log and all.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`], [`EngineError::Running`].
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let container = self.inner.find(id)?;
        let _change = container.change.lock().await;
        // Removed by somebody else while we waited?
        self.inner.find(id)?;
        if container.running().is_ok() {
            return Err(EngineError::Running(id.to_owned()));
        }
        self.inner.unprepare(&container).await;
        let engine = self.clone();
        let removed = Arc::clone(&container);
        let trash = blocking(move || engine.inner.remove(&removed)).await?;
        self.inner.sweep(Job::Folder(trash)).await;
        Ok(())
    }

    /// Reads a container's log.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`], [`EngineError::Host`] when it cannot be read.
    pub async fn logs(
        &self,
        id: &str,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        let container = self.inner.find(id)?;
        let doing = || "read a log".to_owned();
        let phase = container.phase.subscribe();
        let folder = container.files.log();
        let lines = logs::read(&folder, query, &self.inner.watcher, phase);
        let lines = lines.await.doing(doing)?;
        Ok(lines.map_err(move |source| EngineError::Host { doing: doing(), source }).boxed())
    }

    /// Says what a running container uses.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unknown`], [`EngineError::NotRunning`].
    pub async fn stats(&self, id: &str) -> Result<Stats, EngineError> {
        let container = self.inner.find(id)?;
        container.running()?;
        let cgroup = container.last_run().cgroup.clone();
        let Some(cgroup) = cgroup else {
            return Err(EngineError::NotRunning(id.to_owned()));
        };
        let cgroups = Arc::clone(&self.inner.cgroups);
        let usage = blocking(move || Ok(cgroups.usage(&cgroup))).await?;
        let limits = container.spec.limits;
        Ok(Stats { usage, limits })
    }

    /// Returns the instance id: in the name of everything this engine root makes.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.home.instance
    }

    /// Cleans up what is there to clean and gives the engine root up: what was made
    /// ahead and waits goes, and with the last container also the engine's own directories.
    /// Containers run on. Without this call the next [`Engine::open`] does the same.
    pub async fn close(self) {
        // What is being made ahead at this moment has been made after this.
        self.inner.pool.close();
        let all: Vec<_> = self.inner.containers().values().map(Arc::clone).collect();
        for container in all {
            let _change = container.change.lock().await;
            self.inner.unprepare(&container).await;
        }
        self.settle().await;
        for cgroup in self.inner.pool.drain() {
            self.inner.sweep(Job::Run { cgroup, slot: None }).await;
        }
        self.settle().await;
        let engine = self.clone();
        drop(
            blocking(move || {
                engine.inner.tidy();
                match engine.inner.containers().is_empty() {
                    true => engine.inner.outside.teardown(),
                    false => Ok(()),
                }
            })
            .await,
        );
    }

    /// Waits until everything that ended so far is cleaned up.
    pub async fn settle(&self) {
        let (told, done) = oneshot::channel();
        self.inner.sweep(Job::Done(told)).await;
        // An error is a sweeper that has ended: nothing is left to wait for.
        drop(done.await);
    }

    async fn kill(&self, container: &Container) -> Result<Exited, EngineError> {
        let asked = control::ask(&container.files.control(), &Ask::Kill).await;
        if let Err(error) = asked.and_then(control::done) {
            tracing::debug!(container.id = container.spec.id, %error, "no answer from the shim");
        }
        // The shim may be stopped, or gone; the kernel is there.
        let cgroup = container.last_run().cgroup.clone();
        if let (Some(cgroup), Ok(running)) = (cgroup, container.running()) {
            let cgroups = Arc::clone(&self.inner.cgroups);
            blocking(move || {
                process::kill(running.init);
                cgroups.kill(&cgroup);
                Ok(())
            })
            .await?;
        }
        tokio::time::timeout(KILL_PATIENCE, container.ended())
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))
            .doing(|| format!("end container {}", container.spec.id))?
    }
}

impl Container {
    async fn signal(&self, signal: i32) -> Result<(), EngineError> {
        let asked = control::ask(&self.files.control(), &Ask::Signal { signal }).await;
        let id = &self.spec.id;
        match asked.and_then(control::done) {
            Ok(_) => Ok(()),
            // Its shim has hung up: it ended while we asked.
            Err(_) if self.running().is_err() => Err(EngineError::NotRunning(id.clone())),
            Err(error) => Err(error).doing(|| format!("send signal {signal} to container {id}")),
        }
    }
}

impl Inner {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Container>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<Arc<Container>, EngineError> {
        let containers = self.containers();
        let found = containers.get(id).cloned();
        found.ok_or_else(|| EngineError::Unknown(id.to_owned()))
    }

    fn create(&self, spec: ContainerSpec) -> Result<(), EngineError> {
        // The map is locked until the record is there: of two at once one makes it.
        let mut containers = self.containers();
        if let Some(existing) = containers.get(&spec.id) {
            return match existing.spec == spec {
                true => Ok(()),
                false => Err(EngineError::Exists(spec.id)),
            };
        }
        let most = self.config.containers_max;
        if containers.len() >= most {
            return Err(EngineError::Full(format!("there are {most} already")));
        }
        let files = Files { state: self.home.state(&spec.id), run: self.home.run_of(&spec.id) };
        self.make_folders(&spec, &files)?;
        let id = spec.id.clone();
        containers.insert(id, Arc::new(Container::new(spec, files, Phase::Created)));
        Ok(())
    }

    /// Half of a state directory is never seen: it gets its name when it is whole.
    fn make_folders(&self, spec: &ContainerSpec, files: &Files) -> Result<(), EngineError> {
        let private = || {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder
        };
        let fresh = self.home.state(&format!(".{}", spec.id));
        let log = fresh.join(shipway_shim::protocol::LOG_FOLDER);
        private().create(&log).on("make", &log)?;
        container::write_record(&fresh, spec)?;
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&files.run).on("make", &files.run)?;
        fs::rename(&fresh, &files.state).on("place", &files.state)
    }

    /// Takes a container's directories out of the way, then itself out of the map;
    /// returns the directory that is left to sweep.
    fn remove(&self, container: &Container) -> Result<PathBuf, EngineError> {
        let id = &container.spec.id;
        // One that was made ready but never ran has its slot on disk alone.
        let slot = container.last_run().slot.take().or_else(|| start::kept_slot(container));
        let number = self.trash.fetch_add(1, Ordering::Relaxed);
        let trash = self.home.root.join("trash");
        let trash = trash.join(format!("{id}.{}.{number}", std::process::id()));
        fs::rename(&container.files.state, &trash).on("remove", &container.files.state)?;
        // Before the id is free for another one; there is nothing but sockets in it.
        if let Err(error) = fs::remove_dir_all(&container.files.run) {
            tracing::warn!(container.id = id, %error, "run directory not removed");
        }
        self.containers().remove(id);
        if let Some(slot) = slot {
            self.slots.give_back(slot, id)?;
        }
        Ok(trash)
    }

    async fn sweep(&self, job: Job) {
        // An error is a sweeper that has panicked, which it has logged.
        drop(self.sweeper.send(job).await);
    }

    /// Removes the engine's own directories outside its root, if they are empty.
    fn tidy(&self) {
        if self.containers().is_empty() {
            self.cgroups.close();
            drop(fs::remove_dir(&self.home.run));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for container in self.containers().values() {
            if let Some(watch) = container.last_run().watch.take() {
                watch.abort();
            }
            container.forget_prepared();
        }
    }
}

/// Runs what may wait for a disk or the kernel beside the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).doing(|| "finish an operation".to_owned())?
}

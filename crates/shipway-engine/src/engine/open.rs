//! Opening an engine root, and finding everything again.
//!
//! After a `kill -9` of the server, or a reboot, the state directory is all there
//! is. Each container in it runs (its shim is the process it was, of this boot),
//! ended meanwhile (`exit.json`), is lost (neither), or never ran. What belongs to
//! none that runs (cgroups, id ranges, run directories, half-made directories) is
//! removed; it carries our instance id, so nobody else's is ever met.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use shipway_shim::protocol::{ProcessId, Run};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::start::keeps_slot;
use super::{Engine, EngineConfig, Inner, blocking, reach};
use crate::cgroups::{Cgroups, Hierarchies, Pool};
use crate::container::{self, Container, Exited, Files, Phase};
use crate::error::Doing;
use crate::home::Home;
use crate::launcher::Launcher;
use crate::logs::Watcher;
use crate::outside::Outside;
use crate::slots::{Slot, Slots};
use crate::sweep::{self, Broom, Job};
use crate::{EngineError, process};

/// Longest wait for shims that were being born when the last server died, or waited
/// for a start that it will not ask for.
const NEWBORN_PATIENCE: Duration = Duration::from_secs(5);
const NEWBORN_PAUSE: Duration = Duration::from_millis(5);

/// What runs: its container, and what its last launch says.
struct Survivor {
    container: Arc<Container>,
    run: Run,
    cgroup: String,
    slot: Slot,
}

impl Engine {
    /// Takes possession of an engine root and finds its containers again.
    ///
    /// # Errors
    ///
    /// [`EngineError::Owned`] when another process has it, [`EngineError::Missing`]
    /// when the host lacks what every container needs, [`EngineError::Invalid`] for
    /// places that cannot work, [`EngineError::Host`].
    pub async fn open(config: EngineConfig) -> Result<Self, EngineError> {
        let (home, boot, cgroups, slots) = {
            let config = config.clone();
            blocking(move || parts(&config)).await?
        };
        let (cgroups, slots) = (Arc::new(cgroups), Arc::new(slots));
        wait_for_newborn(&home).await?;
        let launcher = start_launcher(&config, &home).await?;
        // Names of cgroups never meet those of an earlier opening.
        let prefix = Uuid::new_v4().simple().to_string()[..8].to_owned();
        let pool = Arc::new(Pool::new(config.cgroups_ready, prefix));
        let memory = config.root.join("network.json");
        let outside = Arc::new(Outside::new(config.outside.clone(), &home.instance, memory));
        let (sweeper, sweeping) = sweep::start(Broom {
            cgroups: Arc::clone(&cgroups),
            pool: Arc::clone(&pool),
            slots: Arc::clone(&slots),
            outside: Arc::clone(&outside),
        });
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let inner = Arc::new(Inner {
            watcher: Watcher::start().doing(|| "watch logs".to_owned())?,
            starts: Semaphore::new(cores.max(2)),
            prepared: Arc::new(Semaphore::new(config.prepared_max)),
            trash: AtomicU64::new(0),
            containers: Mutex::new(BTreeMap::new()),
            _sweeping: sweeping,
            config,
            home,
            boot,
            cgroups,
            pool,
            slots,
            outside,
            launcher,
            sweeper,
        });
        inner.recover().await?;
        inner.sweep(Job::Refill).await;
        if let Err(error) = inner.reconcile().await {
            // Containers run on, those with egress perhaps cut off; the keeper tries again.
            tracing::error!(%error, "containers' links cannot be put in order");
        }
        tokio::spawn(reach::keep(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }
}

fn parts(config: &EngineConfig) -> Result<(Home, String, Cgroups, Slots), EngineError> {
    let home = Home::open(&config.root, &config.run_parent)?;
    let boot = process::boot_id()?;
    let hierarchies = Hierarchies::detect()?;
    let parent = config.cgroup_parent.as_deref();
    let cgroups = Cgroups::open(&hierarchies, &home.instance, parent)?;
    let slots = Slots::open(&home.slots, &home.instance, &home.root, &boot)?;
    Ok((home, boot, cgroups, slots))
}

async fn start_launcher(config: &EngineConfig, home: &Home) -> Result<Launcher, EngineError> {
    let mut paths = vec![config.root.clone(), config.run_parent.clone()];
    paths.extend(config.sources.iter().cloned());
    let (shim, errors) = (home.shim.clone(), home.root.join("shim.err"));
    blocking(move || Launcher::start(&shim, paths, errors)).await
}

/// Waits until no shim is between its fork and its `run.json`: launches that the
/// last server had sent off when it died. The launcher of that server ends by
/// itself, and so do sandboxes that waited at their gate, because it hung up. Whatever neither ends nor becomes a container in time is killed.
async fn wait_for_newborn(home: &Home) -> Result<(), EngineError> {
    let look = || {
        let (bin, state) = (home.root.join("bin"), home.root.join("containers"));
        blocking(move || Ok(strays(&bin, &state)))
    };
    let waiting = async {
        while !look().await?.is_empty() {
            tokio::time::sleep(NEWBORN_PAUSE).await;
        }
        Ok(())
    };
    if let Ok(result) = tokio::time::timeout(NEWBORN_PATIENCE, waiting).await {
        return result;
    }
    for stray in look().await? {
        tracing::warn!(shim.pid = stray.pid, "killing a shim without a container");
        process::kill(stray);
    }
    Ok(())
}

/// Lists the processes that run a program of our `bin`, and are no container's shim.
fn strays(bin: &Path, state: &Path) -> Vec<ProcessId> {
    let known: BTreeSet<(i32, u64)> = folders(state)
        .into_iter()
        .filter_map(|(_, path)| files_of(path, Path::new("")).read_run())
        .map(|run| (run.shim.pid, run.shim.start_ticks))
        .collect();
    folders(Path::new("/proc"))
        .into_iter()
        .filter_map(|(name, path)| Some((name.parse::<i32>().ok()?, path)))
        .filter(|(_, path)| fs::read_link(path.join("exe")).is_ok_and(|exe| exe.starts_with(bin)))
        .filter_map(|(pid, _)| {
            let start_ticks = process::start_ticks(pid)?;
            Some(ProcessId { pid, start_ticks })
        })
        .filter(|process| !known.contains(&(process.pid, process.start_ticks)))
        .collect()
}

/// Lists the directories in a directory; none if it is not there.
fn folders(parent: &Path) -> Vec<(String, std::path::PathBuf)> {
    fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}

fn files_of(state: std::path::PathBuf, run: &Path) -> Files {
    Files { state, run: run.to_owned() }
}

impl Inner {
    /// Finds every container again, then sweeps what belongs to none.
    async fn recover(self: &Arc<Self>) -> Result<(), EngineError> {
        let engine = Arc::clone(self);
        let (survivors, jobs) = blocking(move || engine.find_all()).await?;
        let running: BTreeSet<String> = survivors.iter().map(|survivor| survivor.cgroup.clone()).collect();
        for one in survivors {
            self.watch(&one.container, &one.run, one.cgroup, one.slot);
        }
        for job in jobs {
            self.sweep(job).await;
        }
        let cgroups = Arc::clone(&self.cgroups);
        let mut left = blocking(move || Ok(cgroups.list())).await?;
        left.retain(|name| !running.contains(name));
        for cgroup in left {
            self.sweep(Job::Run { cgroup, slot: None }).await;
        }
        Ok(())
    }

    fn find_all(&self) -> Result<(Vec<Survivor>, Vec<Job>), EngineError> {
        let mut survivors = Vec::new();
        let mut jobs = Vec::new();
        let mut containers = self.containers();
        for (name, path) in folders(&self.home.root.join("containers")) {
            let files = files_of(path.clone(), &self.home.run_of(&name));
            let record = container::read_record(&path).filter(|spec| spec.id == name);
            let Some(spec) = record else {
                tracing::warn!(path = %path.display(), "removing a half-made container");
                jobs.push(Job::Folder(path));
                continue;
            };
            let (container, survivor) = self.find_one(spec, files);
            survivors.extend(survivor);
            containers.insert(name, container);
        }
        for (_, path) in folders(&self.home.root.join("trash")) {
            jobs.push(Job::Folder(path));
        }
        for (name, path) in folders(&self.home.run) {
            match containers.get(&name) {
                None => jobs.push(Job::Folder(path)),
                Some(_) => continue,
            }
        }
        let keep: BTreeSet<String> = survivors
            .iter()
            .map(|survivor| &survivor.container)
            .chain(containers.values().filter(|one| keeps_slot(one)))
            .map(|container| container.spec.id.clone())
            .collect();
        self.slots.give_back_all_but(&keep)?;
        Ok((survivors, jobs))
    }

    /// Says what one container is doing.
    fn find_one(&self, spec: crate::ContainerSpec, files: Files) -> (Arc<Container>, Option<Survivor>) {
        // The run first and the end second: a shim may end in between.
        let run = files.read_run();
        let runs = run.as_ref().is_some_and(|run| run.boot_id == self.boot && process::open(run.shim).is_some());
        let launch = files.read_launch();
        let (phase, exit) = match (files.read_exit(), &run, runs) {
            (Some(exit), ..) => (Phase::Exited(exit.into()), true),
            (None, Some(_), false) => (Phase::Exited(Exited::lost()), true),
            (None, _, _) => (Phase::Created, false),
        };
        let started_at = run.as_ref().map(|run| run.started_at);
        if !files.run.is_dir() {
            // `/run` does not survive a reboot.
            drop(make_run(&files.run));
        }
        let container = Arc::new(Container::new(spec, files, phase));
        container.last_run().started_at = started_at;
        let survivor = match (exit, run, launch) {
            (false, Some(run), Some(launch)) => survivor(&container, run, &launch),
            _ => None,
        };
        (container, survivor)
    }
}

fn make_run(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o711).create(path)
}

fn survivor(container: &Arc<Container>, run: Run, launch: &shipway_shim::protocol::Launch) -> Option<Survivor> {
    let cgroup = launch.cgroups.first()?.path.file_name()?.to_str()?;
    Some(Survivor {
        container: Arc::clone(container),
        run,
        cgroup: cgroup.to_owned(),
        slot: Slot::of_base(launch.id_base)?,
    })
}

//! An engine of its own for each test, a root file system of one busybox, and a
//! look around afterwards: nothing may be left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use shipway_engine::{
    ContainerSpec, Engine, EngineConfig, Exited, Ingress, Limits, LogLimits, LogQuery, Network, Process, Root, Tmpfs,
};
use tempfile::TempDir;

/// Longest wait for what should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Shared by all tests, as `/run/shipway` is by all engine roots of a machine.
const RUN_PARENT: &str = "/run/shipway-test";
/// The user that may open sockets.
pub(crate) const PROXY: u32 = 4711;

pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("shipway-engine-").unwrap();
        make_tree(&folder.path().join("tree"));
        Self { folder }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("engine")
    }

    pub(crate) fn config(&self) -> EngineConfig {
        config(&self.root())
    }

    pub(crate) async fn open(&self) -> Engine {
        Engine::open(self.config()).await.unwrap()
    }

    /// A container that runs a shell script as user 1000.
    pub(crate) fn spec(&self, id: &str, script: &str) -> ContainerSpec {
        spec(&self.folder.path().join("tree"), id, script)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// Removes all containers and looks for what may not be left.
    pub(crate) async fn finish(self, engine: Engine) {
        for seen in engine.list() {
            // A container that never ran has nothing to stop.
            drop(engine.stop(&seen.id, Duration::ZERO).await);
            engine.remove(&seen.id).await.unwrap();
        }
        let instance = engine.instance().to_owned();
        engine.close().await;
        wait_until("nothing is left", || self.leftovers(&instance).is_empty()).await;
        assert_eq!(self.leftovers(&instance), Vec::<String>::new());
    }

    /// Everything of this engine that is still on the host.
    fn leftovers(&self, instance: &str) -> Vec<String> {
        let mut left = Vec::new();
        for tree in ["", "memory", "pids", "cpu", "cpuacct", "blkio", "unified"] {
            let path = Path::new("/sys/fs/cgroup").join(tree).join(format!("shipway-{instance}"));
            left.extend(path.exists().then(|| path.display().to_string()));
        }
        let bin = self.root().join("bin");
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let exe = fs::read_link(entry.path().join("exe"));
            if exe.is_ok_and(|exe| exe.starts_with(&bin)) {
                left.push(format!("process {}", entry.file_name().display()));
            }
        }
        let folder = self.folder.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|m| m.contains(&folder)).map(str::to_owned));
        let run = Path::new(RUN_PARENT);
        left.extend(run.join(instance).exists().then(|| "run directory".to_owned()));
        for entry in fs::read_dir(run.join("slots")).into_iter().flatten().flatten() {
            let owner = fs::read_to_string(entry.path()).unwrap_or_default();
            left.extend(owner.contains(instance).then_some(owner));
        }
        left
    }
}

/// After a test that failed half-way, so that the host does not fill up. The engine's
/// own cleaning is what the tests are about, so this does it by hand.
impl Drop for World {
    fn drop(&mut self) {
        let text = fs::read_to_string(self.root().join("instance")).unwrap_or_default();
        let instance = text.split('"').nth(3).unwrap_or("none").to_owned();
        for tree in ["", "memory", "pids", "cpu", "cpuacct", "blkio", "unified"] {
            let own = Path::new("/sys/fs/cgroup").join(tree).join(format!("shipway-{instance}"));
            for cgroup in fs::read_dir(&own).into_iter().flatten().flatten() {
                for pid in fs::read_to_string(cgroup.path().join("cgroup.procs")).unwrap_or_default().lines() {
                    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
                    pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
                }
                drop(fs::remove_dir(cgroup.path()));
            }
            drop(fs::remove_dir(own));
        }
        drop(fs::remove_dir_all(Path::new(RUN_PARENT).join(instance)));
    }
}

pub(crate) fn config(root: &Path) -> EngineConfig {
    EngineConfig::new(root, RUN_PARENT, PROXY)
}

pub(crate) fn spec(tree: &Path, id: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        id: id.to_owned(),
        labels: [("test".to_owned(), id.to_owned())].into(),
        root: Root::Tree { path: tree.to_owned(), scratch: Tmpfs { size_bytes: 4 << 20, inodes: 200 } },
        process: Process {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".to_owned(), "HOME=/tmp".to_owned()],
            cwd: PathBuf::from("/tmp"),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            capabilities: 0,
            rlimits: Vec::new(),
            terminal: false,
        },
        binds: Vec::new(),
        files: Vec::new(),
        hostname: None,
        limits: Limits { memory_bytes: 64 << 20, cpu_millis: 2000, pids: 32 },
        network: Network::None { address: None },
        egress: None,
        ingress: Ingress::None,
        log: LogLimits { segment_bytes: 64 << 10, segments: 4 },
    }
}

fn make_tree(tree: &Path) {
    for name in ["bin", "etc", "dev", "proc", "sys", "tmp", "run", "var/tmp", "data", "srv"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    let busybox = Path::new("/bin/busybox");
    assert!(busybox.exists(), "apt-get install -y busybox-static");
    fs::copy(busybox, tree.join("bin/busybox")).unwrap();
    for name in [
        "sh",
        "sleep",
        "cat",
        "stty",
        "echo",
        "id",
        "dd",
        "head",
        "tr",
        "nc",
        "readlink",
        "mount",
        "mkdir",
        "ls",
        "seq",
        "hostname",
        "ip",
        "true",
        "kill",
        "touch",
        "grep",
        "unshare",
        "cut",
        "start-stop-daemon",
    ] {
        symlink("busybox", tree.join("bin").join(name)).unwrap();
    }
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits for a condition that somebody else brings about.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens within the patience of the tests")
}

/// Creates and starts.
pub(crate) async fn start(engine: &Engine, spec: ContainerSpec) -> String {
    let id = spec.id.clone();
    engine.create(spec).await.unwrap();
    soon(engine.start(&id)).await.unwrap();
    id
}

/// Starts, waits for the end, and returns it with all that was printed.
pub(crate) async fn run(engine: &Engine, spec: ContainerSpec) -> (Exited, String) {
    let id = start(engine, spec).await;
    let exited = soon(engine.wait(&id)).await.unwrap();
    (exited, log(engine, &id).await)
}

/// Everything in the log, a line a line.
pub(crate) async fn log(engine: &Engine, id: &str) -> String {
    let lines = engine.logs(id, LogQuery::default()).await.unwrap();
    let lines: Vec<String> = lines.map(|line| line.unwrap().text).collect().await;
    lines.join("\n")
}

/// Waits for a line of the log.
pub(crate) async fn printed(engine: &Engine, id: &str, wanted: &str) {
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut lines = engine.logs(id, query).await.unwrap();
    let mut others = Vec::new();
    while let Some(line) = soon(lines.next()).await {
        let text = line.unwrap().text;
        if text == wanted {
            return;
        }
        others.push(text);
    }
    panic!("{id} ended without {wanted:?}, after {others:?}");
}

pub(crate) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// The processes that run this engine's shim program.
pub(crate) fn shims(world: &World) -> Vec<i32> {
    let bin = world.root().join("bin");
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|e| fs::read_link(e.path().join("exe")).is_ok_and(|exe| exe.starts_with(&bin)))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

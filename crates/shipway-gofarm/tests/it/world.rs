//! An engine with benches, a farm, and a warm cache of the standard library: one for all tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shipway_driver_embedded::{BenchConfig, Benches, DiskLimits, EmbeddedConfig, EmbeddedDriver};
use shipway_engine::EngineConfig;
use shipway_engine::host_image::{HostImageConfig, Wanted};
use shipway_gobuild::Plan;
use shipway_gobuild::plan::Layout;
use shipway_gobuild::proxy::{Proxies, ProxiesConfig, ProxyLimits, ProxyList};
use shipway_gofarm::sandbox::Sandbox;
use shipway_gofarm::{BuildEvent, Built, Failure, Farm, FarmConfig, FarmLimits, What};
use shipway_model::Digest;
use shipway_stdx::clock::HostClock;
use shipway_stdx::shutdown;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::plans;

/// Longest anything here may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

pub(crate) struct World {
    folder: TempDir,
    driver: EmbeddedDriver,
    pub(crate) benches: Benches,
    /// With the standard library, as far as the small program needs it.
    pub(crate) cache: Digest,
    own: Mutex<Option<EmbeddedDriver>>,
}

/// A build that has ended, and what was told of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) result: Result<Built, Failure>,
    pub(crate) events: Vec<BuildEvent>,
    /// Where the binary is.
    pub(crate) file: PathBuf,
}

impl Told {
    pub(crate) fn built(&self) -> &Built {
        self.result.as_ref().unwrap_or_else(|failure| panic!("{failure:?}\n{}", self.text()))
    }

    #[track_caller]
    pub(crate) fn failure(&self) -> &Failure {
        match &self.result {
            Ok(built) => panic!("it was built: {built:?}"),
            Err(failure) => {
                assert!(!self.file.exists(), "a build that failed leaves no file");
                failure
            }
        }
    }

    /// All lines, each after who said it.
    pub(crate) fn text(&self) -> String {
        let line = |event: &BuildEvent| match &event.what {
            What::Line { source, text, .. } => Some(format!("{source:?}: {text}\n")),
            What::Began | What::Ended { .. } => None,
        };
        self.events.iter().filter_map(line).collect()
    }
}

/// Where Go is on this host.
pub(crate) fn toolchain() -> PathBuf {
    let usual = Path::new("/usr/local/go");
    if usual.join("bin/go").exists() {
        return usual.to_owned();
    }
    let output = Command::new("go").args(["env", "GOROOT"]).output().expect("Go is installed: scripts/setup.sh test");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

impl World {
    pub(crate) async fn open() -> Self {
        let folder = TempDir::with_prefix("shipway-gofarm-").unwrap();
        let driver = open_driver(folder.path(), 1 << 30).await;
        let benches = driver.benches().unwrap().expect("configured").clone();
        let proxy = plans::example();
        let farm = farm_of(&benches, &proxy.url());
        let (events, mut told) = mpsc::channel(100_000);
        let (_stop, stopped) = shutdown::channel();
        let warmed = farm.warm(&[plans::plan(&[])], events, stopped).await;
        let cache = warmed.unwrap_or_else(|failure| {
            let mut said = String::new();
            while let Ok(event) = told.try_recv() {
                said.push_str(&format!("{event:?}\n"));
            }
            panic!("{failure:?}\n{said}")
        });
        Self { folder, driver, benches, cache, own: Mutex::default() }
    }

    /// A farm that asks this list of proxies.
    pub(crate) fn farm(&self, list: &str) -> Farm {
        farm_of(&self.benches, list)
    }

    pub(crate) fn config(&self, list: &str) -> FarmConfig {
        config_of(list)
    }

    pub(crate) fn clock(&self) -> Arc<HostClock> {
        Arc::new(HostClock)
    }

    /// A farm on another sandbox.
    pub(crate) fn farm_on(&self, sandbox: Arc<dyn Sandbox>, list: &str) -> Farm {
        Farm::new(sandbox, self.clock(), config_of(list))
    }

    /// Containers of benches that are there.
    pub(crate) fn containers(&self) -> usize {
        self.driver.engine().list().len()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(format!("out-{:016x}", rand()))
    }

    /// Builds on the warm cache.
    pub(crate) async fn build(&self, list: &str, plan: &Plan) -> Told {
        self.build_by(&self.farm(list), plan, Some(self.cache.clone())).await
    }

    pub(crate) async fn build_by(&self, farm: &Farm, plan: &Plan, cache: Option<Digest>) -> Told {
        let file = self.file();
        let (events, mut told) = mpsc::channel(1000);
        let (_stop, stopped) = shutdown::channel();
        let listening = tokio::spawn(async move {
            let mut events = Vec::new();
            while let Some(event) = told.recv().await {
                events.push(event);
            }
            events
        });
        let building = farm.build(plan, cache, &file, events, stopped);
        let result = tokio::time::timeout(PATIENCE, building).await.expect("it ends within the patience of the tests");
        Told { result, events: listening.await.unwrap(), file }
    }

    /// Another engine with benches of its own, for a test that looks at all its caches.
    pub(crate) async fn own_benches(&self) -> Benches {
        let driver = open_driver(&self.folder.path().join("own"), 64 << 20).await;
        let benches = driver.benches().unwrap().expect("configured").clone();
        *self.own.lock().unwrap() = Some(driver);
        benches
    }

    /// Somebody on this host writes into a file of a cache.
    pub(crate) fn change_own_cache(&self, cache: &Digest) {
        let tree = self.folder.path().join(format!("own/benches/caches/sha256/{}/tree", cache.hex()));
        let file = tree.join("go/mod/cache/download/example.org/app/@v/v1.0.0.mod");
        let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
        std::io::Write::write_all(&mut file, b"// changed\n").unwrap();
    }

    /// Gives the other engine up, after all that uses it.
    pub(crate) async fn close_own<T>(&self, benches: Arc<dyn Sandbox>, users: T) {
        drop(users);
        drop(benches);
        let driver = self.own.lock().unwrap().take().expect("opened before");
        driver.close().await;
        std::fs::remove_dir_all(self.folder.path().join("own")).unwrap();
    }

    /// Gives up, and says what is left of it on the host.
    pub(crate) async fn close(self) -> Vec<String> {
        let Self { folder, driver, benches, .. } = self;
        let mut left: Vec<String> = driver.engine().list().into_iter().map(|seen| seen.id).collect();
        let instance = driver.engine().instance().to_owned();
        drop(benches);
        driver.close().await;
        let run = Path::new("/run/shipway-test").join(instance);
        left.extend(run.exists().then(|| run.display().to_string()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let path = folder.path().to_str().unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(path)).map(str::to_owned));
        left
    }
}

pub(crate) async fn open_driver(path: &Path, disk_bytes: u64) -> EmbeddedDriver {
    let mut config = BenchConfig::new(path.join("benches"));
    config.disks = DiskLimits { count: 2, bytes: disk_bytes, inodes: 50_000 };
    config.pids = 200;
    config.toolchains = vec![toolchain()];
    let packages = ["busybox-static", "coreutils", "dash"].map(Wanted::required).to_vec();
    let config = EmbeddedConfig {
        engine: EngineConfig::new(path.join("engine"), "/run/shipway-test", 4711),
        images: path.join("images"),
        layers: path.join("layers"),
        host_image: HostImageConfig { packages, ..HostImageConfig::default() },
        content: path.to_owned(),
        benches: Some(config),
    };
    EmbeddedDriver::open(config).await.unwrap()
}

pub(crate) fn farm_of(benches: &Benches, list: &str) -> Farm {
    Farm::new(Arc::new(benches.clone()), Arc::new(HostClock), config_of(list))
}

fn config_of(list: &str) -> FarmConfig {
    let limits = ProxyLimits { first_byte: Duration::from_secs(20), ..ProxyLimits::default() };
    let config = ProxiesConfig { list: ProxyList::parse(list).unwrap(), ca_file: None, limits };
    FarmConfig {
        toolchain: toolchain(),
        layout: Layout::default(),
        proxies: Proxies::open(config).unwrap(),
        checksums: None,
        limits: FarmLimits::default(),
    }
}

fn rand() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    u64::from_ne_bytes(bytes)
}

/// Waits for a condition that somebody else brings about.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(120), waiting).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

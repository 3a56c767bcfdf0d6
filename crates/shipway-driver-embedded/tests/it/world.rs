//! A driver on an engine root of its own, and one small host image for all tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_driver::Driver;
use shipway_driver_embedded::{BenchConfig, DiskLimits, EmbeddedConfig, EmbeddedDriver};
use shipway_engine::EngineConfig;
use shipway_engine::host_image::{HostImageConfig, Wanted};
use tempfile::TempDir;

pub(crate) struct World {
    folder: TempDir,
    packages: Vec<Wanted>,
    benches: Option<BenchConfig>,
}

impl World {
    pub(crate) fn new() -> Self {
        let packages = ["dash", "coreutils", "libc-bin"].map(Wanted::required).to_vec();
        Self { folder: TempDir::with_prefix("shipway-embedded-").unwrap(), packages, benches: None }
    }

    /// With what the runner `nginx` needs, too.
    pub(crate) fn with_nginx() -> Self {
        let mut world = Self::new();
        world.packages.extend(["nginx", "fcgiwrap", "procps", "sed", "grep"].map(Wanted::required));
        world
    }

    /// With two small benches, and a toolchain of one file.
    pub(crate) fn with_benches() -> Self {
        let mut world = Self::new();
        let mut config = BenchConfig::new(world.path().join("benches"));
        config.disks = DiskLimits { count: 2, bytes: 64 << 20, inodes: 4000 };
        config.pids = 64;
        config.toolchains = vec![world.path().join("toolchain")];
        std::fs::create_dir(world.path().join("toolchain")).unwrap();
        world.content("toolchain/tool", "a tool\n");
        world.benches = Some(config);
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> EmbeddedConfig {
        let folder = self.folder.path();
        EmbeddedConfig {
            engine: EngineConfig::new(folder.join("engine"), "/run/shipway-test", 4711),
            images: folder.join("images"),
            layers: folder.join("layers"),
            host_image: HostImageConfig { packages: self.packages.clone(), ..HostImageConfig::default() },
            content: folder.to_owned(),
            benches: self.benches.clone(),
        }
    }

    pub(crate) async fn open(&self) -> Arc<EmbeddedDriver> {
        Arc::new(EmbeddedDriver::open(self.config()).await.unwrap())
    }

    /// A file that a runner can serve.
    pub(crate) fn content(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let durability = shipway_stdx::fs::Durability::Process;
        shipway_stdx::fs::write_atomic(&path, text.as_bytes(), 0o644, durability).unwrap();
        path
    }

    /// Gives up; all containers must be gone by then.
    pub(crate) async fn finish(self, driver: Arc<EmbeddedDriver>) {
        assert!(driver.recover().await.unwrap().is_empty());
        let instance = driver.engine().instance().to_owned();
        Arc::into_inner(driver).expect("the last one").close().await;
        let run = Path::new("/run/shipway-test").join(instance);
        assert!(!run.exists(), "{} is left", run.display());
    }
}

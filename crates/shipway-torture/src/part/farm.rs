//! A part's farm: the real engine's benches, the real sandbox, the real signatures, artifacts
//! in S3. Only services are of paper.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use shipway_artifacts::sign::{Signers, SigningConfig};
use shipway_artifacts::{Artifacts, ArtifactsConfig, S3Config, S3Limits, Secret};
use shipway_driver_embedded::{BenchConfig, DiskLimits, EmbeddedConfig, EmbeddedDriver};
use shipway_engine::EngineConfig;
use shipway_engine::host_image::{HostImageConfig, Wanted};
use shipway_gobuild::plan::{Checksums, Layout, Limits, Settings};
use shipway_gobuild::proxy::ProxyLimits;
use shipway_gobuild::spec::SANDBOX_GENERATION;
use shipway_gobuild::toolchain::Toolchain;
use shipway_gobuild::{Platform, Proxies, ProxiesConfig, ProxyList};
use shipway_gofarm::caches::Caches;
use shipway_gofarm::sandbox::Sandbox;
use shipway_gofarm::{Farm, FarmConfig, FarmLimits, door};
use shipway_stdx::clock::HostClock;
use shipway_testkit::s3;
use shipway_worker::{Farming, Seats, Warm, Warmer};

/// Sockets of containers are below; where all tests have them.
pub const RUN_PARENT: &str = "/run/shipway-test";

/// A user that is nobody's, for sockets that nobody opens.
const PROXY_UID: u32 = 4711;

/// Longest a build takes, on a machine that is busy with others.
const LIMIT: Duration = Duration::from_secs(180);

/// Where a farm is, and what it works with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FarmPlace {
    /// Its own.
    pub folder: PathBuf,
    /// The tool chain's directory.
    pub go: PathBuf,
    /// `GOPROXY`.
    pub proxies: String,
    /// The file of the key that all sign with.
    pub key: PathBuf,
    /// Where artifacts go.
    pub store: StorePlace,
}

/// A bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StorePlace {
    /// The server's URL.
    pub endpoint: String,
    /// The bucket's name.
    pub bucket: String,
}

impl StorePlace {
    /// How it is used: nobody waits long for what is on this machine.
    #[must_use]
    pub fn config(&self) -> ArtifactsConfig {
        let second = Duration::from_secs(1);
        ArtifactsConfig::S3(S3Config {
            bucket: self.bucket.clone(),
            region: "us-east-1".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            access_key: s3::ACCESS_KEY.to_owned(),
            secret_key: Secret::new(s3::SECRET_KEY.to_owned()),
            limits: S3Limits {
                connect: 10 * second,
                answer: 20 * second,
                stall: 20 * second,
                tries: 4,
                first_wait: second / 20,
            },
        })
    }
}

/// This machine's, in Go's word.
#[must_use]
pub fn arch() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" }
}

/// Opens the engine, and puts a farm on it together. The farm is to be dropped before the
/// engine is closed.
///
/// # Errors
///
/// What this host lacks.
pub async fn open(place: &FarmPlace) -> anyhow::Result<(EmbeddedDriver, Farming)> {
    let driver = EmbeddedDriver::open(engine(place)).await?;
    let benches = driver.benches()?.context("benches are configured")?.clone();
    let sandbox: Arc<dyn Sandbox> = Arc::new(benches);
    let settings = settings(place)?;
    let list = ProxyList::parse(&place.proxies)?;
    let proxies = Proxies::open(ProxiesConfig { list, ca_file: None, limits: ProxyLimits::default() })?;
    let config = FarmConfig {
        toolchain: place.go.clone(),
        layout: settings.layout.clone(),
        proxies: proxies.clone(),
        checksums: None,
        limits: FarmLimits::default(),
    };
    let farm = Farm::new(Arc::clone(&sandbox), Arc::new(HostClock), config);
    let caches = Caches::open(&place.folder.join("cache"), sandbox).await?;
    let farming = Farming {
        farm,
        proxies,
        caches: Arc::new(caches),
        artifacts: Artifacts::open(&place.store.config()).await?,
        signers: Signers::open(&SigningConfig { minisign_key: place.key.clone(), openpgp: None }).await?,
        settings,
        folder: place.folder.join("out"),
        at_once: 1,
        seats: Seats::default(),
        limit: LIMIT,
        builder: "urn:shipway:torture".to_owned(),
        warmer: Warmer::new(Warm::Nothing),
    };
    Ok((driver, farming))
}

fn engine(place: &FarmPlace) -> EmbeddedConfig {
    let at = |name: &str| place.folder.join(name);
    let mut benches = BenchConfig::new(at("benches"));
    benches.disks = DiskLimits { count: 1, bytes: 512 << 20, inodes: 50_000 };
    benches.toolchains = vec![place.go.clone()];
    let packages = ["coreutils", "dash"].map(Wanted::required).to_vec();
    EmbeddedConfig {
        engine: EngineConfig::new(at("engine"), RUN_PARENT, PROXY_UID),
        images: at("images"),
        host_image: HostImageConfig { packages, ..HostImageConfig::default() },
        layers: at("layers"),
        content: place.folder.clone(),
        benches: Some(benches),
    }
}

fn settings(place: &FarmPlace) -> anyhow::Result<Settings> {
    Ok(Settings {
        go: Toolchain::at(&place.go)?.version.to_string(),
        sandbox: SANDBOX_GENERATION,
        layout: Layout::default(),
        proxy: door::URL.to_owned(),
        checksums: Checksums { database: "off".to_owned(), exempt: Vec::new() },
        host: Some(Platform::parse("linux", arch(), None)?),
        limits: Limits::default(),
    })
}

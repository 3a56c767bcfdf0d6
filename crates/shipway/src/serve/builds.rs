//! Builds: what the api needs to accept them, and the worker to make them.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shipway_api::{BuildParts, PublicKeys};
use shipway_artifacts::sign::{Signers, SigningConfig};
use shipway_artifacts::{Artifacts, ArtifactsConfig};
use shipway_driver_embedded::{BenchConfig, DiskLimits, EmbeddedDriver};
use shipway_gobuild::checksums::DatabaseKey;
use shipway_gobuild::plan::{Checksums, Limits, Settings};
use shipway_gobuild::proxy::ProxyLimits;
use shipway_gobuild::resolve::Resolver;
use shipway_gobuild::spec::{SANDBOX_GENERATION, go_label};
use shipway_gobuild::toolchain::{Defaults, Toolchain, defaults};
use shipway_gobuild::{Platform, Proxies, ProxiesConfig, ProxyList, Recipe};
use shipway_gofarm::caches::Caches;
use shipway_gofarm::door;
use shipway_gofarm::sandbox::Sandbox;
use shipway_gofarm::{Farm, FarmConfig, FarmLimits};
use shipway_model::task::BUILDS;
use shipway_stdx::clock::HostClock;
use shipway_worker::{Farming, Seats, Warm, Warmer};

use super::base::Base;
use crate::config::{BuildSettings, Enabled};
use crate::platform::BENCHES;

/// Longest the versions of one request are looked for.
const RESOLVE_LIMIT: Duration = Duration::from_secs(120);

/// Where a Go is looked for beside its own usual places; any other is named by `builds.go`.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What builds need, as far as this process has it.
#[derive(Debug)]
pub(super) struct Ground {
    artifacts: Artifacts,
    /// What can be built, with the operator's variables.
    recipes: Vec<Recipe>,
    /// Where disks, caches and unfinished binaries of builds are.
    folder: PathBuf,
    proxies: Proxies,
    checksums: Checksums,
    /// The tool chain that builds here.
    go: Option<Toolchain>,
    signers: Option<Signers>,
}

impl Ground {
    /// Looks what there is; nothing when builds are off, or when they are left to chance and
    /// something is missing.
    pub(super) async fn find(base: &Base) -> anyhow::Result<Option<Self>> {
        let settings = &base.config.builds;
        let roles = base.config.roles;
        if settings.enabled == Enabled::No || !(roles.api || roles.worker) {
            return Ok(None);
        }
        let go = toolchain(settings);
        if settings.enabled == Enabled::Auto && roles.worker && matches!(go, Ok(None)) {
            tracing::info!("no builds here: there is no Go tool chain (`builds.go`)");
            return Ok(None);
        }
        let found = match go {
            Ok(go) => Self::open(base, go).await,
            Err(error) => Err(error),
        };
        if settings.enabled == Enabled::Yes {
            return found.map(Some).context("builds are on (`builds.enabled`), but cannot be made");
        }
        match found {
            Ok(ground) => Ok(Some(ground)),
            Err(error) => {
                // There is a Go, so somebody may expect them.
                tracing::warn!(reason = format!("{error:#}"), "no builds here (`builds.enabled`)");
                Ok(None)
            }
        }
    }

    async fn open(base: &Base, go: Option<Toolchain>) -> anyhow::Result<Self> {
        let (settings, roles) = (&base.config.builds, base.config.roles);
        anyhow::ensure!(go.is_some() || !roles.worker, "there is no Go tool chain (`builds.go`)");
        let told = match &go {
            Some(go) => Some(defaults(go).await.context("the go command does not say what it is set to")?),
            None => None,
        };
        let proxies = proxies(settings, told.as_ref())?;
        let checksums = checksums(settings, told.as_ref());
        let storage = settings.storage.clone();
        let storage = storage.unwrap_or_else(|| ArtifactsConfig::Directory(base.state.join("artifacts")));
        let artifacts = Artifacts::open(&storage).await?;
        let signers = if roles.worker { Some(Signers::open(&signing(base)).await?) } else { None };
        let with_env = |recipe: Recipe| recipe.with_env(settings.env.clone()).context("`worker.build_env`");
        let recipes = [Recipe::caddy(), Recipe::k6()].into_iter().map(with_env).collect::<anyhow::Result<_>>()?;
        let folder = folder(base)?;
        Ok(Self { artifacts, recipes, folder, proxies, checksums, go, signers })
    }

    /// Where what builds make is kept.
    pub(super) fn artifacts(&self) -> Artifacts {
        self.artifacts.clone()
    }

    /// The labels by which builds find this worker.
    pub(super) fn labels(&self) -> Vec<String> {
        let go = self.go.as_ref().map(|go| go_label(&go.version.to_string()));
        go.into_iter().chain([BUILDS.to_owned()]).collect()
    }

    /// What the api needs.
    pub(super) fn parts(&self, base: &Base) -> BuildParts {
        let keys = self.signers.as_ref().map(|signers| PublicKeys {
            minisign: Some(signers.minisign_public_key().to_owned()),
            openpgp: signers.openpgp_public_key().map(str::to_owned),
        });
        let keys = keys.unwrap_or_else(|| PublicKeys { minisign: key_of_the_farm(base), openpgp: None });
        BuildParts {
            resolver: Resolver::new(self.proxies.clone(), RESOLVE_LIMIT),
            recipes: self.recipes.clone(),
            artifacts: self.artifacts.clone(),
            plugins_max: base.config.builds.plugins_max,
            go: self.go.as_ref().map(|go| go.version.to_string()),
            packages: base.config.builds.packages.clone(),
            scratch: base.state.join("builds/scan"),
            keys,
        }
    }

    /// What the engine's sandbox for builds is to be; none where there is no Go to build with.
    pub(super) fn benches(&self, base: &Base) -> Option<BenchConfig> {
        let (go, settings) = (self.go.as_ref()?, &base.config.builds);
        let usual = BenchConfig::new(self.folder.join(BENCHES));
        Some(BenchConfig {
            // One more than builds: while a cache is made, minutes, no build waits for its disk.
            disks: DiskLimits { count: settings.at_once + 1, bytes: settings.disk_bytes, ..usual.disks },
            cpu_millis: settings.cpu_millis.unwrap_or(usual.cpu_millis),
            pids: settings.pids,
            toolchains: vec![go.root.clone()],
            ..usual
        })
    }

    /// What the worker needs; none, with a word in the log, where the sandbox cannot be had.
    pub(super) async fn farming(&self, base: &Base, driver: &EmbeddedDriver) -> anyhow::Result<Option<Farming>> {
        let settings = &base.config.builds;
        let (Some(go), Some(signers)) = (&self.go, &self.signers) else { return Ok(None) };
        let benches = match driver.benches() {
            Ok(Some(benches)) => benches.clone(),
            Ok(None) => return Ok(None),
            Err(error) if settings.enabled == Enabled::Yes => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "no builds here (`builds.enabled`)");
                return Ok(None);
            }
        };
        let sandbox: Arc<dyn Sandbox> = Arc::new(benches);
        let plan = self.plan_settings(settings, go);
        let farm = FarmConfig {
            toolchain: go.root.clone(),
            layout: plan.layout.clone(),
            proxies: self.proxies.clone(),
            checksums: database(&self.checksums)?,
            limits: FarmLimits::default(),
        };
        let farm = Farm::new(Arc::clone(&sandbox), Arc::new(HostClock), farm);
        let caches = Caches::open(&self.folder.join("cache"), sandbox).await?;
        Ok(Some(Farming {
            farm,
            proxies: self.proxies.clone(),
            caches: Arc::new(caches),
            artifacts: self.artifacts.clone(),
            signers: signers.clone(),
            settings: plan,
            folder: self.folder.join("out"),
            at_once: settings.at_once,
            seats: Seats::default(),
            limit: settings.limit,
            builder: format!("urn:shipway:installation:{}", base.places.instance),
            warmer: Warmer::new(self.warm(settings)),
        }))
    }

    /// What the cache of builds is made of.
    fn warm(&self, settings: &BuildSettings) -> Warm {
        if settings.warm.is_empty() {
            return Warm::WhatIsBuilt;
        }
        let recipe = |name: &str| self.recipes.iter().find(|recipe| recipe.name == name).cloned();
        let named = settings.warm.iter();
        Warm::Named(named.filter_map(|(name, version)| Some((recipe(name)?, version.clone()))).collect())
    }

    fn plan_settings(&self, settings: &BuildSettings, go: &Toolchain) -> Settings {
        Settings {
            go: go.version.to_string(),
            sandbox: SANDBOX_GENERATION,
            layout: shipway_gobuild::plan::Layout::default(),
            proxy: door::URL.to_owned(),
            checksums: self.checksums.clone(),
            host: host(),
            limits: Limits { memory_bytes: settings.memory_bytes, ..Limits::default() },
        }
    }
}

/// The tool chain that builds are made with on this machine, if there is one.
pub(crate) fn toolchain(settings: &BuildSettings) -> anyhow::Result<Option<Toolchain>> {
    match &settings.go {
        Some(root) => Ok(Some(Toolchain::at(root).context("`builds.go`")?)),
        None => Ok(Toolchain::on_this_machine(USUAL_PATH).into_iter().next()),
    }
}

/// Where builds are made; nobody else may change it.
fn folder(base: &Base) -> anyhow::Result<PathBuf> {
    if let Some(path) = base.config.builds.folder.as_ref().filter(|_| base.config.roles.worker) {
        own(path).with_context(|| format!("`worker.build_path`: {}", path.display()))?;
    }
    Ok(base.places.builds(&base.config, &base.state))
}

/// Makes a folder, if it is not there, that nobody else can change: what builds stand on is in it.
fn own(path: &Path) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let found = std::fs::symlink_metadata(path)?;
    anyhow::ensure!(found.is_dir(), "it is no folder");
    let own = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        found.uid() == own && found.mode() & 0o022 == 0,
        "others can change it (user {}, mode {:o}), and with it what builds are made of; make it user {own}'s alone, or name \
         another",
        found.uid(),
        found.mode() & 0o7777
    );
    Ok(())
}

fn proxies(settings: &BuildSettings, told: Option<&Defaults>) -> anyhow::Result<Proxies> {
    let list = settings.proxies.as_deref().or_else(|| told.map(|told| told.proxy.as_str()));
    let list = list.context("there is no Go here to say which module proxies to ask: name them in `api.go_proxy`")?;
    let list = ProxyList::parse(list).context("`api.go_proxy`")?;
    Ok(Proxies::open(ProxiesConfig { list, ca_file: None, limits: ProxyLimits::default() })?)
}

fn checksums(settings: &BuildSettings, told: Option<&Defaults>) -> Checksums {
    let told_exempt = told.map(|told| told.exempt.split(',').map(str::trim).filter(|word| !word.is_empty()));
    let told_exempt: Vec<String> = told_exempt.into_iter().flatten().map(str::to_owned).collect();
    let told_database = || told.map(|told| told.checksums.clone());
    Checksums {
        // Only who builds asks it, and has a Go that tells.
        database: settings.checksums.clone().or_else(told_database).unwrap_or_default(),
        exempt: if settings.exempt.is_empty() { told_exempt } else { settings.exempt.clone() },
    }
}

/// The checksum database itself, for proxies that do not pass it on.
fn database(checksums: &Checksums) -> anyhow::Result<Option<Proxies>> {
    if checksums.database == "off" {
        return Ok(None);
    }
    let key = DatabaseKey::parse(&checksums.database).context("`builds.checksum_database`")?;
    let list = ProxyList::parse(key.url()).context("`builds.checksum_database`")?;
    Ok(Some(Proxies::open(ProxiesConfig { list, ca_file: None, limits: ProxyLimits::default() })?))
}

fn signing(base: &Base) -> SigningConfig {
    let minisign_key: PathBuf = base.state.join("signing/minisign.key");
    SigningConfig { minisign_key, openpgp: base.config.builds.openpgp.clone() }
}

/// The public key that the workers of this farm sign with, where no worker is: an operator has
/// laid it where a worker's own is.
fn key_of_the_farm(base: &Base) -> Option<String> {
    let text = std::fs::read_to_string(base.state.join("signing/minisign.key.pub")).ok()?;
    // A comment and the key.
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// What this machine is, in Go's words: binaries for it are run once, to see that they do.
fn host() -> Option<Platform> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform::parse(std::env::consts::OS, arch, None).ok()
}

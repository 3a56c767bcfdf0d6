//! What builds stand on in the suite: a module proxy with a tiny program, a warm cache that all
//! workers begin with, a key to sign with, and an S3 server.
//!
//! Everything about a build is real but its size. The program of version v1.0.0 is linked in a
//! moment; v1.1.0 has some megabytes in it, so that its upload goes in parts. A build is one
//! of them with a *mark*, a plugin whose every version says something else.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shipway_artifacts::sign::{Signers, SigningConfig};
use shipway_gobuild::plan::Plan;
use shipway_gobuild::proxy::ProxyLimits;
use shipway_gobuild::request::parse_plugin;
use shipway_gobuild::resolve::Resolver;
use shipway_gobuild::testing::ModuleProxy;
use shipway_gobuild::toolchain::Toolchain;
use shipway_gobuild::{Platform, Proxies, ProxiesConfig, ProxyList, Query, Recipe, Request, Spec};
use shipway_gofarm::caches::Caches;
use shipway_gofarm::sandbox::Sandbox;
use shipway_stdx::fs::{Durability, write_atomic};
use shipway_stdx::shutdown;
use shipway_testkit::s3;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::part::farm::{self, FarmPlace, StorePlace};

/// The tiny program, as a recipe.
const RECIPE: &str = r#"{
    "name": "tiny", "module": "example.com/tiny",
    "command": { "package": "cmd", "alias": "tinycmd", "function": "Main" },
    "ldflags": ["-w", "-s"], "verify": [["version"]]
}"#;

const PROGRAM: &str = "package cmd\n\nvar marks []string\n\n\
    // Register adds a mark.\nfunc Register(mark string) { marks = append(marks, mark) }\n\n\
    // Main is the program.\nfunc Main() {\n\tfor _, mark := range marks {\n\t\tprintln(mark, ballast[len(marks)])\n\t}\n}\n";

/// More than goes in one request.
const BALLAST_BYTES: usize = 17 << 20;

/// Where a Go is looked for beside its own usual places.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Longest a version is looked for in a folder, on a machine that is busy.
const RESOLVE_LIMIT: Duration = Duration::from_secs(60);

/// Versions of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A megabyte: sent in one request.
    Small,
    /// Sent in parts.
    Large,
}

impl Size {
    const fn version(self) -> &'static str {
        match self {
            Self::Small => "v1.0.0",
            Self::Large => "v1.1.0",
        }
    }
}

/// The ground, and its S3 server, which ends with it.
#[derive(Debug)]
pub struct Ground {
    folder: TempDir,
    proxy: ModuleProxy,
    go: Toolchain,
    recipe: Recipe,
    /// Where its S3 server listens.
    pub server: SocketAddr,
    _serving: JoinSet<()>,
}

impl Ground {
    /// Lays everything out, and makes the warm cache.
    ///
    /// # Errors
    ///
    /// There is no Go, or the program cannot be built.
    pub async fn lay() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("shipway-torture-ground-").tempdir()?;
        let go = Toolchain::on_this_machine(USUAL_PATH).into_iter().next();
        let go = go.context("there is no Go: scripts/setup.sh test")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = listener.local_addr()?;
        let buckets = folder.path().join("buckets");
        fs::create_dir(&buckets)?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            if let Err(error) = s3::serve(listener, &buckets).await {
                tracing::error!(%error, "the S3 server has ended");
            }
        });
        let recipe = Recipe::parse(RECIPE)?;
        let proxy = program(folder.path())?;
        let ground = Self { folder, proxy, go, recipe, server, _serving: serving };
        Signers::open(&SigningConfig { minisign_key: ground.key(), openpgp: None }).await?;
        ground.warm().await?;
        Ok(ground)
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("minisign.key")
    }

    /// The public half of the key that all workers sign with.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub async fn public_key(&self) -> anyhow::Result<String> {
        let signers = Signers::open(&SigningConfig { minisign_key: self.key(), openpgp: None }).await?;
        Ok(signers.minisign_public_key().to_owned())
    }

    /// Makes a bucket, reached at the server itself or at a proxy before it.
    ///
    /// # Errors
    ///
    /// There is one of this name.
    pub fn bucket(&self, name: &str, at: SocketAddr) -> anyhow::Result<StorePlace> {
        fs::create_dir(self.folder.path().join("buckets").join(name))?;
        Ok(StorePlace { endpoint: format!("http://{at}"), bucket: name.to_owned() })
    }

    /// A farm in this folder, with the warm cache in it.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn farm(&self, folder: &Path, store: &StorePlace) -> anyhow::Result<FarmPlace> {
        fs::create_dir_all(folder.join("benches"))?;
        for part in ["images", "cache", "benches/caches"] {
            // A cache is known by the times and owners of its files, too.
            let mut copy = Command::new("cp");
            let status =
                copy.args(["-a", "--reflink=auto"]).arg(self.warmed().join(part)).arg(folder.join(part)).status()?;
            ensure!(status.success(), "{part} could not be copied: {status}");
        }
        Ok(self.place(folder, store))
    }

    fn warmed(&self) -> PathBuf {
        self.folder.path().join("warmed")
    }

    fn place(&self, folder: &Path, store: &StorePlace) -> FarmPlace {
        FarmPlace {
            folder: folder.to_owned(),
            go: self.go.clone().root,
            proxies: self.proxy.url(),
            key: self.key(),
            store: store.clone(),
        }
    }

    /// What is to be built: the program with this mark, which is made if need be.
    ///
    /// # Errors
    ///
    /// It cannot be settled.
    pub async fn spec(&self, mark: usize, size: Size) -> anyhow::Result<Spec> {
        self.mark(mark);
        let plugin = parse_plugin(&format!("example.com/mark@v1.0.{mark}"))?;
        self.settled(size, vec![plugin]).await
    }

    async fn settled(&self, size: Size, plugins: Vec<shipway_gobuild::request::Plugin>) -> anyhow::Result<Spec> {
        let platform = Platform::parse("linux", farm::arch(), None)?;
        let version = Query::parse(size.version())?;
        let request = Request::new(&self.recipe, version, plugins, Vec::new(), platform, 1)?;
        let list = ProxyList::parse(&self.proxy.url())?;
        let proxies = Proxies::open(ProxiesConfig { list, ca_file: None, limits: ProxyLimits::default() })?;
        let resolved = Resolver::new(proxies, RESOLVE_LIMIT).resolve(&self.recipe, &request).await?;
        Ok(Spec::new(self.recipe.clone(), resolved, self.go.version.to_string()))
    }

    fn mark(&self, mark: usize) {
        let source = format!(
            "package mark\n\nimport \"example.com/tiny/cmd\"\n\nfunc init() {{ cmd.Register(\"mark {mark}\") }}\n"
        );
        let module = "module example.com/mark\n\ngo 1.21\n\nrequire example.com/tiny v1.0.0\n";
        let version = format!("v1.0.{mark}");
        if !self.proxy.of("example.com/mark").join(format!("@v/{version}.zip")).exists() {
            self.proxy.add("example.com/mark", &version, &[("go.mod", module), ("mark.go", &source)]);
        }
    }

    /// Makes the cache, in a farm that nobody works in.
    async fn warm(&self) -> anyhow::Result<()> {
        let store = StorePlace { endpoint: format!("http://{}", self.server), bucket: "warmer".to_owned() };
        let folder = self.warmed();
        let (driver, farming) = farm::open(&self.place(&folder, &store)).await?;
        let mut plans = Vec::new();
        for size in [Size::Small, Size::Large] {
            let spec = self.settled(size, Vec::new()).await?;
            plans.push(Plan::make(&spec.recipe, &spec.resolved, &farming.settings));
        }
        let (events, mut heard) = mpsc::channel(64);
        let (_keep, never) = shutdown::channel();
        let go = farming.settings.go.clone();
        let nobody = async { while heard.recv().await.is_some() {} };
        let (warmed, ()) = tokio::join!(farming.caches.warm(&farming.farm, &go, &plans, events, never), nobody);
        let cache = warmed.map_err(|failure| anyhow::anyhow!("no warm cache: {failure:?}"))?;
        let sandbox: Arc<dyn Sandbox> = Arc::clone(farming.farm.sandbox());
        drop(farming);
        let kept = Caches::open(&folder.join("cache"), sandbox).await?;
        ensure!(kept.present(&go).await == Some(cache), "the warm cache is not the present one");
        drop(kept);
        driver.close().await;
        Ok(())
    }
}

/// Lays the program out as a module proxy.
fn program(folder: &Path) -> anyhow::Result<ModuleProxy> {
    let proxy = ModuleProxy::new();
    let module = "module example.com/tiny\n\ngo 1.21\n";
    let small = "package cmd\n\nvar ballast = \"small\"\n";
    let files = [("go.mod", module), ("cmd/cmd.go", PROGRAM), ("cmd/ballast.go", small)];
    proxy.add("example.com/tiny", Size::Small.version(), &files);
    let large = "package cmd\n\nimport _ \"embed\"\n\n//go:embed ballast.bin\nvar ballast string\n";
    let sources = folder.join("large");
    fs::create_dir_all(sources.join("cmd"))?;
    for (name, content) in [("go.mod", module), ("cmd/cmd.go", PROGRAM), ("cmd/ballast.go", large)] {
        write_atomic(&sources.join(name), content.as_bytes(), 0o644, Durability::Process)?;
    }
    write_atomic(&sources.join("cmd/ballast.bin"), &ballast(), 0o644, Durability::Process)?;
    proxy.add_folder("example.com/tiny", Size::Large.version(), &sources);
    Ok(proxy)
}

/// Bytes of which no two parts are the same.
fn ballast() -> Vec<u8> {
    let mut dice = crate::dice::Dice::new(17);
    std::iter::repeat_with(|| dice.next().to_be_bytes()).take(BALLAST_BYTES / 8).flatten().collect()
}

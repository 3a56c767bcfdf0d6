//! What the API is told once, and what it is made of.
//!
//! Nothing here is read from the environment or a file: the binary does that and
//! hands the values over.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use shipway_artifacts::Artifacts;
use shipway_fetch::{Blobs, Fetcher};
use shipway_gobuild::Recipe;
use shipway_gobuild::resolve::Resolver;
use shipway_stdx::shutdown::Shutdown;
use shipway_store::Store;

use crate::images::Images;
use crate::live::Live;

/// What the API is told once.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Suffix of services' host names: `<id>.<host>`.
    pub host: String,
    /// Host names of the API, beside the loopback names, which always are.
    pub api_hosts: BTreeSet<String>,
    /// Port that visitors use, put into services' URLs unless it is 80.
    pub public_port: u16,
    /// Which of the older systems' endpoints are served.
    pub contracts: Contracts,
    /// Of Shipway, for `/health` and the OpenAPI document.
    pub version: String,
    /// Largest upload. 64 MiB unless told, like a fetch.
    pub upload_bytes_max: u64,
    /// Largest archive of an image, as it is sent. 4 GiB unless told.
    pub image_bytes_max: u64,
    /// Tasks of one project that workers take at once, if there is a limit; for saying why
    /// a task waits.
    pub project_max: Option<u32>,
    /// A worker that was not heard of for so long is called silent. 20 s unless told, like
    /// the heartbeat of a lease.
    pub silent_after: Duration,
    /// Longest one request waits for its build, where it is answered with the binary. 30 min
    /// unless told, as the Caddy build server had it.
    pub build_wait: Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            api_hosts: BTreeSet::new(),
            public_port: 8080,
            contracts: Contracts::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            upload_bytes_max: 64 << 20,
            image_bytes_max: 4 << 30,
            project_max: None,
            silent_after: Duration::from_secs(20),
            build_wait: Duration::from_secs(30 * 60),
        }
    }
}

/// Which of the older systems' endpoints are served, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts {
    /// `PUT /services/{name}` of the URL deploy API.
    pub url_deploy: Contract,
    /// `/api/build`, `/api/download`, `/api/compat` and `/api/packages` of the Caddy build server
    /// and of Caddy's own download page.
    pub caddy_build: Contract,
}

impl Default for Contracts {
    fn default() -> Self {
        Self { url_deploy: Contract::Authorised, caddy_build: Contract::Authorised }
    }
}

/// Whether an older system's endpoints are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// Not at all.
    Off,
    /// To those who may do the same under `/v1`.
    Authorised,
    /// To everybody who reaches the API, as the originals did. An explicit choice.
    Anonymous,
}

/// Who needs no token on loopback listeners (`api.open: loopback`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLoopback {
    /// The addresses of the listeners this holds for; all loopback.
    pub listeners: Vec<SocketAddr>,
    /// Users whose sockets are let in: root and the one who started Shipway.
    pub uids: Vec<u32>,
}

/// Renders the metrics as Prometheus text.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// The answer of a [`ReadyCheck`]: `Err` says what is missing, safe to show.
pub type CheckResult = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One thing the platform depends on, asked by `/readyz`.
#[derive(Clone)]
pub struct ReadyCheck {
    /// One word, as `engine`; `/readyz/<name>`.
    pub name: &'static str,
    /// Asks. Cut off after two seconds.
    pub check: Arc<dyn Fn() -> CheckResult + Send + Sync>,
}

impl fmt::Debug for ReadyCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadyCheck").field(&self.name).finish()
    }
}

/// What it takes to accept builds and to hand out what they made.
#[derive(Debug, Clone)]
pub struct BuildParts {
    /// Settles versions before a build gets its key.
    pub resolver: Resolver,
    /// Programs that can be built.
    pub recipes: Vec<Recipe>,
    /// Where artifacts are kept.
    pub artifacts: Artifacts,
    /// Most plugins of one build.
    pub plugins_max: usize,
    /// The Go of builds when no worker tells of one: that of the operator's choice, or of
    /// this machine.
    pub go: Option<String>,
    /// The public keys of signatures, as texts.
    pub keys: PublicKeys,
}

/// What signatures are checked with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicKeys {
    /// As `minisign -P` takes it.
    pub minisign: Option<String>,
    /// Armoured, as `gpg --import` takes it.
    pub openpgp: Option<String>,
}

/// What the API is made of.
#[derive(Clone)]
pub struct Parts {
    /// Records and the queue.
    pub store: Store,
    /// Where uploads go.
    pub blobs: Blobs,
    /// Only asked whether a URL may be fetched at all; the worker fetches.
    pub fetcher: Fetcher,
    /// Logs, stats and exec of running services.
    pub live: Arc<dyn Live>,
    /// Where trees of images are kept.
    pub images: Arc<dyn Images>,
    /// Builds, if this platform makes any.
    pub builds: Option<BuildParts>,
    /// For `/metrics`.
    pub metrics: MetricsText,
    /// Asked by `/readyz`, beside the store, which always is.
    pub checks: Vec<ReadyCheck>,
    /// Ends streams and waits when the process is to stop.
    pub shutdown: Shutdown,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("live", &self.live).field("checks", &self.checks).finish_non_exhaustive()
    }
}

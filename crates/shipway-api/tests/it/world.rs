//! A platform in small: the real API on real sockets, the real store, and a world
//! that does what the worker and the engine would. The command line's tests use it too.

#[path = "world/builder.rs"]
pub(crate) mod builder;
#[path = "world/images.rs"]
mod images;
#[path = "world/live.rs"]
mod live;
#[path = "world/worker.rs"]
mod worker;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, Response};
use serde_json::Value;
use shipway_api::{ApiConfig, Contract, Contracts, Door, OpenLoopback, Parts, ReadyCheck, Secret};
use shipway_api_types::{Service, ServicePut};
use shipway_client::{Address, Client};
use shipway_fetch::{Blobs, FetchConfig, Fetcher};
use shipway_gobuild::testing::ModuleProxy;
use shipway_model::{ProjectName, TokenId};
use shipway_stdx::shutdown::{self, Shutdown, ShutdownSender};
use shipway_store::{Store, Token};
use tokio::sync::watch;

pub(crate) use live::FakeLive;

/// Longest anything in a test is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A URL the world serves a script at.
pub(crate) const HELLO: &str = "https://example.com/hello.sh";

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) live: Arc<FakeLive>,
    pub(crate) shutdown: Shutdown,
    /// Whether the world works on tasks.
    pub(crate) at_work: watch::Sender<bool>,
    /// Whether the world makes builds.
    pub(crate) at_builds: watch::Sender<bool>,
    /// Where the world's modules come from.
    pub(crate) modules: ModuleProxy,
    /// Whether the check `engine` of `/readyz` succeeds.
    pub(crate) engine_is_there: watch::Sender<bool>,
    router: shipway_api::Router,
    folder: tempfile::TempDir,
    stop: ShutdownSender,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_as(ApiConfig::default()).await
    }

    pub(crate) async fn open_contract() -> Self {
        let contracts = Contracts { url_deploy: Contract::Anonymous, ..Contracts::default() };
        Self::start_as(ApiConfig { contracts, ..ApiConfig::default() }).await
    }

    pub(crate) async fn start_as(config: ApiConfig) -> Self {
        Self::start_with(config, true).await
    }

    /// A world that makes builds, or none.
    pub(crate) async fn start_with(mut config: ApiConfig, builds: bool) -> Self {
        let (store, folder) = Store::open_temporary().await.unwrap();
        let (stop, shutdown) = shutdown::channel();
        let live = Arc::new(FakeLive::default());
        let (at_work, working) = watch::channel(true);
        let (engine_is_there, engine) = watch::channel(true);
        let (at_builds, building) = watch::channel(true);
        let (modules, workshop) = (builder::proxy(), builder::Workshop::open(folder.path()).await);
        tokio::spawn(worker::work(store.clone(), workshop.clone(), working, building, shutdown.clone()));
        config.api_hosts = BTreeSet::from(["api.test".to_owned()]);
        config.upload_bytes_max = 3 << 20;
        config.image_bytes_max = 4 << 20;
        let parts = Parts {
            store: store.clone(),
            blobs: Blobs::open(&folder.path().join("blobs")).unwrap(),
            fetcher: Fetcher::new(FetchConfig::default()).unwrap(),
            live: Arc::clone(&live) as Arc<dyn shipway_api::Live>,
            images: Arc::new(images::FolderImages::new(folder.path().join("images"))),
            builds: builds.then(|| workshop.parts(&modules)),
            metrics: Arc::new(|| "shipway_test 1\n".to_owned()),
            checks: vec![engine_check(engine)],
            shutdown: shutdown.clone(),
        };
        let world = Self {
            router: shipway_api::build(config, parts),
            store,
            live,
            shutdown,
            at_work,
            at_builds,
            modules,
            engine_is_there,
            folder,
            stop,
        };
        world.open_door("admin", Door::Admin { uids: vec![0] }).await;
        world.open_door("public", Door::Admin { uids: Vec::new() }).await;
        world
    }

    /// Serves the API on another socket.
    pub(crate) async fn open_door(&self, name: &str, door: Door) -> PathBuf {
        let path = self.folder.path().join(name);
        let listener = shipway_api::bind_unix(&path, 0o600).await.unwrap();
        let router = self.router.clone();
        tokio::spawn(shipway_api::serve_unix(listener, door, router, self.shutdown.clone()));
        path
    }

    /// The door of the proxy, open on loopback for root and for visitors of `listener`.
    pub(crate) async fn open_edge(&self, listener: SocketAddr) -> PathBuf {
        let open = OpenLoopback { listeners: vec![listener], uids: vec![0] };
        let door = Door::Edge { proxy_uids: vec![0], open: Some(open) };
        self.open_door("edge", door).await
    }

    /// The address of a door: `admin` for root, `public` for those with a token.
    pub(crate) fn address(&self, door: &str) -> String {
        format!("unix://{}", self.folder.path().join(door).display())
    }

    /// A client the kernel vouches for.
    pub(crate) fn root(&self) -> Client {
        Client::new(Address::Unix(self.folder.path().join("admin")), None)
    }

    /// A client that is nobody, or who its token says.
    pub(crate) fn client(&self, token: Option<&str>) -> Client {
        let address = Address::Unix(self.folder.path().join("public"));
        Client::new(address, token.map(str::to_owned))
    }

    /// Makes a token past the API.
    pub(crate) async fn token(&self, role: &str, project: &str) -> String {
        let secret = Secret::mint().unwrap();
        let token = Token {
            id: TokenId(uuid::Uuid::new_v4()),
            name: format!("{role} of {project}"),
            role: role.to_owned(),
            project: project.parse::<ProjectName>().unwrap(),
            created_at: self.store.now().await.unwrap(),
            expires_at: None,
            last_used_at: None,
        };
        self.store.add_token(&token, secret.sha256(), "system").await.unwrap();
        secret.reveal().to_owned()
    }

    /// Deploys a script, as root.
    pub(crate) async fn deploy(&self, name: &str) -> Service {
        self.deploy_url(name, HELLO).await
    }

    pub(crate) async fn deploy_url(&self, name: &str, url: &str) -> Service {
        let put = ServicePut { url: Some(url.to_owned()), ..ServicePut::default() };
        let deployed = self.root().deploy(name, &put, PATIENCE).await.unwrap();
        assert!(deployed.done);
        deployed.service
    }

    /// Removes every artifact behind everybody's back.
    pub(crate) fn lose_artifacts(&self) {
        std::fs::remove_dir_all(self.folder.path().join("artifacts/artifacts")).unwrap();
    }

    pub(crate) fn stop(&self) {
        self.stop.request();
    }
}

fn engine_check(engine: watch::Receiver<bool>) -> ReadyCheck {
    ReadyCheck {
        name: "engine",
        check: Arc::new(move || {
            let there = *engine.borrow();
            Box::pin(async move {
                match there {
                    true => Ok(()),
                    false => Err("the shim is missing".to_owned()),
                }
            })
        }),
    }
}

/// Sends a request as it stands and returns the whole answer.
pub(crate) async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Response<bytes::Bytes> {
    let headers: Vec<(HeaderName, &str)> =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), *value)).collect();
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    tokio::time::timeout(PATIENCE, client.raw(method, path, &headers, body))
        .await
        .expect("the answer should come in time")
        .unwrap()
}

/// `PUT`s JSON and returns the whole answer.
pub(crate) async fn put(client: &Client, path: &str, body: &str) -> Response<bytes::Bytes> {
    ask(client, Method::PUT, path, &[("content-type", "application/json")], body).await
}

pub(crate) fn json(response: &Response<bytes::Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|error| panic!("{error}: {:?}", response.body()))
}

pub(crate) fn text(response: &Response<bytes::Bytes>) -> String {
    String::from_utf8(response.body().to_vec()).unwrap()
}

/// `status code`, for a problem; `status` for anything else.
pub(crate) fn outcome(response: &Response<bytes::Bytes>) -> String {
    let status = response.status().as_u16();
    let problem = response.headers().get("content-type").is_some_and(|value| value == "application/problem+json");
    if !problem {
        return status.to_string();
    }
    format!("{status} {}", json(response)["code"].as_str().unwrap())
}

/// Asks again and again until it is so.
pub(crate) async fn wait_until<F: AsyncFn() -> bool>(what: &str, condition: F) {
    let all = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("{what} did not come about"));
}

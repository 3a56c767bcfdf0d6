//! A whole platform but for its containers and its visitors, stepped by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shipway_driver::fake::FakeDriver;
use shipway_driver::{Driver, Exit, Phase};
use shipway_fetch::{Blobs, FetchConfig, Fetcher};
use shipway_model::instance::Endpoint;
use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{
    ContainerId, ContentKind, EventKind, Failure, HealthCheck, Instance, InstanceRole, Limits, Outcome, ProjectName,
    Runner, Service, ServiceId, Source, TaskId, TaskPayload,
};
use shipway_stdx::backoff::Backoff;
use shipway_stdx::clock::ManualClock;
use shipway_store::{LeaseTerms, Request, Store, Target};
use shipway_worker::{Drain, OwnTrees, Parts, Worker, WorkerConfig};
use tokio::sync::watch;
use uuid::Uuid;

/// The fake driver's time begins here; the clock of the tests does too.
const START: i64 = 1_700_000_000_000_000;

/// Longer than anything here takes, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Between two looks at a condition that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(crate) struct Platform {
    pub(crate) store: Store,
    pub(crate) driver: FakeDriver,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) worker: Worker,
    pub(crate) config: WorkerConfig,
    pub(crate) blobs: Blobs,
    fetcher: Fetcher,
    _folders: (tempfile::TempDir, tempfile::TempDir),
}

/// Stands for the proxy: who is still being answered by which instance.
#[derive(Debug)]
pub(crate) struct Visitors {
    busy: watch::Sender<bool>,
    /// Services whose routes were waited for.
    pub(crate) published: Mutex<Vec<ServiceId>>,
}

#[async_trait]
impl Drain for Visitors {
    async fn published(&self, service: ServiceId) {
        self.published.lock().unwrap().push(service);
    }

    async fn idle(&self, _endpoint: &Endpoint) {
        let mut busy = self.busy.subscribe();
        drop(busy.wait_for(|busy| !busy).await);
    }
}

impl Visitors {
    /// Requests are in flight everywhere, or nowhere.
    pub(crate) fn are_busy(&self, busy: bool) {
        self.busy.send_replace(busy);
    }
}

pub(crate) fn config() -> WorkerConfig {
    let brief = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) };
    WorkerConfig {
        retry: brief,
        stop_drain: Duration::from_millis(50),
        lease: LeaseTerms { heartbeat: Duration::from_secs(20), deadline: Duration::from_secs(60) },
        ..WorkerConfig::default()
    }
}

impl Platform {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: WorkerConfig) -> Self {
        let (store, folder) = Store::open_temporary().await.unwrap();
        let blobs_folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(blobs_folder.path()).unwrap();
        let clock = Arc::new(ManualClock::default());
        // Later than anything the driver dates in one test.
        clock.advance(START + 10_000);
        let driver = FakeDriver::new();
        let visitors = Arc::new(Visitors { busy: watch::Sender::new(false), published: Mutex::default() });
        let fetcher = loopback_fetcher();
        let parts = Parts {
            store: store.clone(),
            driver: Arc::new(driver.clone()),
            fetcher: fetcher.clone(),
            blobs: blobs.clone(),
            clock: clock.clone(),
            drain: visitors.clone(),
            trees: Arc::new(OwnTrees),
            farming: None,
            preemption: None,
        };
        let worker = Worker::new(config.clone(), parts);
        Self { store, driver, clock, visitors, worker, config, blobs, fetcher, _folders: (folder, blobs_folder) }
    }

    /// Another worker of the same platform.
    pub(crate) fn another_worker(&self, driver: Arc<dyn Driver>) -> Worker {
        Worker::new(self.config.clone(), self.parts(driver))
    }

    pub(crate) fn parts(&self, driver: Arc<dyn Driver>) -> Parts {
        Parts {
            store: self.store.clone(),
            driver,
            fetcher: self.fetcher.clone(),
            blobs: self.blobs.clone(),
            clock: self.clock.clone(),
            drain: self.visitors.clone(),
            trees: Arc::new(OwnTrees),
            farming: None,
            preemption: None,
        }
    }

    /// The worker is killed, and a new one starts as `shipway serve` does.
    pub(crate) async fn restart(&mut self) {
        self.worker = self.another_worker(Arc::new(self.driver.clone()));
        self.store.rescue(true).await.unwrap();
        self.worker.reconcile().await.unwrap();
    }

    // === asking ===

    /// What a PUT of this content asks for.
    pub(crate) async fn upload(&self, content: &str) -> Deploy {
        let mut writer = self.blobs.begin(1 << 20).await.unwrap();
        writer.write(content.as_bytes()).await.unwrap();
        let blob = writer.finish().await.unwrap();
        deploy_of(Content::Blob(Source {
            digest: blob.digest,
            size_bytes: blob.size_bytes,
            content_type: None,
            file_name: Some("hello.sh".to_owned()),
            url: None,
        }))
    }

    pub(crate) async fn request(&self, name: &str, payload: TaskPayload) -> (ServiceId, TaskId) {
        let target = match (&payload, self.find(name).await) {
            (TaskPayload::Deploy(_), _) => Target::NamedOrNew(name.parse().unwrap(), ServiceId(Uuid::new_v4())),
            (_, service) => Target::Existing(service.unwrap().id),
        };
        let request =
            Request { project: ProjectName::default(), target, payload, actor: "local".to_owned(), if_version: None };
        let accepted = self.store.request(request).await.unwrap();
        (accepted.service.id, accepted.task)
    }

    /// Asks, and works until nothing is due. Returns how the asked-for task ended.
    pub(crate) async fn change(&self, name: &str, payload: TaskPayload) -> Outcome {
        let (_, task) = self.request(name, payload).await;
        self.work().await;
        self.outcome(task).await
    }

    pub(crate) async fn deploy(&self, name: &str, content: &str) -> Outcome {
        let wish = self.upload(content).await;
        self.change(name, TaskPayload::Deploy(wish)).await
    }

    /// Deploys what must come live.
    pub(crate) async fn live(&self, name: &str, content: &str) -> ServiceId {
        let outcome = self.deploy(name, content).await;
        assert!(matches!(outcome, Outcome::Done { changed: true, .. }), "{outcome:?}");
        self.find(name).await.unwrap().id
    }

    // === stepping ===

    /// Ticks until a tick finds nothing to do.
    pub(crate) async fn work(&self) {
        let mut ticks = 0;
        while self.worker.tick().await.unwrap() {
            ticks += 1;
            assert!(ticks < 100, "the worker does not come to rest");
        }
    }

    /// Ticks, also for what watchers ask for meanwhile, until `condition` holds.
    pub(crate) async fn work_until<C>(&self, what: &str, condition: impl Fn() -> C)
    where
        C: Future<Output = bool>,
    {
        let mut notices = self.store.notices();
        let all = async {
            while !condition().await {
                if !self.worker.tick().await.unwrap() {
                    // What is waited for may also be a time, or the driver's doing.
                    drop(tokio::time::timeout(LOOK_EVERY, notices.changed()).await);
                }
            }
        };
        let waited = tokio::time::timeout(LIMIT, all).await;
        assert!(waited.is_ok(), "never: {what}; {:?}", self.rows(None).await);
    }

    /// Works until the containers are exactly the live instances, one per service
    /// that should run, and every other row is a grave at most.
    pub(crate) async fn settle(&self) {
        self.work_until("settled", || async { self.unsettled().await.is_none() }).await;
    }

    /// A container that no row knows, which must not be even while a worker is dead.
    pub(crate) async fn stray(&self) -> Option<String> {
        let seen = self.driver.recover().await.unwrap();
        let rows = self.rows(None).await;
        let stray = seen.into_iter().find(|seen| !rows.iter().any(|row| row.container == seen.container));
        stray.map(|stray| format!("a stray: {stray:?}"))
    }

    /// What is wrong with the platform, if anything.
    pub(crate) async fn unsettled(&self) -> Option<String> {
        if let stray @ Some(_) = self.stray().await {
            return stray;
        }
        let rows = self.rows(None).await;
        let running: BTreeSet<ContainerId> = self.driver.running().into_iter().collect();
        let live: Vec<&Instance> = rows.iter().filter(|r| r.role == InstanceRole::Live).collect();
        let live_ids: BTreeSet<ContainerId> = live.iter().map(|row| row.container).collect();
        if running != live_ids {
            return Some(format!("running {running:?}, rows {rows:?}"));
        }
        if rows.iter().any(|row| row.role == InstanceRole::Candidate) {
            return Some(format!("a candidate is left: {rows:?}"));
        }
        let services = self.store.list_all_services(None, 1000).await.unwrap();
        for service in services {
            let of: Vec<_> = live.iter().filter(|row| row.service == service.id).collect();
            let running = match service.state {
                shipway_model::ServiceState::Live { release }
                | shipway_model::ServiceState::Unhealthy { release, .. } => Some(release),
                _ => None,
            };
            if of.iter().map(|row| row.release).collect::<Vec<_>>() != Vec::from_iter(running) {
                return Some(format!("{:?} with live rows {of:?}", service.state));
            }
        }
        None
    }

    #[track_caller]
    pub(crate) fn check(&self, wrong: Option<String>) {
        assert_eq!(wrong, None);
    }

    // === looking ===

    pub(crate) async fn find(&self, name: &str) -> Option<Service> {
        let project = ProjectName::default();
        let name = name.parse().unwrap();
        self.store.find_service(&project, &name).await.unwrap()
    }

    pub(crate) async fn state(&self, name: &str) -> String {
        let state = self.find(name).await.unwrap().state;
        match state.live_release() {
            Some(release) => format!("{} {release}", state.word()),
            None => state.word().to_owned(),
        }
    }

    pub(crate) async fn outcome(&self, task: TaskId) -> Outcome {
        let outcome = self.store.wait_task(task, LIMIT).await.unwrap();
        let task = self.store.find_task(task).await;
        outcome.unwrap_or_else(|| panic!("not ended: {task:?}"))
    }

    pub(crate) async fn rows(&self, service: Option<ServiceId>) -> Vec<Instance> {
        self.store.list_instances(service).await.unwrap()
    }

    /// The live container of a service.
    pub(crate) async fn container(&self, service: ServiceId) -> Option<ContainerId> {
        let rows = self.rows(Some(service)).await;
        let live = rows.iter().find(|row| row.role == InstanceRole::Live);
        live.map(|row| row.container)
    }

    pub(crate) async fn events(&self, service: ServiceId) -> Vec<EventKind> {
        let subject = format!("service/{service}");
        let events = self.store.list_events(&subject, 0, 1000).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }

    pub(crate) async fn is_gone(&self, container: ContainerId) -> bool {
        self.driver.inspect(container).await.is_err()
    }

    pub(crate) async fn has_ended(&self, container: ContainerId) -> bool {
        let seen = self.driver.inspect(container).await.unwrap();
        matches!(seen.phase, Phase::Exited(_))
    }
}

pub(crate) fn deploy_of(content: Content) -> Deploy {
    Deploy {
        program: DeployProgram::Content { content, kind: ContentKind::Script, runner: Runner::Native },
        env: BTreeMap::new(),
        limits: Limits::default(),
        health: HealthCheck { path: None, deadline_ms: 200 },
        egress: shipway_model::Egress::None,
    }
}

#[track_caller]
pub(crate) fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        done @ Outcome::Done { .. } => panic!("{done:?}"),
    }
}

pub(crate) const fn done(release: Option<u32>, changed: bool) -> Outcome {
    Outcome::Done { release, changed }
}

pub(crate) const fn exit(code: i32) -> Exit {
    Exit { code: Some(code), signal: None, out_of_memory: false, lost: false, ended_at: Some(START + 1000) }
}

/// Fetches from loopback too, where the tests' own origins are.
fn loopback_fetcher() -> Fetcher {
    let allow = "127.0.0.1/32".parse().unwrap();
    Fetcher::new(FetchConfig { allow, ..FetchConfig::default() }).unwrap()
}

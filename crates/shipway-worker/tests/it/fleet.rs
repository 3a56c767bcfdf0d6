//! A worker among others: it says that it lives, is sent away, and finds here what
//! another machine has received.

use std::io::{Cursor, Read, Seek, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shipway_driver::fake::{Answers, FakeDriver};
use shipway_fetch::Blobs;
use shipway_model::task::DeployProgram;
use shipway_model::{Digest, Outcome, Protocol, TaskId, TaskPayload, TaskState};
use shipway_preempt::{Preempted, Preemption};
use shipway_stdx::shutdown::{self, ShutdownSender};
use shipway_store::{Claimant, LeaseTerms, WorkerState};
use shipway_worker::{Orders, Parts, Trees, Worker, WorkerConfig};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::platform::{Platform, config, done};

const LIMIT: Duration = Duration::from_secs(20);

/// A worker of another machine: an engine, a driver and a folder of its own.
struct Elsewhere {
    driver: FakeDriver,
    blobs: Blobs,
    _folder: tempfile::TempDir,
}

impl Elsewhere {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { driver: FakeDriver::new(), blobs: Blobs::open(folder.path()).unwrap(), _folder: folder }
    }

    fn worker(&self, platform: &Platform, config: WorkerConfig, change: impl FnOnce(&mut Parts)) -> Worker {
        let mut parts = platform.parts(Arc::new(self.driver.clone()));
        parts.blobs = self.blobs.clone();
        change(&mut parts);
        Worker::new(config, parts)
    }
}

fn named(name: &str) -> WorkerConfig {
    let claimant = Claimant { engine: Some(format!("engine-of-{name}")), ..Claimant::named(name) };
    // Beats come four times in that time.
    let lease = LeaseTerms { heartbeat: Duration::from_secs(2), deadline: Duration::from_secs(60) };
    WorkerConfig { claimant, lease, host: format!("host-of-{name}"), version: "1".to_owned(), ..config() }
}

struct Running {
    finish: ShutdownSender,
    leave: ShutdownSender,
    ended: JoinHandle<()>,
}

fn run(worker: Worker) -> Running {
    let (finish, may_finish) = shutdown::channel();
    let (leave, may_leave) = shutdown::channel();
    let ended = tokio::spawn(worker.run(Orders { finish: may_finish, leave: may_leave }));
    Running { finish, leave, ended }
}

async fn until<C: Future<Output = bool>>(what: &str, condition: impl Fn() -> C) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn state_of(platform: &Platform, worker: &str) -> Option<WorkerState> {
    let workers = platform.store.list_workers().await.unwrap();
    workers.into_iter().find(|one| one.facts.id == worker).map(|one| one.state)
}

/// A deploy that is not ready before it is told so.
async fn patient(platform: &Platform, name: &str) -> TaskId {
    let mut wish = platform.upload(name).await;
    wish.health.deadline_ms = 20_000;
    platform.request(name, TaskPayload::Deploy(wish)).await.1
}

async fn until_started(elsewhere: &Elsewhere) {
    until("started", || async { !elsewhere.driver.running().is_empty() }).await;
}

async fn is_queued_uncharged(platform: &Platform, task: TaskId) -> bool {
    let task = platform.store.find_task(task).await.unwrap().unwrap();
    matches!(task.state, TaskState::Queued { .. }) && task.attempt == 0
}

#[tokio::test]
async fn told_to_finish_it_takes_nothing_more_and_ends_what_it_has() {
    let (platform, host) = (Platform::new().await, Elsewhere::new());
    host.driver.answer_new(Answers::Silent);
    let first = patient(&platform, "a").await;
    let worker = host.worker(&platform, named("w"), |parts| parts.blobs = platform.blobs.clone());
    let running = run(worker);
    until_started(&host).await;
    running.finish.request();
    let second = patient(&platform, "b").await;
    host.driver.answer(host.driver.running()[0], Answers::Ready);
    running.ended.await.unwrap();
    assert_eq!(platform.outcome(first).await, done(Some(1), true));
    assert!(is_queued_uncharged(&platform, second).await);
    assert_eq!(state_of(&platform, "w").await, Some(WorkerState::Draining));
}

#[tokio::test]
async fn what_does_not_end_in_time_is_given_back_and_a_second_word_is_enough() {
    for brief in [true, false] {
        let (platform, host) = (Platform::new().await, Elsewhere::new());
        host.driver.answer_new(Answers::Silent);
        let task = patient(&platform, "a").await;
        let drain = if brief { Duration::from_millis(50) } else { Duration::from_secs(3600) };
        let config = WorkerConfig { drain, ..named("w") };
        let running = run(host.worker(&platform, config, |parts| parts.blobs = platform.blobs.clone()));
        until_started(&host).await;
        running.finish.request();
        if !brief {
            running.leave.request();
        }
        running.ended.await.unwrap();
        assert!(is_queued_uncharged(&platform, task).await);
        assert_eq!(host.driver.running(), []);
    }
}

#[tokio::test]
async fn an_operator_sends_it_away_and_calls_it_back() {
    let (platform, host) = (Platform::new().await, Elsewhere::new());
    host.driver.answer_new(Answers::Silent);
    let task = patient(&platform, "a").await;
    let config = WorkerConfig { drain: Duration::from_millis(50), ..named("w") };
    let running = run(host.worker(&platform, config, |parts| parts.blobs = platform.blobs.clone()));
    until_started(&host).await;
    platform.store.set_worker_state("w", WorkerState::Draining).await.unwrap();
    until("given back", || is_queued_uncharged(&platform, task)).await;
    host.driver.answer_new(Answers::Ready);
    platform.store.set_worker_state("w", WorkerState::Active).await.unwrap();
    assert_eq!(platform.outcome(task).await, done(Some(1), true));
    running.leave.request();
    running.ended.await.unwrap();
}

/// Says so when it is told to.
#[derive(Debug)]
struct Notice {
    foreseen: Option<oneshot::Receiver<()>>,
    ready: Arc<Mutex<bool>>,
}

#[async_trait]
impl Preemption for Notice {
    async fn foreseen(&mut self) -> Preempted {
        match self.foreseen.as_mut() {
            Some(foreseen) => foreseen.await.unwrap(),
            None => std::future::pending().await,
        }
        self.foreseen = None;
        Preempted::new("Preempt")
    }

    async fn ready(&mut self, _preempted: &Preempted) {
        *self.ready.lock().unwrap() = true;
    }
}

#[tokio::test]
async fn before_its_machine_is_taken_away_it_gives_all_back() {
    let (platform, host, other) = (Platform::new().await, Elsewhere::new(), Elsewhere::new());
    host.driver.answer_new(Answers::Silent);
    let task = patient(&platform, "a").await;
    let (say, foreseen) = oneshot::channel();
    let ready = Arc::new(Mutex::new(false));
    let notice = Notice { foreseen: Some(foreseen), ready: ready.clone() };
    let running = run(host.worker(&platform, named("spot"), |parts| {
        parts.blobs = platform.blobs.clone();
        parts.preemption = Some(Box::new(notice));
    }));
    until_started(&host).await;
    say.send(()).unwrap();
    until("leaving", || async { state_of(&platform, "spot").await == Some(WorkerState::Leaving) }).await;
    until("the cloud is told", || async { *ready.lock().unwrap() }).await;
    assert!(is_queued_uncharged(&platform, task).await);
    let lasting = run(other.worker(&platform, named("lasting"), |parts| parts.blobs = platform.blobs.clone()));
    assert_eq!(platform.outcome(task).await, done(Some(1), true));
    assert_eq!(platform.find("a").await.unwrap().engine.as_deref(), Some("engine-of-lasting"));
    for worker in [running, lasting] {
        worker.leave.request();
        worker.ended.await.unwrap();
    }
}

#[tokio::test]
async fn what_it_hears_before_it_is_registered_it_does_not_forget() {
    let (platform, host) = (Platform::new().await, Elsewhere::new());
    let (say, foreseen) = oneshot::channel();
    say.send(()).unwrap();
    let notice = Notice { foreseen: Some(foreseen), ready: Arc::default() };
    let worker = run(host.worker(&platform, named("spot"), |parts| {
        parts.blobs = platform.blobs.clone();
        parts.preemption = Some(Box::new(notice));
    }));
    until("leaving", || async { state_of(&platform, "spot").await == Some(WorkerState::Leaving) }).await;
    worker.leave.request();
    worker.ended.await.unwrap();
}

#[tokio::test]
async fn an_upload_that_came_in_elsewhere_is_brought_here() {
    let (platform, host) = (Platform::new().await, Elsewhere::new());
    let wish = platform.upload("hello").await;
    let DeployProgram::Content { content: shipway_model::task::Content::Blob(source), .. } = &wish.program else {
        panic!("{wish:?}")
    };
    let digest = source.digest.clone();
    let worker = host.worker(&platform, named("w"), |_| {});
    let (_, task) = platform.request("a", TaskPayload::Deploy(wish.clone())).await;
    assert!(worker.tick().await.unwrap());
    let failure = crate::platform::failure(platform.outcome(task).await);
    assert!(failure.detail.contains("upload it again"), "{failure:?}");

    // Something else under that name is not used.
    platform.store.put_deposit(&digest, Cursor::new("hullo")).await.unwrap();
    let (_, task) = platform.request("b", TaskPayload::Deploy(wish.clone())).await;
    assert!(worker.tick().await.unwrap());
    let failure = crate::platform::failure(platform.outcome(task).await);
    assert!(failure.detail.contains("is something else"), "{failure:?}");
    assert!(!host.blobs.contains(&digest));

    assert_eq!(platform.store.collect_deposits(Duration::ZERO).await.unwrap(), 1);
    platform.store.put_deposit(&digest, Cursor::new("hello")).await.unwrap();
    let (_, task) = platform.request("c", TaskPayload::Deploy(wish)).await;
    assert!(worker.tick().await.unwrap());
    assert_eq!(platform.outcome(task).await, done(Some(1), true));
    assert!(host.blobs.verify(&digest).unwrap());
}

/// Trees are their archives here.
#[derive(Debug, Default)]
struct Unpacked(Mutex<Vec<Digest>>);

#[async_trait]
impl Trees for Unpacked {
    fn has(&self, digest: &Digest) -> bool {
        self.0.lock().unwrap().contains(digest)
    }

    fn spool(&self) -> std::io::Result<std::fs::File> {
        tempfile::tempfile()
    }

    async fn unpack(&self, mut archive: std::fs::File) -> Result<Digest, String> {
        let mut text = String::new();
        archive.read_to_string(&mut text).unwrap();
        let digest: Digest = text.parse().unwrap();
        self.0.lock().unwrap().push(digest.clone());
        Ok(digest)
    }
}

#[tokio::test]
async fn an_image_that_came_in_elsewhere_is_unpacked_here_once() {
    let (platform, host) = (Platform::new().await, Elsewhere::new());
    let digest = Digest::from_sha256([7; 32]);
    let mut archive = tempfile::tempfile().unwrap();
    write!(archive, "{digest}").unwrap();
    archive.rewind().unwrap();
    platform.store.put_deposit(&digest, archive).await.unwrap();
    let image = shipway_store::Image {
        project: shipway_model::ProjectName::default(),
        name: "box:latest".to_owned(),
        digest: digest.clone(),
        size_bytes: 1,
        entries: 1,
        source: "an archive".to_owned(),
        created_at: 0,
    };
    platform.store.put_image(&image, "local").await.unwrap();
    let trees = Arc::new(Unpacked::default());
    let worker = host.worker(&platform, named("w"), |parts| parts.trees = trees.clone());
    for release in 1..=2 {
        let mut wish = platform.upload("").await;
        wish.program = DeployProgram::Command {
            image: "box:latest".to_owned(),
            image_digest: digest.clone(),
            command: vec!["httpd".to_owned(), release.to_string()],
            port: 80,
            protocol: Protocol::Http1,
        };
        let (_, task) = platform.request("a", TaskPayload::Deploy(wish)).await;
        assert!(worker.tick().await.unwrap());
        assert_eq!(platform.outcome(task).await, Outcome::Done { release: Some(release), changed: true });
    }
    assert_eq!(*trees.0.lock().unwrap(), [digest]);
}

#[tokio::test]
async fn it_looks_after_the_services_of_its_own_engine_alone() {
    let (platform, here, there) = (Platform::new().await, Elsewhere::new(), Elsewhere::new());
    let bring = |parts: &mut Parts| parts.blobs = platform.blobs.clone();
    let (first, second) =
        (here.worker(&platform, named("here"), bring), there.worker(&platform, named("there"), bring));
    for (worker, name) in [(&first, "a"), (&second, "b")] {
        let wish = platform.upload(name).await;
        let (_, task) = platform.request(name, TaskPayload::Deploy(wish)).await;
        assert!(worker.tick().await.unwrap());
        assert_eq!(platform.outcome(task).await, done(Some(1), true));
    }
    assert_eq!((here.driver.running().len(), there.driver.running().len()), (1, 1));
    for worker in [&first, &second] {
        worker.reconcile().await.unwrap();
    }
    assert_eq!(platform.store.task_counts().await.unwrap().queued, 0, "nobody repairs what he cannot see");
    assert_eq!((here.driver.running().len(), there.driver.running().len()), (1, 1), "nor takes it for a stray");
}

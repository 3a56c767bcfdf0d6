//! The words the tests are written in: a throwaway store, services by name,
//! tasks by what they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shipway_model::task::{Content, Deploy, DeployProgram, Failure};
use shipway_model::{
    ContainerId, ContentKind, Digest, EventKind, FailureCode, HealthCheck, Instance, InstanceRole, Limits, Outcome,
    ProjectName, Release, ReleaseProgram, ReleaseSpec, RootFs, Runner, Service, ServiceId, ServiceName, Source,
    TaskPayload,
};
use shipway_store::{Accepted, Claimant, Lease, LeaseTerms, Migrate, Request, Store, StoreError, Target};
use shipway_testkit::Postgres;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Longer than any test takes.
pub(crate) const LONG: LeaseTerms =
    LeaseTerms { heartbeat: Duration::from_secs(600), deadline: Duration::from_secs(3600) };

/// Nothing in a test may take longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) store: Store,
    place: Place,
}

/// Where a world's database is.
enum Place {
    File(tempfile::TempDir),
    Server(String),
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Server(database) = self {
            drop(Postgres::shared().remove(database));
        }
    }
}

impl std::ops::Deref for World {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

/// Which of the two this part of the suite runs on.
pub(crate) fn is_postgres() -> bool {
    module_path!().contains("::postgres::")
}

pub(crate) async fn world() -> World {
    if !is_postgres() {
        let (store, folder) = Store::open_temporary().await.unwrap();
        return World { store, place: Place::File(folder) };
    }
    let database = Postgres::shared().create(Some(template().await)).unwrap();
    let store = open(&Postgres::shared().url(&database)).await;
    World { store, place: Place::Server(database) }
}

/// A database that has the tables, to be copied.
async fn template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let make = async || {
        let database = Postgres::shared().create(None).unwrap();
        open(&Postgres::shared().url(&database)).await.close().await;
        // A database that somebody is in is not copied, and a session takes a moment to end.
        Postgres::shared().disconnect(&database).unwrap();
        database
    };
    TEMPLATE.get_or_init(make).await
}

/// Opens a file by its path, a database by its URL.
pub(crate) async fn open(place: &str) -> Store {
    if is_postgres() {
        Store::connect(place, Migrate::Yes).await.unwrap()
    } else {
        Store::open(Path::new(place)).await.unwrap()
    }
}

impl World {
    /// What [`open`] takes.
    pub(crate) fn place(&self) -> String {
        match &self.place {
            Place::File(folder) => folder.path().join("shipway.sqlite").display().to_string(),
            Place::Server(database) => Postgres::shared().url(database),
        }
    }

    /// The same database in another process, as far as it knows.
    pub(crate) async fn again(&self) -> Store {
        open(&self.place()).await
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(self.place())
    }

    /// A connection of somebody else's, to look at and to spoil rows.
    pub(crate) async fn stranger(&self) -> SqliteConnection {
        connect(&self.path()).await
    }

    /// Runs statements behind the store's back.
    pub(crate) async fn spoil(&self, sql: impl Into<String>) {
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.into()));
        if is_postgres() {
            let mut db = PgConnection::connect(&self.place()).await.unwrap();
            sql.execute(&mut db).await.unwrap();
            return db.close().await.unwrap();
        }
        let mut db = self.stranger().await;
        sql.execute(&mut db).await.unwrap();
        db.close().await.unwrap();
    }

    /// Reads texts behind the store's back.
    pub(crate) async fn texts(&self, sql: impl Into<String>) -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(sql.into());
        if is_postgres() {
            let mut db = PgConnection::connect(&self.place()).await.unwrap();
            return sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap();
        }
        sqlx::query_scalar(sql).fetch_all(&mut self.stranger().await).await.unwrap()
    }

    /// Reads a number behind the store's back.
    pub(crate) async fn number(&self, sql: impl Into<String>) -> i64 {
        let sql = sqlx::AssertSqlSafe(sql.into());
        if is_postgres() {
            let mut db = PgConnection::connect(&self.place()).await.unwrap();
            return sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap();
        }
        sqlx::query_scalar(sql).fetch_one(&mut self.stranger().await).await.unwrap()
    }

    /// The words of the events of a service, for reading aloud.
    pub(crate) async fn story(&self, service: ServiceId) -> Vec<String> {
        let events = self.list_events(&format!("service/{service}"), 0, 1000).await.unwrap();
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event.seq, index as u64 + 1, "the numbers never skip");
        }
        events.iter().map(|event| word(&event.kind)).collect()
    }

    pub(crate) async fn service(&self, id: ServiceId) -> Service {
        self.find_service_by_id(id).await.unwrap().unwrap()
    }
}

pub(crate) async fn connect(path: &Path) -> SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).foreign_keys(false);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// An event in a few words.
pub(crate) fn word(kind: &EventKind) -> String {
    match kind {
        EventKind::ChangeRequested { change, .. } => format!("{change} asked"),
        EventKind::ReleaseCreated { release } => format!("release {release} made"),
        EventKind::ReleaseLive { release } => format!("release {release} live"),
        EventKind::ReleaseFailed { release, .. } => format!("release {release} failed"),
        EventKind::StateChanged { from, to, .. } => format!("{from} to {to}"),
        EventKind::ChangeDone { change } => format!("{change} done"),
        EventKind::ChangeFailed { change, code, .. } => format!("{change} failed: {code}"),
        EventKind::CrashLoop { release, .. } => format!("crash loop of {release}"),
        EventKind::ContainerDied { release, .. } => format!("container of {release} died"),
        EventKind::ContainerRestarted { release } => format!("container of {release} back"),
        EventKind::Stopped => "stopped".to_owned(),
        EventKind::Deleted => "deleted".to_owned(),
        EventKind::Image { change, .. } => format!("image {change}"),
        EventKind::Task { change, .. } => format!("task {change}"),
        EventKind::Token { change, .. } => format!("token {change}"),
        EventKind::BuildRequested { generation, .. } => format!("build {generation} asked"),
        EventKind::BuildBegan { attempt, .. } => format!("build begun, attempt {attempt}"),
        EventKind::BuildStep { step, ended, .. } => format!("{step} {}", ended.as_deref().unwrap_or("begun")),
        EventKind::BuildOutput { step, lines } => format!("{step} said {}", lines.len()),
        EventKind::BuildReturned { .. } => "build returned".to_owned(),
        EventKind::BuildSucceeded { .. } => "build made".to_owned(),
        EventKind::BuildFailed { code, .. } => format!("build failed: {code}"),
        EventKind::BuildCancelled { .. } => "build cancelled".to_owned(),
    }
}

/// Waits until `condition` holds, at most [`LIMIT`].
pub(crate) async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, holds).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// A worker that takes everything.
pub(crate) fn who(worker: &str) -> Claimant {
    Claimant::named(worker)
}

pub(crate) fn default_project() -> ProjectName {
    "default".parse().unwrap()
}

pub(crate) fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

pub(crate) fn new_container() -> ContainerId {
    ContainerId(Uuid::new_v4())
}

pub(crate) fn deploy_of(url: &str) -> TaskPayload {
    TaskPayload::Deploy(Deploy {
        program: DeployProgram::Content {
            content: Content::Url { url: url.to_owned() },
            kind: ContentKind::Script,
            runner: Runner::Native,
        },
        env: BTreeMap::from([("GREETING".to_owned(), "hello 'world' \"—\"".to_owned())]),
        limits: Limits::default(),
        health: HealthCheck::default(),
        egress: shipway_model::Egress::None,
    })
}

pub(crate) fn spec() -> ReleaseSpec {
    ReleaseSpec {
        program: ReleaseProgram::Content {
            source: Source {
                digest: Digest::from_sha256([7; 32]),
                size_bytes: 42,
                content_type: Some("text/x-shellscript".to_owned()),
                file_name: Some("hello.sh".to_owned()),
                url: Some("http://127.0.0.1/hello.sh".to_owned()),
            },
            kind: ContentKind::Script,
            runner: Runner::Native,
        },
        root: RootFs::HostImage { digest: Digest::from_sha256([9; 32]) },
        env: BTreeMap::new(),
        limits: Limits::default(),
        health: HealthCheck::default(),
        egress: shipway_model::Egress::None,
    }
}

pub(crate) fn failure() -> Failure {
    Failure {
        code: FailureCode::ReleaseNotReady,
        detail: "the probe saw nothing".to_owned(),
        hint: None,
        log_tail: vec!["exec format error".to_owned()],
    }
}

pub(crate) const fn done(release: Option<u32>) -> Outcome {
    Outcome::Done { release, changed: true }
}

pub(crate) fn first_deploy(of: &str) -> Request {
    Request {
        project: default_project(),
        target: Target::NamedOrNew(name(of), ServiceId(Uuid::new_v4())),
        payload: deploy_of("http://127.0.0.1/hello.sh"),
        actor: "local".to_owned(),
        if_version: None,
    }
}

pub(crate) fn change(service: ServiceId, payload: TaskPayload) -> Request {
    Request {
        project: default_project(),
        target: Target::Existing(service),
        payload,
        actor: "local".to_owned(),
        if_version: None,
    }
}

pub(crate) fn instance_of(release: &Release, role: InstanceRole) -> Instance {
    Instance {
        container: new_container(),
        service: release.service,
        release: release.number,
        role,
        endpoint: Some(shipway_model::instance::Endpoint::Dialer {
            path: "/run/shipway/dial".to_owned(),
            protocol: shipway_model::Protocol::Http1,
        }),
        failures: 0,
        started_at: Some(1),
        handle: Some("opaque".to_owned()),
    }
}

impl World {
    pub(crate) async fn ask_first(&self, of: &str) -> Accepted {
        self.request(first_deploy(of)).await.unwrap()
    }

    pub(crate) async fn ask(&self, service: ServiceId, payload: TaskPayload) -> Accepted {
        self.request(change(service, payload)).await.unwrap()
    }

    /// Claims, expecting a task.
    pub(crate) async fn take(&self) -> Lease {
        self.claim(&who("worker"), LONG).await.unwrap().expect("a task is due")
    }

    /// Claims under a lease that runs out at once, and waits until it has.
    pub(crate) async fn take_and_lose(&self) -> Lease {
        let terms = LeaseTerms { heartbeat: Duration::from_millis(1), deadline: Duration::from_millis(1) };
        let lease = self.claim(&who("slow"), terms).await.unwrap().expect("a task is due");
        wait_until("the lease runs out", async || self.now().await.unwrap() >= lease.deadline).await;
        lease
    }

    /// Ends the rests of tasks whose worker was lost more than once; those that wait for
    /// longer than a minute go on waiting.
    pub(crate) async fn end_rests(&self) {
        let soon = "state = 'queued' AND not_before < created_at + 60000000";
        self.spoil(format!("UPDATE task SET not_before = created_at WHERE {soon}")).await;
    }

    /// Makes a release with a candidate and publishes it under the lease.
    pub(crate) async fn make_live(&self, lease: &Lease) -> (Release, Instance) {
        let release = self.add_release(lease, &spec()).await.unwrap();
        let instance = instance_of(&release, InstanceRole::Candidate);
        self.put_instance(lease, &instance).await.unwrap();
        let outcome = done(Some(release.number));
        self.publish(lease, release.number, instance.container, &outcome).await.unwrap();
        (release, instance)
    }

    /// A service that is live with release 1.
    pub(crate) async fn live_service(&self, of: &str) -> ServiceId {
        let accepted = self.ask_first(of).await;
        let lease = self.take().await;
        assert_eq!(lease.task.id, accepted.task);
        self.make_live(&lease).await;
        accepted.service.id
    }
}

#[track_caller]
pub(crate) fn assert_stale<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Stale)), "{result:?}");
}

#[track_caller]
pub(crate) fn assert_not_found<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: &str) {
    match result {
        Err(StoreError::NotFound(what)) => assert_eq!(what, expected),
        other => panic!("{other:?}"),
    }
}

/// The reason an `Unavailable` gives.
#[track_caller]
pub(crate) fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

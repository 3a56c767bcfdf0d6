//! A store with services in it, whose rows can be made older.

use std::collections::BTreeMap;
use std::time::Duration;

use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{
    ContainerId, ContentKind, Digest, Egress, HealthCheck, Instance, InstanceRole, Limits, Outcome, ProjectName,
    ReleaseProgram, ReleaseSpec, RootFs, Runner, ServiceId, Source, TaskPayload,
};
use shipway_store::{Accepted, Claimant, Lease, LeaseTerms, Request, Store, Target};
use sqlx::Connection as _;
use uuid::Uuid;

pub(crate) const LONG: LeaseTerms =
    LeaseTerms { heartbeat: Duration::from_secs(600), deadline: Duration::from_secs(3600) };

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) folder: tempfile::TempDir,
}

impl std::ops::Deref for World {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

pub(crate) async fn world() -> World {
    let (store, folder) = Store::open_temporary().await.unwrap();
    World { store, folder }
}

pub(crate) fn source(digest: &Digest) -> Source {
    Source { digest: digest.clone(), size_bytes: 1, content_type: None, file_name: None, url: None }
}

pub(crate) fn deploy(content: Content) -> TaskPayload {
    TaskPayload::Deploy(Deploy {
        program: DeployProgram::Content { content, kind: ContentKind::Static, runner: Runner::Native },
        env: BTreeMap::new(),
        limits: Limits::default(),
        health: HealthCheck::default(),
        egress: Egress::None,
    })
}

pub(crate) fn spec(content: &Digest, root: &Digest) -> ReleaseSpec {
    ReleaseSpec {
        program: ReleaseProgram::Content { source: source(content), kind: ContentKind::Static, runner: Runner::Native },
        root: RootFs::HostImage { digest: root.clone() },
        env: BTreeMap::new(),
        limits: Limits::default(),
        health: HealthCheck::default(),
        egress: Egress::None,
    }
}

pub(crate) fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

impl World {
    pub(crate) async fn ask(&self, name: &str, payload: TaskPayload) -> Accepted {
        let request = Request {
            project: ProjectName::default(),
            target: Target::NamedOrNew(name.parse().unwrap(), ServiceId(Uuid::new_v4())),
            payload,
            actor: "local".to_owned(),
            if_version: None,
        };
        self.request(request).await.unwrap()
    }

    pub(crate) async fn take(&self) -> Lease {
        self.claim(&Claimant::named("worker"), LONG).await.unwrap().expect("a task is due")
    }

    /// Deploys to the end: one more release, live.
    pub(crate) async fn deploy(&self, name: &str, content: &Digest, root: &Digest) -> ServiceId {
        let url = Content::Url { url: "http://127.0.0.1/".to_owned() };
        let service = self.ask(name, deploy(url)).await.service.id;
        let lease = self.take().await;
        self.go_live(&lease, content, root).await;
        service
    }

    pub(crate) async fn go_live(&self, lease: &Lease, content: &Digest, root: &Digest) {
        let release = self.add_release(lease, &spec(content, root)).await.unwrap();
        let instance = Instance {
            container: ContainerId(Uuid::new_v4()),
            service: release.service,
            release: release.number,
            role: InstanceRole::Candidate,
            endpoint: None,
            failures: 0,
            started_at: Some(1),
            handle: None,
        };
        self.put_instance(lease, &instance).await.unwrap();
        let outcome = Outcome::Done { release: Some(release.number), changed: true };
        self.publish(lease, release.number, instance.container, &outcome).await.unwrap();
    }

    /// Runs statements behind the store's back.
    pub(crate) async fn spoil(&self, sql: &'static str) {
        let path = self.folder.path().join("shipway.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut db = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut db).await.unwrap();
        db.close().await.unwrap();
    }
}

//! What a worker would make of each task.

use std::collections::BTreeSet;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{
    ContainerId, Digest, Failure, FailureCode, Instance, InstanceRole, Outcome, ReleaseProgram, ReleaseSpec, RootFs,
    ServiceState, Source, TaskPayload, Wanted,
};
use shipway_stdx::shutdown::Shutdown;
use shipway_store::{Claimant, Lease, LeaseTerms, Store};
use tokio::sync::watch;

use super::builder::Workshop;

const TERMS: LeaseTerms = LeaseTerms { heartbeat: Duration::from_secs(60), deadline: Duration::from_secs(60) };

/// Works on tasks while `working` says so, on builds while `building` does, too.
pub(super) async fn work(
    store: Store,
    workshop: Workshop,
    mut working: watch::Receiver<bool>,
    mut building: watch::Receiver<bool>,
    mut shutdown: Shutdown,
) {
    let mut notices = store.notices();
    loop {
        notices.mark_unchanged();
        let at_work = *working.borrow_and_update();
        let labels = if *building.borrow_and_update() { Workshop::labels() } else { BTreeSet::new() };
        let claimant = Claimant { labels, ..Claimant::named("world") };
        let lease = match at_work {
            // A store that a test has broken comes back, or the test ends.
            true => store.claim(&claimant, TERMS).await.unwrap_or(None),
            false => None,
        };
        if let Some(lease) = lease {
            if lease.task.payload == TaskPayload::Build {
                workshop.carry_out(&store, &lease).await;
                continue;
            }
            carry_out(&store, &lease).await;
            continue;
        }
        tokio::select! {
            _ = notices.changed() => {}
            _ = working.changed() => {}
            _ = building.changed() => {}
            () = shutdown.requested() => return,
        }
    }
}

async fn carry_out(store: &Store, lease: &Lease) {
    let service = store.find_service_by_id(lease.task.subject.service().unwrap()).await.unwrap().unwrap();
    let live = service.state.live_release();
    match lease.task.payload.clone() {
        TaskPayload::Deploy(asked) => deploy(store, lease, asked, live).await,
        TaskPayload::Rollback { release } => publish(store, lease, release).await,
        TaskPayload::Start => match live {
            Some(release) => publish(store, lease, release).await,
            None => fail(store, lease, FailureCode::NothingToStart, "nothing was ever live").await,
        },
        TaskPayload::Stop => {
            let stopped = ServiceState::Stopped { release: live };
            store.set_service_state(lease, stopped, Some(Wanted::Stopped)).await.unwrap();
            done(store, lease, live, true).await;
        }
        TaskPayload::Delete => store.delete_service(lease).await.unwrap(),
        TaskPayload::Restart | TaskPayload::Repair => done(store, lease, live, true).await,
        TaskPayload::Build => unreachable!("a service is no build"),
    }
}

async fn deploy(store: &Store, lease: &Lease, asked: Deploy, live: Option<u32>) {
    let (program, root) = match asked.program {
        DeployProgram::Content { content: Content::Blob(source), kind, runner } => {
            (ReleaseProgram::Content { source, kind, runner }, host_image())
        }
        DeployProgram::Content { content: Content::Url { url }, kind, runner } => match fetch(&url) {
            Ok(source) => (ReleaseProgram::Content { source, kind, runner }, host_image()),
            Err(code) => return fail(store, lease, code, "example.com answered 404 instead of 200").await,
        },
        DeployProgram::ContentInImage { content: Content::Blob(source), kind, runner, image_digest: digest } => {
            (ReleaseProgram::Content { source, kind, runner }, RootFs::Image { digest })
        }
        DeployProgram::ContentInImage { content: Content::Url { .. }, .. } => {
            return fail(store, lease, FailureCode::FetchFailed, "only uploads are put into images here").await;
        }
        DeployProgram::Command { image, image_digest: digest, command, port, protocol } => {
            (ReleaseProgram::Command { image, command, port, protocol }, RootFs::Image { digest })
        }
    };
    let spec =
        ReleaseSpec { program, root, env: asked.env, limits: asked.limits, health: asked.health, egress: asked.egress };
    let broken = spec.source().and_then(|source| source.url.as_deref()).is_some_and(|url| url.ends_with("/broken"));
    if let Some(number) = live {
        let now = store.find_release(lease.task.subject.service().unwrap(), number).await.unwrap().unwrap();
        if now.spec == spec {
            return done(store, lease, live, false).await;
        }
    }
    let release = store.add_release(lease, &spec).await.unwrap();
    if broken {
        let failure = Failure {
            code: FailureCode::ReleaseNotReady,
            detail: "no answer within 10 s".to_owned(),
            hint: Some("see its log".to_owned()),
            log_tail: vec!["sh: syntax error".to_owned()],
        };
        store.fail_release(lease, release.number, &failure).await.unwrap();
        return;
    }
    publish(store, lease, release.number).await;
}

fn host_image() -> RootFs {
    RootFs::HostImage { digest: Digest::from_sha256([1; 32]) }
}

/// The internet: everything is there but what is called `missing`.
fn fetch(url: &str) -> Result<Source, FailureCode> {
    match url.rsplit('/').next() {
        Some("missing") => Err(FailureCode::FetchStatus),
        Some("private") => Err(FailureCode::FetchRefused),
        _ => Ok(Source {
            digest: Digest::from_sha256(Sha256::digest(url).into()),
            size_bytes: 100,
            content_type: None,
            file_name: url.rsplit('/').next().map(str::to_owned),
            url: Some(url.to_owned()),
        }),
    }
}

async fn publish(store: &Store, lease: &Lease, release: u32) {
    let container = ContainerId(uuid::Uuid::new_v4());
    let instance = Instance {
        container,
        service: lease.task.subject.service().unwrap(),
        release,
        role: InstanceRole::Candidate,
        endpoint: None,
        failures: 0,
        started_at: None,
        handle: None,
    };
    store.put_instance(lease, &instance).await.unwrap();
    let outcome = Outcome::Done { release: Some(release), changed: true };
    store.publish(lease, release, container, &outcome).await.unwrap();
}

async fn done(store: &Store, lease: &Lease, release: Option<u32>, changed: bool) {
    let outcome = Outcome::Done { release, changed };
    store.finish(lease, &outcome).await.unwrap();
}

async fn fail(store: &Store, lease: &Lease, code: FailureCode, detail: &str) {
    let failure = Failure { code, detail: detail.to_owned(), hint: None, log_tail: Vec::new() };
    store.finish(lease, &Outcome::Failed(failure)).await.unwrap();
}

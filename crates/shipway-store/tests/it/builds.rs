//! Builds: one for all who ask for the same, made under a lease, published whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shipway_model::task::BUILDS;
use shipway_model::{
    Build, BuildState, Digest, Document, EventKind, Failure, FailureCode, Made, Outcome, ProjectName, Subject,
    TaskPayload,
};
use shipway_store::{BuildFilter, BuildRequest, Claimant, Lease, LeaseTerms, Store, StoreError};

use super::world::*;

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);

fn wish(key: &str, after: u32) -> BuildRequest {
    BuildRequest {
        project: default_project(),
        recipe: "caddy".to_owned(),
        key: key.to_owned(),
        spec: "{\"v\":1}".to_owned(),
        actor: "local".to_owned(),
        after,
        labels: BTreeSet::new(),
    }
}

fn made() -> Made {
    Made {
        digest: Digest::from_sha256([7; 32]),
        size_bytes: 48 << 20,
        file_name: "caddy".to_owned(),
        chunks: Some(Digest::from_sha256([8; 32])),
        documents: BTreeMap::from([(Document::Minisig, "sig".to_owned()), (Document::Sbom, "{}".to_owned())]),
    }
}

fn builder(name: &str) -> Claimant {
    Claimant { labels: BTreeSet::from([BUILDS.to_owned()]), ..Claimant::named(name) }
}

const TERMS: LeaseTerms = LeaseTerms { heartbeat: Duration::from_secs(20), deadline: Duration::from_secs(60) };

async fn take(store: &Store) -> Lease {
    store.claim(&builder("b1"), TERMS).await.unwrap().expect("a build waits")
}

async fn again(store: &Store, build: &Build) -> Build {
    store.find_build(build.id).await.unwrap().unwrap()
}

fn failure(code: FailureCode) -> Failure {
    Failure { code, detail: "it is so".to_owned(), hint: None, log_tail: Vec::new() }
}

async fn timeline(store: &Store, build: &Build) -> Vec<String> {
    let events = store.list_events(&format!("build/{}", build.id), 0, 100).await.unwrap();
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "no number is missing");
    events.iter().map(|event| word(&event.kind)).collect()
}

#[tokio::test]
async fn all_who_ask_for_one_key_are_given_one_build() {
    let world = world().await;
    let asked: Vec<_> = (0..20).map(|_| world.request_build(wish(KEY, 0))).collect();
    let given: Vec<(Build, bool)> =
        futures_util::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(given.iter().filter(|(_, created)| *created).count(), 1);
    let ids: BTreeSet<_> = given.iter().map(|(build, _)| build.id).collect();
    assert_eq!(ids.len(), 1);
    let build = &given[0].0;
    assert_eq!((build.generation, &build.state, build.key.as_str()), (1, &BuildState::Pending, KEY));
    assert_eq!(world.find_build_of_key(&default_project(), KEY).await.unwrap().as_ref(), Some(build));
    let other: ProjectName = "other".parse().unwrap();
    assert_eq!(world.find_build_of_key(&other, KEY).await.unwrap(), None, "a key is its project's");
    let lease = take(&world.store).await;
    assert_eq!((lease.task.subject, &lease.task.payload), (Subject::Build(build.id), &TaskPayload::Build));
    assert!(world.claim(&builder("b2"), TERMS).await.unwrap().is_none(), "there is one task");
}

#[tokio::test]
async fn only_a_worker_that_makes_builds_gets_one() {
    let world = world().await;
    world.request_build(wish(KEY, 0)).await.unwrap();
    assert!(world.claim(&Claimant::named("w"), TERMS).await.unwrap().is_none());
    take(&world.store).await;
}

#[tokio::test]
async fn an_artifact_is_published_with_all_that_belongs_to_it() {
    let world = world().await;
    let (build, _) = world.request_build(wish(KEY, 0)).await.unwrap();
    let lease = take(&world.store).await;
    let begun = world.begin_build(&lease, "b1", HOUR).await.unwrap();
    assert_eq!((begun.state, begun.spec.as_str()), (BuildState::Building, "{\"v\":1}"));
    world
        .append_event(&lease, &EventKind::BuildOutput { step: "compile".into(), lines: vec!["a".into()] })
        .await
        .unwrap();
    world.publish_build(&lease, &made()).await.unwrap();
    let done = world.wait_build(build.id, HOUR).await.unwrap();
    let BuildState::Success(artifact) = &done.state else { panic!("{done:?}") };
    assert_eq!(
        (&artifact.digest, artifact.size_bytes, artifact.file_name.as_str()),
        (&made().digest, 48 << 20, "caddy")
    );
    assert_eq!(artifact.chunks, made().chunks);
    assert!(artifact.made_at >= build.created_at);
    assert_eq!(world.list_documents(build.id).await.unwrap(), [Document::Minisig, Document::Sbom]);
    assert_eq!(world.find_document(build.id, Document::Minisig).await.unwrap().as_deref(), Some("sig"));
    assert_eq!(world.find_document(build.id, Document::Asc).await.unwrap(), None);
    for text in ["{}", "{\"a\":[]}"] {
        assert!(world.put_registrations(build.id, text).await.unwrap());
        let found = world.find_document(build.id, Document::Registrations).await.unwrap();
        assert_eq!(found.as_deref(), Some(text));
    }
    let nobody = "3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb".parse().unwrap();
    assert!(!world.put_registrations(nobody, "{}").await.unwrap(), "there is no such artifact");
    let task = world.find_task(lease.task.id).await.unwrap().unwrap();
    assert!(matches!(task.state, shipway_model::TaskState::Ended(Outcome::Done { release: None, changed: true })));
    let told = timeline(&world.store, &build).await;
    assert_eq!(told, ["build 1 asked", "build begun, attempt 1", "compile said 1", "build made"]);
    let work = world.find_build_work(build.id).await.unwrap().unwrap();
    assert_eq!((work.attempt, work.worker.as_deref()), (1, Some("b1")));
}

#[tokio::test]
async fn a_lease_that_is_lost_publishes_nothing() {
    let world = world().await;
    let (build, _) = world.request_build(wish(KEY, 0)).await.unwrap();
    let zombie = take(&world.store).await;
    world.begin_build(&zombie, "b1", HOUR).await.unwrap();
    world.rescue(true).await.unwrap();
    assert_eq!(again(&world.store, &build).await.state, BuildState::Pending);
    let next = take(&world.store).await;
    assert!(matches!(world.publish_build(&zombie, &made()).await, Err(StoreError::Stale)));
    assert!(matches!(world.begin_build(&zombie, "b1", HOUR).await, Err(StoreError::Stale)));
    world.begin_build(&next, "b1", HOUR).await.unwrap();
    world.publish_build(&next, &made()).await.unwrap();
    assert!(matches!(world.publish_build(&next, &made()).await, Err(StoreError::Stale)), "once");
    let told = timeline(&world.store, &build).await;
    let again = ["build begun, attempt 1", "build returned", "build begun, attempt 2", "build made"];
    assert_eq!(told[1..], again);
}

#[tokio::test]
async fn a_build_may_take_longer_than_its_lease_was_given_for() {
    let world = world().await;
    world.request_build(wish(KEY, 0)).await.unwrap();
    let short = LeaseTerms { heartbeat: Duration::from_secs(20), deadline: Duration::from_millis(500) };
    let lease = world.claim(&builder("b1"), short).await.unwrap().unwrap();
    world.begin_build(&lease, "b1", HOUR).await.unwrap();
    let began = std::time::Instant::now();
    wait_until("the first deadline has passed", async || began.elapsed() > Duration::from_millis(600)).await;
    world.heartbeat(&lease, TERMS).await.unwrap();
    world.publish_build(&lease, &made()).await.unwrap();
}

#[tokio::test]
async fn a_failure_is_the_builds_own_and_the_next_generation_starts_afresh() {
    let world = world().await;
    let (build, _) = world.request_build(wish(KEY, 0)).await.unwrap();
    let lease = take(&world.store).await;
    world.begin_build(&lease, "b1", HOUR).await.unwrap();
    world.finish(&lease, &Outcome::Failed(failure(FailureCode::CompileFailed))).await.unwrap();
    let failed = again(&world.store, &build).await;
    assert_eq!(failed.state, BuildState::Failed(failure(FailureCode::CompileFailed)));
    let (same, created) = world.request_build(wish(KEY, 0)).await.unwrap();
    assert_eq!((same, created), (failed, false), "who asks hears of it");
    let (next, created) = world.request_build(wish(KEY, 1)).await.unwrap();
    assert!(created && next.generation == 2 && next.id != build.id);
    let (same, created) = world.request_build(wish(KEY, 1)).await.unwrap();
    assert_eq!((same.id, created), (next.id, false), "of two who want it anew one begins it");
    let (same, created) = world.request_build(wish(KEY, 2)).await.unwrap();
    assert_eq!((same.id, created), (next.id, false), "what is not made yet is not made anew");
    let listed = world.list_builds(&default_project(), &BuildFilter::default(), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|build| build.generation).collect::<Vec<_>>(), [2, 1]);
    let only = BuildFilter { state: Some("failed".to_owned()), recipe: Some("caddy".to_owned()) };
    let listed = world.list_builds(&default_project(), &only, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|build| build.generation).collect::<Vec<_>>(), [1]);
    let older = world.list_builds(&default_project(), &BuildFilter::default(), Some(next.number), 10).await.unwrap();
    assert_eq!(older.len(), 1);
}

#[tokio::test]
async fn a_cancelled_build_is_taken_from_whoever_has_it() {
    let world = world().await;
    let (build, _) = world.request_build(wish(KEY, 0)).await.unwrap();
    let other: ProjectName = "other".parse().unwrap();
    let refused = world.cancel_build(&other, build.id, "local").await;
    assert!(matches!(refused, Err(StoreError::NotFound("build"))), "{refused:?}");
    let lease = take(&world.store).await;
    world.begin_build(&lease, "b1", HOUR).await.unwrap();
    let cancelled = world.cancel_build(&default_project(), build.id, "local").await.unwrap();
    assert_eq!(cancelled.state, BuildState::Cancelled);
    assert!(matches!(world.heartbeat(&lease, TERMS).await, Err(StoreError::Stale)));
    assert!(matches!(world.publish_build(&lease, &made()).await, Err(StoreError::Stale)));
    assert!(world.claim(&builder("b2"), TERMS).await.unwrap().is_none());
    let twice = world.cancel_build(&default_project(), build.id, "local").await.unwrap();
    assert_eq!(twice, cancelled);
    let told = timeline(&world.store, &build).await;
    assert_eq!(told, ["build 1 asked", "build begun, attempt 1", "build cancelled"]);
    let (next, created) = world.request_build(wish(KEY, 1)).await.unwrap();
    assert!(created, "{next:?}");
}

#[tokio::test]
async fn a_build_that_nobody_can_make_is_given_up_and_may_be_asked_for_again() {
    let world = world().await;
    let (build, _) = world.request_build(wish(KEY, 0)).await.unwrap();
    let mut last = None;
    while let Some(lease) = world.claim(&builder("b1"), TERMS).await.unwrap() {
        world.begin_build(&lease, "b1", HOUR).await.unwrap();
        last = Some(lease.task.id);
        world.give_back(&lease, Duration::ZERO, true).await.unwrap();
    }
    let failed = again(&world.store, &build).await;
    assert!(matches!(&failed.state, BuildState::Failed(failure) if failure.detail.contains("given up")), "{failed:?}");
    world.requeue(last.unwrap(), "local").await.unwrap();
    assert_eq!(again(&world.store, &build).await.state, BuildState::Pending);
    let lease = take(&world.store).await;
    world.begin_build(&lease, "b1", HOUR).await.unwrap();
    world.publish_build(&lease, &made()).await.unwrap();
    assert!(matches!(again(&world.store, &build).await.state, BuildState::Success(_)));
}

#[tokio::test]
async fn who_waits_for_a_build_hears_of_its_end() {
    let world = world().await;
    let (build, _) = world.request_build(wish(KEY, 0)).await.unwrap();
    let still = world.wait_build(build.id, Duration::ZERO).await.unwrap();
    assert_eq!(still.state, BuildState::Pending);
    let waiting = {
        let store = world.store.clone();
        tokio::spawn(async move { store.wait_build(build.id, HOUR).await.unwrap().state })
    };
    world.cancel_build(&default_project(), build.id, "local").await.unwrap();
    assert_eq!(waiting.await.unwrap(), BuildState::Cancelled);
}

#[tokio::test]
async fn old_builds_are_forgotten_and_their_artifacts_needed_no_more() {
    let world = world().await;
    let (build, _) = world.request_build(wish(KEY, 0)).await.unwrap();
    let lease = take(&world.store).await;
    world.begin_build(&lease, "b1", HOUR).await.unwrap();
    world.publish_build(&lease, &made()).await.unwrap();
    let (open, _) = world.request_build(wish(&KEY.replace('0', "9"), 0)).await.unwrap();
    let needed = world.needed_digests().await.unwrap().unwrap();
    assert!(needed.contains(&made().digest), "{needed:?}");
    assert_eq!(world.forget_builds(HOUR, 10, 100).await.unwrap(), 0, "too young, too few");
    assert_eq!(world.forget_builds(HOUR, 0, 100).await.unwrap(), 1, "one has a newer one; that is not over");
    assert_eq!(world.find_build(build.id).await.unwrap(), None);
    assert_eq!(again(&world.store, &open).await.state, BuildState::Pending);
    assert_eq!(world.needed_digests().await.unwrap(), Some(BTreeSet::new()));
    world.cancel_build(&default_project(), open.id, "local").await.unwrap();
    assert_eq!(world.forget_builds(Duration::ZERO, 10, 100).await.unwrap(), 1);
}

//! Opening a database: a new one, an old one, a newer one, none at all.

use std::os::unix::fs::{FileExt, PermissionsExt};

use shipway_model::{Build, BuildState, Outcome, ReleaseProgram, ReleaseSpec, RootFs, TaskState};
use shipway_store::{BuildFilter, OpenError, SCHEMA, Store};

use crate::sqlite::world::*;

#[tokio::test]
async fn the_database_is_for_its_owner_alone() {
    let world = world().await;
    world.ask_first("hello").await;
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", world.path().display());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_database_that_others_could_read_is_closed_to_them() {
    let world = world().await;
    std::fs::set_permissions(world.path(), PermissionsExt::from_mode(0o644)).unwrap();
    Store::open(&world.path()).await.unwrap();
    assert_eq!(std::fs::metadata(world.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let world = world().await;
    let id = world.live_service("hello").await;
    let service = world.service(id).await;
    world.close().await;
    let store = Store::open(&world.path()).await.unwrap();
    assert_eq!(store.find_service_by_id(id).await.unwrap(), Some(service));
    let reason = unavailable(world.find_service_by_id(id).await);
    assert_eq!(reason, "it is closed");
}

#[tokio::test]
async fn writes_survive_a_power_cut_by_setting() {
    let world = world().await;
    let mut db = world.stranger().await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut db).await.unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(world.setting("synchronous").await.unwrap(), 2, "FULL");
    world.ask_first("hello").await;
    world.take().await;
    assert_eq!(world.setting("synchronous").await.unwrap(), 1, "NORMAL, for a claim");
    world.ask_first("another").await;
    assert_eq!(world.setting("synchronous").await.unwrap(), 2, "FULL again");
    assert_eq!(world.setting("foreign_keys").await.unwrap(), 1);
    assert_eq!(world.setting("busy_timeout").await.unwrap(), 2000);
    assert_eq!(world.setting("max_page_count").await.unwrap(), 4 << 20);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_untouched() {
    let world = world().await;
    world.ask_first("hello").await;
    world.close().await;
    world.spoil("INSERT INTO schema_version (version, applied_at) VALUES (999, 1)").await;
    let before = std::fs::read(world.path()).unwrap();
    let refused = Store::open(&world.path()).await;
    assert!(matches!(refused, Err(OpenError::Newer { found: 999, least: 999, known: SCHEMA })), "{refused:?}");
    assert_eq!(std::fs::read(world.path()).unwrap(), before);
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "dear diary, ".repeat(1000);
    put(&path, text.as_bytes());
    let refused = Store::open(&path).await;
    assert!(matches!(&refused, Err(OpenError::Open { path, .. }) if path.ends_with("notes.txt")), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Store::open(&folder.path().join("nowhere/shipway.sqlite")).await;
    assert!(matches!(refused, Err(OpenError::Open { .. })), "{refused:?}");
    assert!(!folder.path().join("nowhere").exists());
}

#[tokio::test]
async fn an_odd_path_is_a_path_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file:a b?mode=memory&x=%00#é");
    let store = Store::open(&path).await.unwrap();
    store.request(first_deploy("hello")).await.unwrap();
    store.close().await;
    assert!(std::fs::metadata(&path).unwrap().len() > 0);
}

#[tokio::test]
async fn two_that_open_a_new_database_at_once_both_find_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shipway.sqlite");
    let opened = futures_util::future::join_all((0..8).map(|_| Store::open(&path))).await;
    for (index, store) in opened.into_iter().enumerate() {
        store.unwrap().request(first_deploy(&format!("service-{index}"))).await.unwrap();
    }
}

pub(crate) fn put(path: &std::path::Path, bytes: &[u8]) {
    std::fs::File::create(path).unwrap().write_all_at(bytes, 0).unwrap();
}

/// Each schema as its first release wrote it. None is ever made anew: a later
/// version must read what this one left.
#[tokio::test]
async fn every_schema_there_was_is_read_for_ever() {
    is_read(include_bytes!("../fixtures/schema-0001.sqlite"), include_str!("../fixtures/schema-0001.txt")).await;
    is_read(include_bytes!("../fixtures/schema-0002.sqlite"), include_str!("../fixtures/schema-0002.txt")).await;
    is_read(include_bytes!("../fixtures/schema-0003.sqlite"), include_str!("../fixtures/schema-0003.txt")).await;
    is_read(include_bytes!("../fixtures/schema-0004.sqlite"), include_str!("../fixtures/schema-0004.txt")).await;
    is_read(include_bytes!("../fixtures/schema-0005.sqlite"), include_str!("../fixtures/schema-0005.txt")).await;
}

async fn is_read(fixture: &[u8], text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shipway.sqlite");
    put(&path, fixture);
    let store = Store::open(&path).await.unwrap();
    let ids = "SELECT id FROM task ORDER BY number";
    let tasks = sqlx::query_scalar(ids).fetch_all(&mut connect(&path).await).await.unwrap();
    assert_eq!(describe(&store, tasks).await, text);
    store.request(first_deploy("one-more")).await.unwrap();
}

/// What the fixture holds, as text. Only words and numbers that later versions
/// will still have.
pub(crate) async fn describe(store: &Store, tasks: Vec<String>) -> String {
    let mut lines = Vec::new();
    for service in store.list_all_services(None, 100).await.unwrap() {
        let state = serde_json::to_string(&service.state).unwrap();
        lines.push(format!("{}/{} is {state}, version {}", service.project, service.name, service.version));
        for release in store.list_releases(service.id, None, 100).await.unwrap() {
            let (state, digest) = (serde_json::to_string(&release.state).unwrap(), what(&release.spec));
            lines.push(format!("  release {} of {digest} is {state}", release.number));
        }
        for instance in store.list_instances(Some(service.id)).await.unwrap() {
            let endpoint = serde_json::to_string(&instance.endpoint).unwrap();
            lines.push(format!("  container of {} is {:?} at {endpoint}", instance.release, instance.role));
        }
        for event in store.list_events(&format!("service/{}", service.id), 0, 100).await.unwrap() {
            lines.push(format!("  {} {}", event.seq, word(&event.kind)));
        }
    }
    for image in store.list_images(&default_project(), None, 100).await.unwrap() {
        let (digest, bytes, entries) = (image.digest.short(), image.size_bytes, image.entries);
        lines.push(format!("{} is {digest}: {entries} entries, {bytes} bytes, {}", image.name, image.source));
    }
    for task in tasks {
        let task = store.find_task(task.parse().unwrap()).await.unwrap().unwrap();
        lines.push(format!("{} attempt {}: {}", task.payload.kind(), task.attempt, task_word(&task.state)));
    }
    for token in store.list_tokens().await.unwrap() {
        lines.push(format!(
            "{} ({}) until {:?} used {}",
            token.name,
            token.role,
            token.expires_at,
            token.last_used_at.is_some()
        ));
    }
    for worker in store.list_workers().await.unwrap() {
        let (facts, state) = (worker.facts, worker.state.word());
        lines.push(format!("{} {state} with {:?} on {:?}", facts.id, facts.labels, facts.engine));
    }
    for task in store.list_given_up(0, 100).await.unwrap() {
        lines.push(format!("{} was given up after {}", task.kind, task.attempts));
    }
    for build in store.list_builds(&default_project(), &BuildFilter::default(), None, 100).await.unwrap() {
        describe_build(store, &build, &mut lines).await;
    }
    lines.join("\n") + "\n"
}

async fn describe_build(store: &Store, build: &Build, lines: &mut Vec<String>) {
    let end = match &build.state {
        BuildState::Success(it) => {
            let documents = store.list_documents(build.id).await.unwrap();
            format!(": {} {} of {} bytes with {documents:?}", it.file_name, it.digest.short(), it.size_bytes)
        }
        BuildState::Failed(failure) => format!(": {}", failure.detail),
        _ => String::new(),
    };
    lines.push(format!("{} {} of {} is {}{end}", build.recipe, build.generation, build.key, build.state.word()));
    for event in store.list_events(&format!("build/{}", build.id), 0, 100).await.unwrap() {
        lines.push(format!("  {} {}", event.seq, word(&event.kind)));
    }
}

fn what(spec: &ReleaseSpec) -> String {
    match (&spec.program, &spec.root) {
        (ReleaseProgram::Content { source, .. }, _) => source.digest.short(),
        (ReleaseProgram::Command { image, command, port, .. }, RootFs::Image { digest }) => {
            format!("{command:?} on {port} in {image} {}", digest.short())
        }
        other => panic!("{other:?}"),
    }
}

fn task_word(state: &TaskState) -> &'static str {
    match state {
        TaskState::Queued { .. } => "queued",
        TaskState::Running => "running",
        TaskState::Ended(Outcome::Done { .. }) => "done",
        TaskState::Ended(Outcome::Failed(_)) => "failed",
    }
}

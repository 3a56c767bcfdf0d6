//! Deploys: what was asked for comes live, or what was live stays.

use shipway_driver::LogStream;
use shipway_driver::fake::{Answers, StartFailure};
use shipway_model::task::{Content, DeployProgram};
use shipway_model::{EventKind, FailureCode, ReleaseState, TaskPayload};

use crate::origin::Origin;
use crate::platform::{Platform, deploy_of, done, failure};

#[tokio::test]
async fn the_first_deploy_comes_live() {
    let platform = Platform::new().await;
    assert_eq!(platform.deploy("a", "echo 1").await, done(Some(1), true));
    assert_eq!(platform.state("a").await, "live 1");
    let service = platform.find("a").await.unwrap().id;
    let container = platform.container(service).await.unwrap();
    let labels = platform.driver.workload(container).unwrap().labels;
    assert_eq!(labels["service"], service.to_string());
    platform.check(platform.unsettled().await);
}

#[tokio::test]
async fn a_url_is_fetched_each_time_and_the_same_content_changes_nothing() {
    let platform = Platform::new().await;
    let origin = Origin::new("echo 1").await;
    let url = || Content::Url { url: origin.url() };
    let put = || platform.change("a", TaskPayload::Deploy(deploy_of(url())));
    assert_eq!(put().await, done(Some(1), true));
    assert_eq!(put().await, done(Some(1), false));
    assert_eq!(platform.driver.made(), 1);
    origin.answer(200, "echo 2");
    assert_eq!(put().await, done(Some(2), true));
    let service = platform.find("a").await.unwrap().id;
    let release = platform.store.find_release(service, 2).await.unwrap().unwrap();
    let source = release.spec.source().unwrap();
    assert_eq!(source.content_type.as_deref(), Some("text/x-test"));
    assert_eq!(source.file_name.as_deref(), Some("hello.sh"));
    platform.settle().await;
}

#[tokio::test]
async fn an_origin_that_fails_leaves_everything_as_it_was() {
    let platform = Platform::new().await;
    let origin = Origin::new("echo 1").await;
    let url = || Content::Url { url: origin.url() };
    let put = || platform.change("a", TaskPayload::Deploy(deploy_of(url())));
    origin.answer(404, "no");
    let told = failure(put().await);
    assert_eq!(told.code, FailureCode::FetchStatus);
    assert!(told.detail.contains("404"), "{}", told.detail);
    assert_eq!(platform.state("a").await, "failed");
    origin.answer(200, "echo 1");
    assert_eq!(put().await, done(Some(1), true));
    origin.answer(500, "no");
    assert_eq!(failure(put().await).code, FailureCode::FetchStatus);
    assert_eq!(platform.state("a").await, "live 1");
    assert_eq!(platform.driver.made(), 1);
}

#[tokio::test]
async fn an_address_nobody_trusts_is_refused() {
    let platform = Platform::new().await;
    for url in ["http://169.254.169.254/x", "ftp://127.0.0.1/x", "nonsense"] {
        let content = Content::Url { url: url.to_owned() };
        let told = platform.change("a", TaskPayload::Deploy(deploy_of(content)));
        assert_eq!(failure(told.await).code, FailureCode::FetchRefused, "{url}");
    }
}

#[tokio::test]
async fn a_redeploy_drains_the_old_instance_before_it_stops() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let old = platform.container(service).await.unwrap();
    platform.visitors.are_busy(true);
    assert_eq!(platform.deploy("a", "echo 2").await, done(Some(2), true));
    let new = platform.container(service).await.unwrap();
    assert_ne!(old, new);
    // Somebody is still being answered: nothing that works may stop the old one.
    platform.worker.reconcile().await.unwrap();
    platform.work().await;
    assert_eq!(platform.driver.running(), [old, new]);
    // Nor does that keep the next deploy waiting.
    assert_eq!(platform.deploy("a", "echo 3").await, done(Some(3), true));
    platform.visitors.are_busy(false);
    platform.settle().await;
    assert!(platform.is_gone(old).await);
    let published = platform.visitors.published.lock().unwrap().clone();
    assert!(published.contains(&service), "the route is waited for first");
}

#[tokio::test]
async fn a_release_that_does_not_become_ready_changes_nothing_and_says_what_was_seen() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let live = platform.container(service).await;
    platform.driver.answer_new(Answers::Status(500, "boom".to_owned()));
    let told = failure(platform.deploy("a", "echo 2").await);
    assert_eq!(told.code, FailureCode::ReleaseNotReady);
    assert!(told.detail.contains("saw status 500"), "{}", told.detail);
    assert_eq!(platform.state("a").await, "live 1");
    assert_eq!(platform.container(service).await, live);
    let release = platform.store.find_release(service, 2).await.unwrap().unwrap();
    assert!(matches!(release.state, ReleaseState::Failed { .. }));
    platform.check(platform.unsettled().await);
}

#[tokio::test]
async fn the_first_release_may_fail_and_the_second_succeed() {
    let platform = Platform::new().await;
    platform.driver.answer_new(Answers::HangUp);
    let told = failure(platform.deploy("a", "echo 1").await);
    assert_eq!(told.code, FailureCode::ReleaseNotReady);
    assert_eq!(platform.state("a").await, "failed");
    platform.check(platform.unsettled().await);
    platform.driver.answer_new(Answers::Ready);
    assert_eq!(platform.deploy("a", "echo 1").await, done(Some(2), true));
}

#[tokio::test]
async fn a_container_that_dies_in_its_start_is_told_with_its_last_lines() {
    let platform = Platform::new().await;
    platform.driver.answer_new(Answers::Silent);
    let wish = platform.upload("exit 3").await;
    let (_, task) = platform.request("a", TaskPayload::Deploy(wish)).await;
    let kill = async {
        let container = loop {
            match platform.driver.running()[..] {
                [container] => break container,
                _ => tokio::task::yield_now().await,
            }
        };
        platform.driver.print(container, LogStream::Stderr, "no such file");
        platform.driver.exit(container, crate::platform::exit(3));
    };
    tokio::join!(platform.work(), kill);
    let told = failure(platform.outcome(task).await);
    assert!(told.detail.contains("exit status 3"), "{}", told.detail);
    assert_eq!(told.log_tail, ["no such file"]);
    platform.check(platform.unsettled().await);
}

#[tokio::test]
async fn an_engine_that_cannot_now_is_asked_again() {
    let platform = Platform::new().await;
    let full = || StartFailure::Unavailable("out of slots".to_owned());
    platform.driver.fail_starts(2, full());
    let wish = platform.upload("echo 1").await;
    let (_, task) = platform.request("a", TaskPayload::Deploy(wish.clone())).await;
    platform
        .work_until("done", || async {
            let task = platform.store.find_task(task).await.unwrap().unwrap();
            matches!(task.state, shipway_model::TaskState::Ended(_))
        })
        .await;
    assert_eq!(platform.outcome(task).await, done(Some(1), true));
    platform.check(platform.unsettled().await);

    platform.driver.fail_starts(100, full());
    let (_, task) = platform.request("b", TaskPayload::Deploy(wish)).await;
    platform
        .work_until("given up", || async {
            let task = platform.store.find_task(task).await.unwrap().unwrap();
            matches!(task.state, shipway_model::TaskState::Ended(_))
        })
        .await;
    let told = failure(platform.outcome(task).await);
    assert_eq!(told.code, FailureCode::EngineUnavailable);
    assert_eq!(told.detail, "out of slots");
    platform.check(platform.unsettled().await);
}

#[tokio::test]
async fn an_engine_that_never_will_fails_the_release_at_once() {
    let platform = Platform::new().await;
    let never = StartFailure::Invalid("no root file system".to_owned());
    platform.driver.fail_starts(1, never);
    let told = failure(platform.deploy("a", "echo 1").await);
    assert_eq!(told.code, FailureCode::ReleaseNotReady);
    assert!(told.detail.ends_with("no root file system"));
    platform.check(platform.unsettled().await);
}

#[tokio::test]
async fn uploaded_content_that_is_gone_is_said_to_be() {
    let platform = Platform::new().await;
    let wish = platform.upload("echo 1").await;
    let DeployProgram::Content { content: Content::Blob(source), .. } = &wish.program else {
        panic!("an upload");
    };
    platform.blobs.remove(&source.digest).unwrap();
    let told = failure(platform.change("a", TaskPayload::Deploy(wish)).await);
    assert_eq!(told.code, FailureCode::StorageUnavailable);
}

#[tokio::test]
async fn the_timeline_tells_a_deploy_in_order() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let words: Vec<String> = platform
        .events(service)
        .await
        .iter()
        .map(|event| match event {
            EventKind::ChangeRequested { change, .. } => format!("asked {change}"),
            EventKind::ReleaseCreated { release } => format!("made {release}"),
            EventKind::ReleaseLive { release } => format!("live {release}"),
            EventKind::ChangeDone { change } => format!("done {change}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["asked deploy", "made 1", "live 1", "done deploy"]);
}

//! Rollback, start, stop, restart, delete.

use shipway_driver::fake::Answers;
use shipway_model::{FailureCode, TaskPayload, Wanted};

use crate::platform::{Platform, done, failure};

#[tokio::test]
async fn a_rollback_runs_an_old_release_again_under_its_own_number() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    platform.live("a", "echo 2").await;
    let back = |release| platform.change("a", TaskPayload::Rollback { release });
    assert_eq!(back(1).await, done(Some(1), true));
    assert_eq!(platform.state("a").await, "live 1");
    assert_eq!(back(1).await, done(Some(1), false));
    assert_eq!(back(2).await, done(Some(2), true));
    platform.settle().await;
    let releases = platform.store.list_releases(service, None, 10).await;
    assert_eq!(releases.unwrap().len(), 2, "a rollback makes no release");
}

#[tokio::test]
async fn a_rollback_to_what_cannot_run_changes_nothing() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    platform.live("a", "echo 2").await;
    platform.driver.answer_new(Answers::HangUp);
    platform.deploy("a", "echo 3").await;
    let back = |release| platform.change("a", TaskPayload::Rollback { release });
    let told = failure(back(1).await);
    assert_eq!(told.code, FailureCode::ReleaseNotReady);
    for missing in [9, 3] {
        let told = failure(back(missing).await);
        assert_eq!(told.code, FailureCode::NoSuchRelease, "{missing}");
    }
    let first = platform.store.find_release(service, 1).await.unwrap();
    let digest = first.unwrap().spec.source().unwrap().digest.clone();
    platform.blobs.remove(&digest).unwrap();
    let told = failure(back(1).await);
    assert_eq!(told.detail, "the content of release 1 is gone");
    assert_eq!(platform.state("a").await, "live 2");
    platform.settle().await;
}

#[tokio::test]
async fn a_stopped_service_runs_nothing_and_comes_back() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let stop = || platform.change("a", TaskPayload::Stop);
    assert_eq!(stop().await, done(None, true));
    assert_eq!(platform.state("a").await, "stopped 1");
    assert_eq!(platform.rows(None).await, []);
    assert_eq!(platform.driver.running(), []);
    assert_eq!(stop().await, done(None, false));
    let start = || platform.change("a", TaskPayload::Start);
    assert_eq!(start().await, done(Some(1), true));
    assert_eq!(platform.state("a").await, "live 1");
    assert!(platform.container(service).await.is_some());
    assert_eq!(start().await, done(Some(1), false));
    platform.settle().await;
}

#[tokio::test]
async fn stopping_gives_requests_a_moment_but_not_for_ever() {
    let platform = Platform::new().await;
    platform.live("a", "echo 1").await;
    platform.visitors.are_busy(true);
    let stopped = platform.change("a", TaskPayload::Stop).await;
    assert_eq!(stopped, done(None, true));
    assert_eq!(platform.driver.running(), []);
}

#[tokio::test]
async fn a_service_that_does_not_come_back_stays_stopped() {
    let platform = Platform::new().await;
    platform.live("a", "echo 1").await;
    platform.change("a", TaskPayload::Stop).await;
    platform.driver.answer_new(Answers::HangUp);
    let told = failure(platform.change("a", TaskPayload::Start).await);
    assert_eq!(told.code, FailureCode::ReleaseNotReady);
    assert_eq!(platform.state("a").await, "stopped 1");
    let told = failure(platform.deploy("a", "echo 2").await);
    assert_eq!(told.code, FailureCode::ReleaseNotReady);
    assert_eq!(platform.state("a").await, "stopped 1");
    platform.driver.answer_new(Answers::Ready);
    let restarted = platform.change("a", TaskPayload::Restart).await;
    assert_eq!(restarted, done(Some(1), true), "a restart starts");
    platform.settle().await;
}

#[tokio::test]
async fn a_service_that_never_ran_has_nothing_to_start() {
    let platform = Platform::new().await;
    platform.driver.answer_new(Answers::HangUp);
    platform.deploy("a", "echo 1").await;
    for change in [TaskPayload::Start, TaskPayload::Restart] {
        let told = failure(platform.change("a", change).await);
        assert_eq!(told.code, FailureCode::NothingToStart);
    }
    assert_eq!(platform.state("a").await, "failed");
    let stopped = platform.change("a", TaskPayload::Stop).await;
    assert_eq!(stopped, done(None, true));
    assert_eq!(platform.state("a").await, "stopped");
}

#[tokio::test]
async fn a_restart_swaps_behind_the_health_gate() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let old = platform.container(service).await;
    let restart = || platform.change("a", TaskPayload::Restart);
    assert_eq!(restart().await, done(Some(1), true));
    let new = platform.container(service).await;
    assert_ne!(old, new);
    platform.settle().await;
    platform.driver.answer_new(Answers::Silent);
    assert_eq!(failure(restart().await).code, FailureCode::ReleaseNotReady);
    assert_eq!(platform.container(service).await, new);
    assert_eq!(platform.state("a").await, "live 1");
    platform.check(platform.unsettled().await);
}

#[tokio::test]
async fn a_deleted_service_is_forgotten_and_its_name_is_free() {
    let platform = Platform::new().await;
    let first = platform.live("a", "echo 1").await;
    platform.live("a", "echo 2").await;
    assert_eq!(platform.change("a", TaskPayload::Delete).await, done(None, true));
    assert_eq!(platform.find("a").await, None);
    assert_eq!(platform.driver.running(), []);
    assert_eq!(platform.rows(None).await, []);
    let second = platform.live("a", "echo 1").await;
    assert_ne!(first, second);
    platform.settle().await;
}

#[tokio::test]
async fn changes_of_one_service_happen_in_the_order_asked() {
    let platform = Platform::new().await;
    platform.live("a", "echo 1").await;
    let wish = platform.upload("echo 2").await;
    let (_, deploy) = platform.request("a", TaskPayload::Deploy(wish)).await;
    let (_, stop) = platform.request("a", TaskPayload::Stop).await;
    let (_, start) = platform.request("a", TaskPayload::Start).await;
    platform.work().await;
    assert_eq!(platform.outcome(deploy).await, done(Some(2), true));
    assert_eq!(platform.outcome(stop).await, done(None, true));
    assert_eq!(platform.outcome(start).await, done(Some(2), true));
    assert_eq!(platform.find("a").await.unwrap().wanted, Wanted::Running);
    platform.settle().await;
}

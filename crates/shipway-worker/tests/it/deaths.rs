//! Containers that end by themselves.

use shipway_driver::LogStream;
use shipway_driver::fake::{Answers, StartFailure};
use shipway_model::{ContainerId, EventKind, ServiceId, ServiceState, TaskPayload};

use crate::platform::{Platform, done, exit};

const MILLISECOND: i64 = 1000;

/// Kills the live container and waits until its death was recorded.
async fn kill(platform: &Platform, service: ServiceId) -> ContainerId {
    let container = platform.container(service).await.unwrap();
    platform.driver.print(container, LogStream::Stderr, "no such module");
    assert!(platform.driver.exit(container, exit(7)));
    platform.work_until("buried", || async { platform.container(service).await.is_none() }).await;
    container
}

/// Moves the clock past the back-off and waits for the next container.
async fn revive(platform: &Platform, service: ServiceId, wait: i64) {
    platform.clock.advance(wait);
    platform.work_until("revived", || async { platform.container(service).await.is_some() }).await;
}

async fn failures(platform: &Platform, service: ServiceId) -> u32 {
    let rows = platform.rows(Some(service)).await;
    rows.iter().map(|row| row.failures).max().unwrap()
}

#[tokio::test]
async fn a_dead_container_is_replaced_after_its_back_off() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let dead = kill(&platform, service).await;
    assert!(platform.has_ended(dead).await, "its log is kept");
    assert_eq!(platform.driver.running(), [], "not before the back-off");
    revive(&platform, service, 102 * MILLISECOND).await;
    assert_eq!(platform.state("a").await, "live 1");
    let told = platform.events(service).await;
    let death = EventKind::ContainerDied { release: 1, exit: "exit status 7".to_owned(), failures: 1 };
    assert!(told.contains(&death), "{told:?}");
    assert!(told.contains(&EventKind::ContainerRestarted { release: 1 }));
    platform.settle().await;
}

#[tokio::test]
async fn a_minute_of_health_forgets_the_past() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let dead = kill(&platform, service).await;
    revive(&platform, service, 102 * MILLISECOND).await;
    assert_eq!(failures(&platform, service).await, 1);
    platform.clock.advance(61_000 * MILLISECOND);
    platform.worker.reconcile().await.unwrap();
    platform.work().await;
    assert_eq!(failures(&platform, service).await, 0);
    assert!(platform.is_gone(dead).await);
}

#[tokio::test]
async fn a_crash_loop_is_reported_with_its_last_lines_and_ends_with_health() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    for wait in [102, 202] {
        kill(&platform, service).await;
        assert_eq!(platform.state("a").await, "live 1");
        revive(&platform, service, wait * MILLISECOND).await;
    }
    kill(&platform, service).await;
    platform.work_until("unhealthy", || async { platform.state("a").await == "unhealthy 1" }).await;
    let ServiceState::Unhealthy { reason, .. } = platform.find("a").await.unwrap().state else {
        panic!("unhealthy");
    };
    assert_eq!(reason, "its container died 3 times in a row: exit status 7; its last log lines:\nno such module");
    let told = platform.events(service).await;
    assert!(told.iter().any(|event| matches!(event, EventKind::CrashLoop { .. })));
    revive(&platform, service, 402 * MILLISECOND).await;
    assert_eq!(platform.state("a").await, "unhealthy 1");
    platform.clock.advance(61_000 * MILLISECOND);
    platform.worker.reconcile().await.unwrap();
    platform.work().await;
    assert_eq!(platform.state("a").await, "live 1");
    platform.settle().await;
}

#[tokio::test]
async fn one_that_does_not_become_ready_again_has_died_again() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    kill(&platform, service).await;
    platform.driver.answer_new(Answers::HangUp);
    for (wait, deaths) in [(102, 2), (100, 3)] {
        platform.clock.advance(wait * MILLISECOND);
        platform.work_until("counted", || async { failures(&platform, service).await == deaths }).await;
        assert_eq!(platform.driver.running(), []);
    }
    // What the probe saw is said, not that we killed it for that.
    platform.work_until("unhealthy", || async { platform.state("a").await == "unhealthy 1" }).await;
    let ServiceState::Unhealthy { reason, .. } = platform.find("a").await.unwrap().state else {
        panic!("unhealthy");
    };
    assert!(reason.starts_with("its container died 3 times in a row: it was not ready after 200 ms"), "{reason}");
    platform.driver.answer_new(Answers::Ready);
    revive(&platform, service, 1_000 * MILLISECOND).await;
    platform.settle().await;
}

#[tokio::test]
async fn an_engine_that_refuses_a_restart_is_not_hammered() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    kill(&platform, service).await;
    let gone = StartFailure::Invalid("its root file system is gone".to_owned());
    platform.driver.fail_starts(1, gone);
    platform.clock.advance(102 * MILLISECOND);
    platform.work_until("counted", || async { failures(&platform, service).await == 2 }).await;
    platform.work().await;
    assert_eq!(failures(&platform, service).await, 2, "one try per back-off");
    revive(&platform, service, 1_000 * MILLISECOND).await;
    platform.settle().await;
}

#[tokio::test]
async fn a_death_while_nobody_looked_is_found_at_the_start() {
    let mut platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let container = platform.container(service).await.unwrap();
    // The worker is gone before the container is.
    platform.restart().await;
    platform.driver.exit(container, exit(1));
    platform.restart().await;
    platform.clock.advance(102 * MILLISECOND);
    platform
        .work_until("revived", || async {
            let live = platform.container(service).await;
            live.is_some_and(|live| live != container)
        })
        .await;
    platform.settle().await;
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_crash_loop_stops_it() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    kill(&platform, service).await;
    platform.change("a", TaskPayload::Stop).await;
    platform.clock.advance(102 * MILLISECOND);
    platform.settle().await;
    assert_eq!(platform.state("a").await, "stopped 1");
    assert_eq!(platform.rows(None).await, []);
}

#[tokio::test]
async fn content_that_is_gone_is_said_instead_of_trying_for_ever() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let release = platform.store.find_release(service, 1).await.unwrap();
    let digest = release.unwrap().spec.source().unwrap().digest.clone();
    platform.blobs.remove(&digest).unwrap();
    kill(&platform, service).await;
    platform.clock.advance(102 * MILLISECOND);
    platform.work_until("unhealthy", || async { platform.state("a").await == "unhealthy 1" }).await;
    let state = platform.find("a").await.unwrap().state;
    let ServiceState::Unhealthy { reason, .. } = state else {
        panic!("unhealthy");
    };
    assert_eq!(reason, "the content of release 1 is gone");
}

#[tokio::test]
async fn the_same_content_deployed_again_brings_a_dead_service_back_at_once() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    kill(&platform, service).await;
    assert_eq!(platform.deploy("a", "echo 1").await, done(Some(2), true));
    // The grave of the release before goes with the repair that was waiting for its time.
    platform.work_until("one row", || async { platform.rows(Some(service)).await.len() == 1 }).await;
    assert_eq!(platform.state("a").await, "live 2");
    platform.check(platform.unsettled().await);
}

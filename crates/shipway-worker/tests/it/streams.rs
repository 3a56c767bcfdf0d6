//! Logs, stats and exec of what runs.

use futures_util::StreamExt;
use shipway_driver::{ExecOutput, ExecSpec, LogQuery, LogStream};
use shipway_model::{ServiceId, TaskPayload};
use shipway_worker::LiveError;
use uuid::Uuid;

use crate::platform::{Platform, exit};

async fn read(platform: &Platform, service: ServiceId, tail: Option<usize>) -> Vec<String> {
    let query = LogQuery { tail, ..LogQuery::default() };
    let lines = platform.worker.live().logs(service, query).await.unwrap();
    lines.map(|line| line.unwrap().text).collect().await
}

/// A service whose first container has printed two lines and died, and whose
/// second has printed one.
async fn two_lives(platform: &Platform) -> ServiceId {
    let service = platform.live("a", "echo 1").await;
    let first = platform.container(service).await.unwrap();
    for text in ["one", "two"] {
        platform.driver.print(first, LogStream::Stdout, text);
    }
    platform.driver.exit(first, exit(1));
    platform.clock.advance(200_000);
    platform
        .work_until("revived", || async {
            let live = platform.container(service).await;
            live.is_some_and(|live| live != first)
        })
        .await;
    let second = platform.container(service).await.unwrap();
    platform.driver.print(second, LogStream::Stdout, "three");
    service
}

#[tokio::test]
async fn the_last_lines_of_the_dead_come_before_those_of_the_living() {
    let platform = Platform::new().await;
    let service = two_lives(&platform).await;
    assert_eq!(read(&platform, service, None).await, ["one", "two", "three"]);
    assert_eq!(read(&platform, service, Some(2)).await, ["two", "three"]);
    assert_eq!(read(&platform, service, Some(1)).await, ["three"]);
    assert_eq!(read(&platform, service, Some(9)).await.len(), 3);
}

#[tokio::test]
async fn following_goes_on_with_the_next_container_until_the_service_stops() {
    let platform = Platform::new().await;
    let service = two_lives(&platform).await;
    let query = LogQuery { follow: true, tail: Some(1), ..LogQuery::default() };
    let mut lines = platform.worker.live().logs(service, query).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "three");
    let old = platform.container(service).await.unwrap();
    platform.change("a", TaskPayload::Restart).await;
    platform.settle().await;
    assert!(platform.is_gone(old).await);
    let new = platform.container(service).await.unwrap();
    platform.driver.print(new, LogStream::Stdout, "four");
    assert_eq!(lines.next().await.unwrap().unwrap().text, "four");
    platform.change("a", TaskPayload::Stop).await;
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn what_does_not_run_has_nothing_to_show() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let live = platform.worker.live();
    assert_eq!(live.stats(service).await.unwrap().pids, 1);
    platform.change("a", TaskPayload::Stop).await;
    let stats = live.stats(service).await;
    assert!(matches!(stats, Err(LiveError::NotRunning)), "{stats:?}");
    let unknown = live.stats(ServiceId(Uuid::nil())).await;
    assert!(matches!(unknown, Err(LiveError::NotFound)), "{unknown:?}");
}

#[tokio::test]
async fn a_process_runs_in_the_live_container() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let spec = ExecSpec { argv: vec!["/bin/none".to_owned()], env: Vec::new(), terminal: None };
    let mut session = platform.worker.live().exec(service, spec).await.unwrap();
    assert_eq!(session.output.recv().await, Some(ExecOutput::Exited(127)));
}

//! Logs, stats and exec of what runs.

use futures_util::StreamExt;
use shipway_driver::conformance::Script;
use shipway_driver::{DriverError, ExecOutput, ExecSpec, LogStream};
use shipway_model::{ServiceId, TaskPayload};
use shipway_worker::{LiveError, LivePlace, LiveQuery};
use uuid::Uuid;

use crate::platform::{Platform, exit};

async fn read(platform: &Platform, service: ServiceId, tail: Option<usize>) -> Vec<String> {
    let query = LiveQuery { tail, ..LiveQuery::default() };
    texts(platform, service, query).await
}

async fn texts(platform: &Platform, service: ServiceId, query: LiveQuery) -> Vec<String> {
    let lines = platform.worker.live().logs(service, query).await.unwrap();
    lines.map(|line| line.unwrap().line.text).collect().await
}

/// What is left after each line that is there now, in order.
async fn rests(platform: &Platform, service: ServiceId) -> Vec<Vec<String>> {
    let lines = platform.worker.live().logs(service, LiveQuery::default()).await.unwrap();
    let places: Vec<LivePlace> = lines.map(|line| line.unwrap().place()).collect().await;
    let mut rests = Vec::new();
    for place in places {
        rests.push(texts(platform, service, after(place)).await);
    }
    rests
}

fn after(place: LivePlace) -> LiveQuery {
    LiveQuery { after: Some(place), ..LiveQuery::default() }
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
    let query = LiveQuery { follow: true, tail: Some(1), ..LiveQuery::default() };
    let mut lines = platform.worker.live().logs(service, query).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().line.text, "three");
    let old = platform.container(service).await.unwrap();
    platform.change("a", TaskPayload::Restart).await;
    platform.settle().await;
    assert!(platform.is_gone(old).await);
    let new = platform.container(service).await.unwrap();
    platform.driver.print(new, LogStream::Stdout, "four");
    assert_eq!(lines.next().await.unwrap().unwrap().line.text, "four");
    platform.change("a", TaskPayload::Stop).await;
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn a_reader_who_comes_back_goes_on_where_he_was_though_the_container_has_died() {
    let platform = Platform::new().await;
    let service = two_lives(&platform).await;
    assert_eq!(rests(&platform, service).await, [vec!["two", "three"], vec!["three"], vec![]]);
    let lines = platform.worker.live().logs(service, LiveQuery::default()).await.unwrap();
    let lines: Vec<_> = lines.map(Result::unwrap).collect().await;
    let last = LiveQuery { tail: Some(1), ..after(lines[0].place()) };
    assert_eq!(texts(&platform, service, last).await, ["three"]);
    let follow = LiveQuery { follow: true, ..after(lines[1].place()) };
    let mut rest = platform.worker.live().logs(service, follow).await.unwrap();
    assert_eq!(rest.next().await.unwrap().unwrap(), lines[2]);
    platform.change("a", TaskPayload::Stop).await;
    assert!(rest.next().await.is_none());
}

#[tokio::test]
async fn a_reader_who_comes_back_after_a_restart_misses_no_line_of_the_new_container() {
    let platform = Platform::new().await;
    let service = platform.live("a", "echo 1").await;
    let old = platform.container(service).await.unwrap();
    for text in ["one", "two", "three"] {
        platform.driver.print(old, LogStream::Stdout, text);
    }
    let lines = platform.worker.live().logs(service, LiveQuery::default()).await.unwrap();
    let seen = lines.map(|line| line.unwrap().place()).collect::<Vec<_>>().await;
    platform.change("a", TaskPayload::Restart).await;
    platform.settle().await;
    assert!(platform.is_gone(old).await);
    let new = platform.container(service).await.unwrap();
    for text in ["four", "five"] {
        platform.driver.print(new, LogStream::Stdout, text);
    }
    assert_eq!(seen.len(), 3);
    for place in seen {
        assert_eq!(place.container, old);
        assert_eq!(texts(&platform, service, after(place)).await, ["four", "five"]);
    }
    assert_eq!(rests(&platform, service).await, [vec!["five"], vec![]]);
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
    let spec = |argv| ExecSpec { argv, env: Vec::new(), terminal: None };
    let mut session = platform.worker.live().exec(service, spec(Script::Exit(7).argv())).await.unwrap();
    assert_eq!(session.output.recv().await, Some(ExecOutput::Exited(7)));
    let missing = platform.worker.live().exec(service, spec(vec!["/bin/none".to_owned()])).await;
    assert!(matches!(missing, Err(LiveError::Driver(DriverError::NoProgram { missing: true, .. }))), "{missing:?}");
}

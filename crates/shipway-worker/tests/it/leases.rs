//! Several changes at once, lost leases, stopping: the loop itself.

use std::sync::Arc;
use std::time::Duration;

use shipway_driver::fake::Answers;
use shipway_model::{Outcome, TaskPayload, TaskState};
use shipway_stdx::shutdown;
use shipway_store::{LeaseTerms, StoreError, WorkerState};
use shipway_worker::WorkerConfig;

use crate::platform::{Platform, config, done};

/// A runner may take its time in these tests.
async fn patient(platform: &Platform, content: &str) -> TaskPayload {
    let mut wish = platform.upload(content).await;
    wish.health.deadline_ms = 20_000;
    TaskPayload::Deploy(wish)
}

async fn until_started(platform: &Platform, count: usize) {
    let limit = Duration::from_secs(20);
    let started = async {
        while platform.driver.running().len() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(limit, started).await.unwrap();
}

#[tokio::test]
async fn two_puts_of_one_name_at_once_are_both_answered() {
    let platform = Platform::new().await;
    let (stop, shutdown) = shutdown::channel();
    let worker = platform.another_worker(Arc::new(platform.driver.clone()));
    let running = tokio::spawn(worker.run(shutdown));
    let (one, other) = (platform.upload("1").await, platform.upload("2").await);
    let ((_, one), (_, other)) = tokio::join!(
        platform.request("a", TaskPayload::Deploy(one)),
        platform.request("a", TaskPayload::Deploy(other)),
    );
    let limit = Duration::from_secs(20);
    let (one, other) = tokio::join!(platform.store.wait_task(one, limit), platform.store.wait_task(other, limit),);
    let mut releases = [one, other].map(|outcome| match outcome.unwrap() {
        Some(Outcome::Done { release, .. }) => release.unwrap(),
        other => panic!("{other:?}"),
    });
    releases.sort_unstable();
    assert_eq!(releases, [1, 2]);
    assert_eq!(platform.state("a").await, "live 2");
    platform.settle().await;
    stop.request();
    running.await.unwrap();
}

#[tokio::test]
async fn services_are_worked_on_side_by_side() {
    let platform = Platform::new().await;
    platform.driver.answer_new(Answers::Silent);
    for name in ["a", "b", "c"] {
        platform.request(name, patient(&platform, "1").await).await;
    }
    let (stop, shutdown) = shutdown::channel();
    let worker = platform.another_worker(Arc::new(platform.driver.clone()));
    let running = tokio::spawn(worker.run(shutdown));
    // Each is silent, so that none would get its turn in a row of them.
    until_started(&platform, 3).await;
    for container in platform.driver.running() {
        platform.driver.answer(container, Answers::Ready);
    }
    platform
        .work_until("all live", || async {
            platform.state("a").await == "live 1"
                && platform.state("b").await == "live 1"
                && platform.state("c").await == "live 1"
        })
        .await;
    stop.request();
    running.await.unwrap();
    platform.settle().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_hands_over_at_once() {
    let platform = Platform::new().await;
    platform.driver.answer_new(Answers::Silent);
    let payload = patient(&platform, "1").await;
    let (_, task) = platform.request("a", payload).await;
    let (stop, shutdown) = shutdown::channel();
    let worker = platform.another_worker(Arc::new(platform.driver.clone()));
    let running = tokio::spawn(worker.run(shutdown));
    until_started(&platform, 1).await;
    stop.request();
    running.await.unwrap();
    let given_back = platform.store.find_task(task).await.unwrap().unwrap();
    assert!(matches!(given_back.state, TaskState::Queued { .. }));
    assert_eq!(given_back.attempt, 0, "that is nobody's fault");
    assert_eq!(platform.driver.running(), []);
    platform.driver.answer_new(Answers::Ready);
    // The next one of its name says so at its start.
    platform.store.set_worker_state("worker", WorkerState::Active).await.unwrap();
    platform.work().await;
    assert_eq!(platform.outcome(task).await, done(Some(1), true));
    platform.settle().await;
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_ends_what_it_started() {
    let platform = Platform::with(WorkerConfig {
        lease: LeaseTerms {
            // Long enough for a slow disk, short enough to wait for a third of it.
            heartbeat: Duration::from_millis(1500),
            deadline: Duration::from_secs(60),
        },
        ..config()
    })
    .await;
    platform.driver.answer_new(Answers::Silent);
    let payload = patient(&platform, "1").await;
    let (_, task) = platform.request("a", payload).await;
    let takeover = async {
        until_started(&platform, 1).await;
        // Its next heartbeat finds the task back in the queue.
        assert_eq!(platform.store.rescue(true).await.unwrap(), 1);
    };
    let (ticked, ()) = tokio::join!(platform.worker.tick(), takeover);
    assert!(ticked.unwrap());
    assert_eq!(platform.driver.running(), []);
    platform.driver.answer_new(Answers::Ready);
    platform.work().await;
    assert_eq!(platform.outcome(task).await, done(Some(1), true));
    platform.settle().await;
}

#[tokio::test]
async fn a_long_task_keeps_its_lease() {
    let platform = Platform::with(WorkerConfig {
        lease: LeaseTerms { heartbeat: Duration::from_millis(1500), deadline: Duration::from_secs(60) },
        ..config()
    })
    .await;
    platform.driver.answer_new(Answers::Silent);
    let payload = patient(&platform, "1").await;
    let (_, task) = platform.request("a", payload).await;
    let rescuer = async {
        until_started(&platform, 1).await;
        let begun = platform.store.now().await.unwrap();
        while platform.store.now().await.unwrap() < begun + 2_000_000 {
            assert_eq!(platform.store.rescue(false).await.unwrap(), 0);
        }
        for container in platform.driver.running() {
            platform.driver.answer(container, Answers::Ready);
        }
    };
    let (ticked, ()) = tokio::join!(platform.worker.tick(), rescuer);
    assert!(ticked.unwrap());
    assert_eq!(platform.outcome(task).await, done(Some(1), true));
}

#[tokio::test]
async fn a_full_disk_stops_work_until_there_is_room() {
    let platform = Platform::new().await;
    platform.live("a", "1").await;
    let service = platform.find("a").await.unwrap().id;
    let live = platform.container(service).await;
    let mut wish = platform.upload("2").await;
    // A spec of many pages: there is no room for its row.
    wish.env.insert("TEXT".to_owned(), "x".repeat(1 << 16));
    let (_, task) = platform.request("a", TaskPayload::Deploy(wish)).await;
    platform.store.limit_pages(Some(1)).await.unwrap();
    for _ in 0..10 {
        // Whether a claim finds room on its page or not: the release does not.
        let ticked = platform.worker.tick().await;
        let full = matches!(ticked, Err(StoreError::Unavailable { .. }));
        assert!(full || ticked.is_ok(), "{ticked:?}");
    }
    assert_eq!(platform.state("a").await, "live 1");
    assert_eq!(platform.container(service).await, live);
    platform.store.limit_pages(None).await.unwrap();
    platform.store.rescue(true).await.unwrap();
    platform.work_until("done", || async { platform.state("a").await == "live 2" }).await;
    assert_eq!(platform.outcome(task).await, done(Some(2), true));
    platform.settle().await;
}

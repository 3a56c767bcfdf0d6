//! Counts for metrics are the truth of the moment.

use std::time::Duration;

use shipway_store::{ServiceCount, TaskCounts};

use super::world::*;

#[tokio::test]
async fn open_tasks_are_counted_by_what_they_wait_for() {
    let world = world().await;
    assert_eq!(world.task_counts().await.unwrap(), TaskCounts::default());
    let id = world.live_service("hello").await;
    world.request_repair(id, Duration::from_secs(60)).await.unwrap();
    assert_eq!(world.task_counts().await.unwrap(), TaskCounts { queued: 1, ..TaskCounts::default() });
    world.ask_first("a").await;
    world.ask_first("b").await;
    world.take().await;
    wait_until("it has waited a while", async || {
        let counts = world.task_counts().await.unwrap();
        assert_eq!((counts.queued, counts.due, counts.running), (2, 1, 1));
        counts.oldest_due_age >= 5_000
    })
    .await;
}

#[tokio::test]
async fn services_are_counted_by_state() {
    let world = world().await;
    assert_eq!(world.service_counts().await.unwrap(), []);
    world.live_service("a").await;
    world.live_service("b").await;
    world.ask_first("c").await;
    let count = |state: &str, services| ServiceCount { state: state.to_owned(), services };
    assert_eq!(world.service_counts().await.unwrap(), [count("live", 2), count("starting", 1)]);
}

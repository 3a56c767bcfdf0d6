//! Callers that go away, stand still, or come too late: nobody else notices.

use std::time::Duration;

use shipway_model::TaskState;

use super::world::*;

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_leaves_nothing_half() {
    let world = world().await;
    let mut went = 0;
    for round in 0..60 {
        let of = format!("service-{round}");
        if poll_times(world.request(first_deploy(&of)), round % 4).await.is_none() {
            went += 1;
        }
        // The next one does not suffer from it.
        world.ask_first("survivor").await;
        let lease = world.take().await;
        world.finish(&lease, &done(None)).await.unwrap();
    }
    assert!(went > 15, "{went} went away");
    for service in world.list_all_services(None, 1000).await.unwrap() {
        let story = world.story(service.id).await;
        assert_eq!(story[0], "deploy asked");
    }
    let tasks = world.number("SELECT count(DISTINCT subject) FROM task").await;
    assert_eq!(tasks, i64::try_from(world.list_all_services(None, 1000).await.unwrap().len()).unwrap());
}

/// The other branch of a `select!` is still there, but nobody polls it while this
/// one waits.
#[tokio::test]
async fn a_caller_that_is_not_polled_does_not_keep_the_only_writer() {
    let world = world().await;
    for polls in 1..20 {
        let of = format!("suspended-{polls}");
        let mut suspended = std::pin::pin!(world.request(first_deploy(&of)));
        if let Some(early) = poll_times(suspended.as_mut(), polls).await {
            early.unwrap();
            continue;
        }
        let started = std::time::Instant::now();
        world.ask_first(&format!("other-{polls}")).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        suspended.await.unwrap();
    }
}

/// Polls a future so many times, each time after it asked for it, then drops it.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let world = world().await;
    let accepted = world.ask_first("hello").await;
    world.close().await;
    assert_eq!(unavailable(world.request(first_deploy("more")).await), "it is closed");
    assert_eq!(unavailable(world.check_writable().await.and(world.find_task(accepted.task).await)), "it is closed");
    let store = world.again().await;
    let task = store.find_task(accepted.task).await.unwrap().unwrap();
    assert!(matches!(task.state, TaskState::Queued { .. }));
}

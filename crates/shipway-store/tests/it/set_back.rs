//! A clock that is set back keeps nobody waiting for the time that it had.

use std::time::Duration;

use super::world::*;

/// An hour, in microseconds.
const HOUR: i64 = 3_600_000_000;

#[tokio::test]
async fn what_was_asked_for_before_the_clock_was_set_back_is_due() {
    let world = world().await;
    world.ask_first("hello").await;
    world.spoil(format!("UPDATE task SET created_at = created_at + {HOUR}, not_before = not_before + {HOUR}")).await;
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
    assert_eq!(world.rescue(false).await.unwrap(), 0);
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_given_back_before_it_was_set_back_is_due() {
    let world = world().await;
    world.ask_first("hello").await;
    let lease = world.take().await;
    world.give_back(&lease, Duration::ZERO, true).await.unwrap();
    world.spoil(format!("UPDATE task SET claimed_at = claimed_at + {HOUR}, not_before = not_before + {HOUR}")).await;
    world.rescue(false).await.unwrap();
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_some());
}

#[tokio::test]
async fn what_waits_for_its_time_still_does() {
    let world = world().await;
    world.ask_first("hello").await;
    let lease = world.take().await;
    world.give_back(&lease, Duration::from_secs(3600), true).await.unwrap();
    world.rescue(false).await.unwrap();
    assert!(world.claim(&who("worker"), LONG).await.unwrap().is_none());
}

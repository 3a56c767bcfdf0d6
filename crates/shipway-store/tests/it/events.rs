//! Events: numbered without a gap, read by cursor, never changed.

use shipway_model::{EventKind, TaskPayload};

use super::world::*;

#[tokio::test]
async fn a_cursor_reads_everything_once_whatever_the_size_of_the_page() {
    let world = world().await;
    let id = world.live_service("hello").await;
    for _ in 0..5 {
        world.ask(id, TaskPayload::Restart).await;
    }
    let subject = format!("service/{id}");
    let whole = world.list_events(&subject, 0, 1000).await.unwrap();
    assert_eq!(whole.len(), 9);
    for size in 1..=10 {
        let mut read = Vec::new();
        loop {
            let after = read.last().map_or(0, |event: &shipway_model::Event| event.seq);
            let page = world.list_events(&subject, after, size).await.unwrap();
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read, whole, "pages of {size}");
    }
    assert_eq!(world.list_events(&subject, u64::MAX, 10).await.unwrap(), []);
    assert_eq!(world.list_events("service/nobody", 0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn events_say_when_by_the_clock_of_the_database_and_whose() {
    let world = world().await;
    let before = world.now().await.unwrap();
    let id = world.ask_first("hello").await.service.id;
    let after = world.now().await.unwrap();
    let event = world.list_events(&format!("service/{id}"), 0, 1).await.unwrap().remove(0);
    assert!((before..=after).contains(&event.at), "{before} {event:?} {after}");
    assert_eq!(event.project, default_project());
    assert_eq!(event.kind, EventKind::ChangeRequested { change: "deploy".to_owned(), actor: "local".to_owned() });
}

#[tokio::test]
async fn every_kind_of_event_is_read_back_as_it_was_appended() {
    let world = world().await;
    let id = world.ask_first("hello").await.service.id;
    let lease = world.take().await;
    let died = EventKind::ContainerDied { release: 1, exit: "signal 9\u{0}\u{1f4a5}".to_owned(), failures: 3 };
    let kinds = [died, EventKind::ContainerRestarted { release: 1 }, EventKind::Stopped];
    for kind in &kinds {
        world.append_event(&lease, kind).await.unwrap();
    }
    let events = world.list_events(&format!("service/{id}"), 1, 10).await.unwrap();
    assert_eq!(events.into_iter().map(|event| event.kind).collect::<Vec<_>>(), kinds);
}

#[tokio::test]
async fn the_clock_is_the_hosts_to_the_millisecond() {
    let world = world().await;
    let host = || i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
    let mut last = 0;
    for _ in 0..50 {
        let before = host();
        let now = world.now().await.unwrap();
        let after = host();
        assert!((before - 1000..=after + 1000).contains(&now), "{before} {now} {after}");
        assert!(now >= last);
        last = now;
    }
}

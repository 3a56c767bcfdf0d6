//! Logs, events and stats, as lines of JSON and as server-sent events.

use http::Method;
use shipway_api_types::LogStream;
use shipway_client::LogOptions;
use tokio::time::timeout;

use crate::world::{PATIENCE, World, ask, outcome, text};

async fn world_with_a_log() -> (World, String) {
    let world = World::start().await;
    let id = world.deploy("hello").await.id;
    for (stream, line) in [(LogStream::Stdout, "one"), (LogStream::Stderr, "two"), (LogStream::Stdout, "three")] {
        world.live.print(&id, stream, line);
    }
    (world, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_in_both_forms() {
    let (world, _) = world_with_a_log().await;
    let lines = ask(&world.root(), Method::GET, "/v1/services/hello/logs?tail=2", &[], "").await;
    assert_eq!(lines.headers()["content-type"], "application/x-ndjson");
    assert_eq!(
        text(&lines),
        "{\"at\":\"2026-11-22T00:00:02.000000Z\",\"stream\":\"stderr\",\"text\":\"two\",\"cursor\":\"2\"}\n\
         {\"at\":\"2026-11-22T00:00:03.000000Z\",\"stream\":\"stdout\",\"text\":\"three\",\"cursor\":\"3\"}\n"
    );
    let accept = [("accept", "text/event-stream"), ("last-event-id", "2")];
    let events = ask(&world.root(), Method::GET, "/v1/services/hello/logs", &accept, "").await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    assert_eq!(
        text(&events),
        "id: 3\ndata: {\"at\":\"2026-11-22T00:00:03.000000Z\",\"stream\":\"stdout\",\"text\":\"three\",\"cursor\":\"3\"}\n\n\
         event: end\ndata: {}\n\n"
    );
    let filtered = ask(&world.root(), Method::GET, "/v1/services/hello/logs?stream=stderr", &[], "").await;
    assert_eq!(text(&filtered).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_and_resumed() {
    let (world, id) = world_with_a_log().await;
    let options = LogOptions { follow: true, cursor: Some("2".to_owned()), ..LogOptions::default() };
    let mut lines = world.root().logs("hello", &options).await.unwrap();
    let third = timeout(PATIENCE, lines.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(third.text, "three");
    world.live.print(&id, LogStream::Stdout, "four");
    let fourth = timeout(PATIENCE, lines.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((fourth.text.as_str(), fourth.cursor.as_str()), ("four", "4"));
    world.stop();
    let end = timeout(PATIENCE, lines.next()).await.unwrap().unwrap();
    assert_eq!(end, None, "a stream ends when the server stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_without_a_gap() {
    let world = World::start().await;
    world.deploy("hello").await;
    let mut events = world.root().follow_events("hello", None).await.unwrap();
    let mut words = Vec::new();
    while words.last().map(String::as_str) != Some("change_done") {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.seq, words.len() as u64 + 1);
        words.push(event.event);
    }
    assert!(words.contains(&"release_live".to_owned()), "{words:?}");
    world.root().stop("hello", PATIENCE).await.unwrap();
    let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((event.event.as_str(), event.seq), ("change_requested", words.len() as u64 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_pages_too() {
    let world = World::start().await;
    world.deploy("hello").await;
    let all = world.root().events("hello", None).await.unwrap().items;
    let mut paged = Vec::new();
    let mut path = "/v1/services/hello/events?limit=1".to_owned();
    loop {
        let answer = ask(&world.root(), Method::GET, &path, &[], "").await;
        let page = crate::world::json(&answer);
        paged.push(page["items"][0]["seq"].as_u64().unwrap());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/services/hello/events?limit=1&cursor={next}");
    }
    assert_eq!(paged, all.iter().map(|event| event.seq).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_are_told_once_and_as_a_stream() {
    let (world, _) = world_with_a_log().await;
    assert_eq!(world.root().stats("hello").await.unwrap().pids, 2);
    let missing = world.root().stats("other").await.unwrap_err();
    assert_eq!(missing.problem().unwrap().status, 404);
    let client = world.root();
    let stream =
        tokio::spawn(async move { ask(&client, Method::GET, "/v1/services/hello/stats?follow", &[], "").await });
    // It goes on for ever: the server's end is its end.
    crate::world::wait_until("the stream has begun", async || world.live.stats_asked() > 1).await;
    world.stop();
    let answer = stream.await.unwrap();
    assert_eq!(outcome(&answer), "200");
    assert!(text(&answer).starts_with("{\"cpu_usec\":0,"), "{}", text(&answer));
}

//! When something fails or is full: an answer that says why, and recovery by itself.

use std::sync::atomic::Ordering;

use http::Method;
use shipway_client::ExecStart;

use crate::world::{HELLO, World, ask, json, outcome, put, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_503_that_passes() {
    let world = World::start().await;
    world.deploy("before").await;
    world.store.limit_pages(Some(1)).await.unwrap();
    let big = "x".repeat(60_000);
    let body = format!(r#"{{"url": "{HELLO}", "env": {{"A": "{big}"}}}}"#);
    let mut refused = None;
    // A few may still fit into pages that are already there.
    for number in 0..50 {
        let path = format!("/v1/services/s{number}?wait=0");
        let answer = put(&world.root(), &path, &body).await;
        if answer.status() != 202 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the disk should have been full");
    assert_eq!(outcome(&refused), "503 store_unavailable");
    assert_eq!(refused.headers()["retry-after"], "2");
    assert!(json(&refused)["detail"].as_str().unwrap().contains("full"), "{}", json(&refused));
    let readable = ask(&world.root(), Method::GET, "/v1/services/before", &[], "").await;
    assert_eq!(outcome(&readable), "200", "what is there can still be read");

    world.store.limit_pages(None).await.unwrap();
    let again = put(&world.root(), "/v1/services/after?wait=0", &body).await;
    assert_eq!(outcome(&again), "202");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bug_is_a_500_that_tells_nothing_and_stays_alone() {
    let world = World::start().await;
    world.deploy("hello").await;
    world.live.stats_panic.store(true, Ordering::SeqCst);
    let answer = ask(&world.root(), Method::GET, "/v1/services/hello/stats", &[], "").await;
    assert_eq!(outcome(&answer), "500 internal");
    let problem = json(&answer);
    assert!(problem["detail"].is_null() && problem["request_id"].is_string(), "{problem}");
    let other = ask(&world.root(), Method::GET, "/v1/services/hello", &[], "").await;
    assert_eq!(outcome(&other), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_so_many_execs_and_no_more() {
    let world = World::start().await;
    world.deploy("hello").await;
    let start = || ExecStart { argv: vec!["cat".to_owned()], ..ExecStart::default() };
    let mut open = Vec::new();
    let refused = loop {
        match world.root().exec("hello", start()).await {
            Ok(exec) => open.push(exec),
            Err(error) => break error,
        }
        assert!(open.len() <= 64, "somebody must be turned away");
    };
    assert_eq!(refused.problem().unwrap().code, "overloaded");
    assert_eq!(open.len(), 64);
    drop(open);
    wait_until("there is room again", async || world.root().exec("hello", start()).await.is_ok()).await;
}

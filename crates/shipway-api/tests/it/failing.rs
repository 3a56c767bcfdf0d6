//! When the store or the disk fails: a 503 that says why, and recovery by itself.

use http::Method;

use crate::world::{HELLO, World, ask, json, outcome, put};

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

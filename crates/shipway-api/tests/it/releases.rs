//! Releases: what ran, what differs, and the way back.

use http::Method;
use serde_json::json;
use shipway_api_types::ReleaseState;

use crate::world::{PATIENCE, World, ask, outcome};

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_listed_newest_first_and_compared() {
    let world = World::start().await;
    let client = world.root();
    world.deploy("hello").await;
    let body = r#"{"url":"https://example.com/hello.sh","kind":"script","limits":{"pids":64},"env":{"A":"b"}}"#;
    crate::world::put(&client, "/v1/services/hello", body).await;
    let page = client.releases("hello", 1, None).await.unwrap();
    assert_eq!((page.items[0].number, page.items[0].state), (2, ReleaseState::Live));
    let rest = client.releases("hello", 1, page.next.as_deref()).await.unwrap();
    assert_eq!((rest.items[0].number, rest.items[0].state, rest.next), (1, ReleaseState::Retired, None));

    let diff = serde_json::to_value(client.diff("hello", 1, 2).await.unwrap()).unwrap();
    let expected = json!({"from": 1, "to": 2, "changes": [
        {"field": "env.A", "to": "b"},
        {"field": "kind", "from": "static", "to": "script"},
        {"field": "limits.pids", "from": 128, "to": 64},
    ]});
    assert_eq!(diff, expected);
    assert!(client.diff("hello", 2, 2).await.unwrap().changes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_to_the_last_release_that_was_live() {
    let world = World::start().await;
    let client = world.root();
    world.deploy_url("hello", "https://example.com/1").await;
    world.deploy_url("hello", "https://example.com/2").await;
    let broken = r#"{"url": "https://example.com/broken"}"#;
    let failed = crate::world::put(&client, "/v1/services/hello", broken).await;
    assert_eq!(outcome(&failed), "422 release_not_ready");
    world.deploy_url("hello", "https://example.com/4").await;

    let back = client.rollback("hello", None, PATIENCE).await.unwrap().value;
    assert_eq!(back.release, Some(2), "release 3 was never live");
    let forth = client.rollback("hello", Some(4), PATIENCE).await.unwrap().value;
    assert_eq!(forth.release, Some(4));
    let nowhere = client.rollback("hello", Some(9), PATIENCE).await.unwrap_err();
    assert_eq!(nowhere.problem().unwrap().code, "no_such_release");
    client.rollback("hello", Some(1), PATIENCE).await.unwrap();
    let first = client.rollback("hello", None, PATIENCE).await.unwrap_err();
    assert_eq!(first.problem().unwrap().code, "no_such_release");
    let with_body = [("content-type", "application/json")];
    let answer = ask(&client, Method::POST, "/v1/services/hello/rollback", &with_body, r#"{"relese": 1}"#).await;
    assert_eq!(outcome(&answer), "400 invalid_field");
}

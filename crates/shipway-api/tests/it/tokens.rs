//! Tokens: made, used, listed, revoked.

use http::Method;
use shipway_api_types::TokenCreate;

use crate::world::{World, ask, json, outcome};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_until_it_is_revoked() {
    let world = World::start().await;
    let create = TokenCreate { name: "ci".to_owned(), expires_in_seconds: Some(3600) };
    let made = world.root().create_token(&create).await.unwrap();
    assert!(made.secret.starts_with("shipway_"));
    assert!(made.token.expires_at.is_some());
    let client = world.client(Some(&made.secret));
    assert!(client.services(None).await.unwrap().is_empty());
    let listed = client.tokens().await.unwrap();
    assert_eq!((listed.len(), listed[0].id.as_str()), (1, made.token.id.as_str()));
    assert!(!format!("{listed:?} {made:?}").contains(&made.secret));

    client.revoke_token(&made.token.id).await.unwrap();
    let refused = client.services(None).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, "unauthorized");
    let again = world.root().revoke_token(&made.token.id).await.unwrap_err();
    assert_eq!(again.problem().unwrap().code, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_projects_tokens_are_not_seen_or_revoked() {
    let world = World::start().await;
    world.token("admin", "default").await;
    let theirs = world.client(Some(&world.token("admin", "theirs").await));
    let seen = theirs.tokens().await.unwrap();
    assert_eq!(seen.len(), 1);
    let all = world.store.list_tokens().await.unwrap();
    let foreign = all.iter().find(|token| token.project.as_str() == "default").unwrap();
    let refused = theirs.revoke_token(&foreign.id.to_string()).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, "not_found");
    assert_eq!(world.store.list_tokens().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_kept_by_nobody_on_the_way() {
    let world = World::start().await;
    let headers = [("content-type", "application/json")];
    let answer = ask(&world.root(), Method::POST, "/v1/tokens", &headers, r#"{"name": "ci"}"#).await;
    assert_eq!(outcome(&answer), "201");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(json(&answer)["expires_at"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_makes_no_sense_is_refused() {
    let world = World::start().await;
    let headers = [("content-type", "application/json")];
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(101));
    for (body, pointer) in [
        ("{}", "#/name"),
        (r#"{"name": ""}"#, "#/name"),
        (long.as_str(), "#/name"),
        (r#"{"name": "a\nb"}"#, "#/name"),
        (r#"{"name": "x", "expires_in_seconds": 0}"#, "#/expires_in_seconds"),
        (r#"{"name": "x", "expires_in_seconds": 99999999999}"#, "#/expires_in_seconds"),
        (r#"{"name": "x", "role": "admin"}"#, "#/role"),
    ] {
        let answer = ask(&world.root(), Method::POST, "/v1/tokens", &headers, body).await;
        assert_eq!(outcome(&answer), "400 invalid_field", "{body}");
        assert_eq!(json(&answer)["errors"][0]["pointer"], pointer, "{body}");
    }
    assert!(world.root().tokens().await.unwrap().is_empty());
}

//! Every route, for everybody: nobody, a wrong token, a token of a role that may
//! nothing, of another project, and an admin's.

use http::Method;
use serde_json::Value;
use shipway_client::Client;

use crate::world::{World, ask, outcome};

/// Every route of the document: method, path with its places filled, and whether
/// it is public.
fn routes(service: &str) -> Vec<(Method, String, bool)> {
    let document: Value = serde_json::from_str(&shipway_api::openapi_json()).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            let public = operation["security"].as_array().unwrap().is_empty();
            routes.push((method, fill(path, service), public));
        }
    }
    assert!(routes.len() > 25, "{routes:?}");
    routes
}

fn fill(path: &str, service: &str) -> String {
    path.replace("{service}", service)
        .replace("{name}", service)
        .replace("{release}", "1")
        .replace("{other}", "1")
        .replace("{token}", "3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb")
        .replace("{check}", "store")
}

async fn visit(client: &Client, method: Method, path: &str) -> String {
    let headers = [("content-type", "application/json"), ("accept", "application/problem+json")];
    outcome(&ask(client, method, path, &headers, "{}").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_only_public_routes_answer() {
    let world = World::start().await;
    let service = world.deploy("hello").await;
    let good = world.token("admin", "default").await;
    let mut mistyped = good.clone();
    mistyped.replace_range(10..11, if &good[10..11] == "x" { "y" } else { "x" });
    let unknown = shipway_api::Secret::mint().unwrap();
    for token in [None, Some("nonsense"), Some(&mistyped), Some(unknown.reveal()), Some("")] {
        let client = world.client(token);
        for (method, path, public) in routes("hello") {
            let outcome = visit(&client, method.clone(), &path).await;
            let refused = outcome == "401 unauthorized";
            assert_eq!(refused, !public, "{method} {path} with {token:?}: {outcome}");
        }
    }
    let untouched = world.root().service("hello").await.unwrap();
    assert_eq!(untouched, service, "nothing may have been done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_we_do_not_know_is_forbidden_everything() {
    let world = World::start().await;
    world.deploy("hello").await;
    let client = world.client(Some(&world.token("deity", "default").await));
    for (method, path, public) in routes("hello") {
        let outcome = visit(&client, method.clone(), &path).await;
        assert_eq!(outcome == "403 forbidden", !public, "{method} {path}: {outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_may_use_every_route() {
    let world = World::start().await;
    let client = world.client(Some(&world.token("admin", "default").await));
    for (method, path, _) in routes("hello") {
        world.deploy("hello").await;
        let outcome = visit(&client, method.clone(), &path).await;
        let refused = outcome.starts_with("401") || outcome.starts_with("403") || outcome.starts_with('5');
        assert!(!refused, "{method} {path}: {outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_projects_things_do_not_exist() {
    let world = World::start().await;
    let service = world.deploy("hello").await;
    let foreign = world.client(Some(&world.token("admin", "theirs").await));
    let nowhere = "3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb";
    for (method, path, public) in routes(&service.id) {
        // A PUT takes a name, and an id is none.
        if public || !path.contains(&service.id) || method == Method::PUT {
            continue;
        }
        let theirs = visit(&foreign, method.clone(), &path).await;
        let missing = visit(&foreign, method.clone(), &path.replace(&service.id, nowhere)).await;
        assert_eq!(theirs, "404 not_found", "{method} {path}");
        assert_eq!(theirs, missing, "{method} {path}");
    }
    assert!(foreign.services(None).await.unwrap().is_empty());
    assert_eq!(world.root().service("hello").await.unwrap(), service);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_how_to_ask_and_nothing_else() {
    let world = World::start().await;
    world.deploy("hello").await;
    let there = ask(&world.client(None), Method::GET, "/v1/services/hello", &[], "").await;
    assert_eq!(there.headers()["www-authenticate"], "Bearer realm=\"shipway\"");
    let text = crate::world::text(&there);
    assert!(!text.contains("example.com"), "{text}");
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    let answer = ask(&world.client(None), Method::GET, "/v1/services", &twice, "").await;
    assert_eq!(outcome(&answer), "401 unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_of_nobodys_gets_its_answer_all_the_same() {
    let world = World::start().await;
    let large = vec![0; 8 << 20];
    let refused = world.client(None).upload_bytes(large.into()).await.unwrap_err();
    assert_eq!(refused.problem().expect("the answer should come through").code, "unauthorized");
}

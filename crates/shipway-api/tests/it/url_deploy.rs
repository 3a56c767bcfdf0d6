//! `PUT /services/{name}`, as the old system's README has it.

use http::Method;
use shipway_api::{ApiConfig, Contract, Contracts};

use crate::world::{HELLO, World, ask, json, outcome, put, text};

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_lines_work() {
    let world =
        World::start_as(ApiConfig { host: "127.0.0.1.nip.io".to_owned(), public_port: 80, ..ApiConfig::default() })
            .await;
    let body = format!("{{\n    \"url\": \"{HELLO}\",\n    \"is_script\": true\n  }}");
    let answer = put(&world.root(), "/services/my-service", &body).await;
    assert_eq!(outcome(&answer), "200");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let service = world.root().service("my-service").await.unwrap();
    assert_eq!(text(&answer), format!("{{\"url\":\"http://{}.127.0.0.1.nip.io\"}}", service.id));
    assert_eq!(service.kind, Some(shipway_api_types::ContentKind::Script));
    let again = put(&world.root(), "/services/my-service", &body).await;
    assert_eq!(text(&again), text(&answer), "the same name is the same service");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_text_is_a_name_and_one_slug_is_one_service() {
    let world = World::start().await;
    let body = format!(r#"{{"url": "{HELLO}", "unknown": [1]}}"#);
    let one = text(&put(&world.root(), "/services/My%20Service!", &body).await);
    let two = text(&put(&world.root(), "/services/my_service", &body).await);
    assert_eq!(one, two);
    assert!(one.contains(":8080"), "a port that is not 80 is part of the URL: {one}");
    let service = world.root().service("my-service").await.unwrap();
    assert_eq!(service.kind, Some(shipway_api_types::ContentKind::Static), "false unless told");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_bare_codes_and_problems_for_those_who_ask() {
    let world = World::start().await;
    let long = format!(r#"{{"url": "{HELLO}"}}"#).replace("hello", &"x".repeat(1 << 20));
    for (name, body, status, code) in [
        ("x", "", 400, "invalid_json"),
        ("x", "[]", 400, "invalid_json"),
        ("x", r#"{"url": 5}"#, 400, "invalid_json"),
        ("x", r#"{"is_script": "yes", "url": "https://example.com/x"}"#, 400, "invalid_json"),
        ("x", "{}", 400, "invalid_url"),
        ("x", r#"{"url": null}"#, 400, "invalid_url"),
        ("x", r#"{"url": "http://127.0.0.1/x"}"#, 400, "invalid_url"),
        ("x", r#"{"url": "https://example.com/private"}"#, 400, "invalid_url"),
        ("%20", r#"{"url": "https://example.com/x"}"#, 400, "invalid_name"),
        ("", r#"{"url": "https://example.com/x"}"#, 400, "invalid_name"),
        ("%E6%97%A5", r#"{"url": "https://example.com/x"}"#, 400, "invalid_name"),
        ("x", r#"{"url": "https://example.com/missing"}"#, 500, "failed_create_job"),
        ("x", r#"{"url": "https://example.com/broken"}"#, 500, "failed_create_job"),
        ("x", long.as_str(), 413, "body_too_large"),
    ] {
        let path = format!("/services/{name}");
        let old = put(&world.root(), &path, body).await;
        assert_eq!((old.status().as_u16(), text(&old)), (status, format!("{code}\n")), "{name} {body:.60}");
        assert_eq!(old.headers()["content-type"], "text/plain; charset=utf-8");
        let accept = [("accept", "application/problem+json"), ("content-type", "text/plain")];
        let new = ask(&world.root(), Method::PUT, &path, &accept, body).await;
        assert_eq!(outcome(&new), format!("{status} {code}"), "{name} {body:.60}");
        assert!(json(&new)["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
    let nobody = put(&world.client(None), "/services/x", "{}").await;
    assert_eq!((nobody.status().as_u16(), text(&nobody)), (401, "unauthorized\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_open_to_everybody_only_when_told_and_can_be_switched_off() {
    let body = format!(r#"{{"url": "{HELLO}"}}"#);
    let world = World::open_contract().await;
    assert_eq!(outcome(&put(&world.client(None), "/services/x", &body).await), "200");
    assert_eq!(outcome(&put(&world.client(None), "/v1/services/y", &body).await), "401 unauthorized");
    assert_eq!(outcome(&put(&world.client(Some("wrong")), "/services/x", &body).await), "401");
    let contracts = Contracts { url_deploy: Contract::Off, ..Contracts::default() };
    let world = World::start_as(ApiConfig { contracts, ..ApiConfig::default() }).await;
    assert_eq!(outcome(&put(&world.root(), "/services/x", &body).await), "404 not_found");
}

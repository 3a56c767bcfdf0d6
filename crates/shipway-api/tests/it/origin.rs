//! Requests a web page could have made.

use http::Method;

use crate::world::{HELLO, World, ask, outcome};

#[tokio::test(flavor = "multi_thread")]
async fn only_hosts_of_the_api_are_answered() {
    let world = World::start().await;
    let client = world.root();
    for (host, expected) in [
        ("localhost:8080", "200"),
        ("127.0.0.1:8080", "200"),
        ("api.test", "200"),
        ("API.TEST:80", "200"),
        ("hello.localhost:8080", "421 wrong_host"),
        ("attacker.example", "421 wrong_host"),
        ("localhost.attacker.example", "421 wrong_host"),
    ] {
        for path in ["/v1/services", "/livez", "/"] {
            let answer = ask(&client, Method::GET, path, &[("host", host)], "").await;
            assert_eq!(outcome(&answer), expected, "{host} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_changes_nothing() {
    let world = World::start().await;
    let before = world.deploy("hello").await;
    let body = format!(r#"{{"url": "{HELLO}", "kind": "script"}}"#);
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "http://hello.localhost:8080"),
        ("origin", "http://localhost:9999"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for (method, path) in [
            (Method::PUT, "/v1/services/hello"),
            (Method::PUT, "/services/hello"),
            (Method::POST, "/v1/services/hello/stop"),
            (Method::POST, "/v1/tokens"),
            (Method::POST, "/v1/uploads"),
            (Method::DELETE, "/v1/services/hello"),
        ] {
            let headers = [
                foreign,
                ("host", "localhost:8080"),
                ("content-type", "application/json"),
                ("accept", "application/problem+json"),
            ];
            let answer = ask(&world.root(), method, path, &headers, &body).await;
            assert_eq!(outcome(&answer), "403 foreign_origin", "{foreign:?} {path}");
        }
    }
    assert_eq!(world.root().service("hello").await.unwrap(), before);
    let own = [("origin", "http://localhost:8080"), ("host", "localhost:8080"), ("sec-fetch-site", "same-origin")];
    let answer = ask(&world.root(), Method::POST, "/v1/services/hello/stop", &own, "").await;
    assert_eq!(outcome(&answer), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_readable_by_another_origin() {
    let world = World::start().await;
    let headers = [("origin", "http://evil.example")];
    let answer = ask(&world.root(), Method::GET, "/v1/services", &headers, "").await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    let asked = [("origin", "http://evil.example"), ("access-control-request-method", "PUT")];
    let answer = ask(&world.root(), Method::OPTIONS, "/v1/services/x", &asked, "").await;
    assert_eq!(outcome(&answer), "405 method_not_allowed");
}

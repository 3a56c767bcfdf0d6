//! Bad input: each names what is wrong, why, and nothing is done.

use http::Method;

use crate::world::{HELLO, World, ask, json, outcome, put};

/// Deploys `body` under `name`: `status code pointer…`.
async fn answer(world: &World, name: &str, body: &str) -> String {
    let response = put(&world.root(), &format!("/v1/services/{name}"), body).await;
    let problem = json(&response);
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .map(|errors| errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect())
        .unwrap_or_default();
    format!("{} {}", outcome(&response), pointers.join(" ")).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_is_named_field_by_field() {
    let world = World::start().await;
    for (body, expected) in [
        ("", "400 invalid_json"),
        ("{", "400 invalid_json"),
        ("url=x", "400 invalid_json"),
        ("[]", "400 invalid_field #"),
        ("{}", "400 invalid_field #/url"),
        (r#"{"url": 5}"#, "400 invalid_field #/url"),
        (r#"{"uri": "https://example.com/x"}"#, "400 invalid_field #/uri"),
        (r#"{"url": "https://example.com/x", "kind": "cgi"}"#, "400 invalid_field #/kind"),
        (r#"{"url": "https://example.com/x", "runner": "apache"}"#, "400 invalid_field #/runner"),
        (
            r#"{"url": "https://example.com/x", "runner": "nginx", "env": {"SHIPWAY_KIND": "x"}}"#,
            "400 invalid_field #/env/SHIPWAY_KIND",
        ),
        (r#"{"url": "https://example.com/x", "limits": {"pids": 1}}"#, "400 invalid_field #/limits/pids"),
        (r#"{"url": "https://example.com/x", "limits": []}"#, "400 invalid_field #/limits"),
        (r#"{"url": "https://example.com/x", "env": {"A=B": "x"}}"#, "400 invalid_field #/env/A=B"),
        (
            r#"{"url": "https://example.com/x", "health": {"path": "x", "deadline_ms": 1}, "env": {"1": ""}}"#,
            "400 invalid_field #/health/path #/health/deadline_ms #/env/1",
        ),
        (r#"{"url": "https://example.com/x", "upload": "sha256:00"}"#, "400 invalid_field #/upload"),
        (r#"{"upload": "sha256:00"}"#, "400 invalid_field #/upload"),
        (r#"{"url": "https://example.com/x", "file_name": "x"}"#, "400 invalid_field #/file_name"),
    ] {
        assert_eq!(answer(&world, "hello", body).await, expected, "{body}");
    }
    let missing = format!(r#"{{"upload": "sha256:{}"}}"#, "0".repeat(64));
    assert_eq!(answer(&world, "hello", &missing).await, "400 invalid_field #/upload");
    assert!(world.root().services(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_is_told_the_rule() {
    let world = World::start().await;
    let body = format!(r#"{{"url": "{HELLO}"}}"#);
    let long = "a".repeat(64);
    for name in [
        "",
        "A",
        "a_b",
        "-a",
        "a-",
        "a.b",
        "a%2Fb",
        "a%20b",
        "%C3%A9",
        "api%00",
        &long,
        "3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb",
    ] {
        assert_eq!(answer(&world, name, &body).await, "400 invalid_name path:name", "{name}");
    }
    let response = put(&world.root(), "/v1/services/a_b", &body).await;
    let detail = json(&response)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("DNS label"), "{detail}");
    assert!(world.root().services(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_may_not_be_fetched_is_told_which_rule() {
    let world = World::start().await;
    for url in [
        "ftp://example.com/x",
        "file:///etc/passwd",
        "https://user:secret@example.com/x",
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest",
        "http://localhost/x",
        "http://0x7f.1/x",
        "http://example.com:22/x",
        "nonsense",
        "",
    ] {
        let body = serde_json::json!({ "url": url }).to_string();
        assert_eq!(answer(&world, "hello", &body).await, "400 fetch_refused #/url", "{url}");
    }
    assert!(world.root().services(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_with_or_without_a_length() {
    let world = World::start().await;
    let large = format!(r#"{{"url": "{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(answer(&world, "hello", &large).await, "413 body_too_large");
    // At the limit it is read: then it is the URL that is wrong.
    let fits = format!(r#"{{"url": "{}"}}"#, "x".repeat((1 << 20) - 11));
    assert_eq!(fits.len(), 1 << 20);
    assert_eq!(answer(&world, "hello", &fits).await, "400 fetch_refused #/url");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_json_is_taken_for_json() {
    let world = World::start().await;
    let body = format!(r#"{{"url": "{HELLO}"}}"#);
    for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let headers = [("content-type", media)];
        let answer = ask(&world.root(), Method::PUT, "/v1/services/hello", &headers, &body).await;
        assert_eq!(outcome(&answer), "415 unsupported_media_type", "{media}");
    }
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    let answer = ask(&world.root(), Method::PUT, "/v1/services/hello", &headers, &body).await;
    assert_eq!(outcome(&answer), "201");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_makes_no_sense_is_named() {
    let world = World::start().await;
    world.deploy("hello").await;
    for (path, pointer) in [
        ("/v1/services?limt=1", "query:limt"),
        ("/v1/services?limit=0", "query:limit"),
        ("/v1/services?limit=1&limit=2", "query:limit"),
        ("/v1/services?limit=many", "query:limit"),
        ("/v1/services?state=gone", "query:state"),
        ("/v1/services?cursor=!", "query:cursor"),
        ("/v1/services/hello/releases?cursor=bm9uZQ", "query:cursor"),
        ("/v1/services/hello/events?cursor=x", "query:cursor"),
        ("/v1/services/hello/logs?cursor=x", "query:cursor"),
        ("/v1/services/hello/logs?since=yesterday", "query:since"),
        ("/v1/services/hello/logs?follow=maybe", "query:follow"),
        ("/v1/services/hello/logs?format=xml", "query:format"),
        ("/v1/services/hello/releases/0", "path:release"),
        ("/v1/services/hello/releases/1/diff/x", "path:release"),
        ("/v1/services/hello?wait=301", "query:wait"),
    ] {
        let answer = ask(&world.root(), Method::GET, path, &[], "").await;
        assert_eq!(outcome(&answer), "400 invalid_parameter", "{path}");
        assert_eq!(json(&answer)["errors"][0]["pointer"], pointer, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let world = World::start().await;
    world.deploy("hello").await;
    for (method, path, expected) in [
        (Method::GET, "/v1/nothing", "404 not_found"),
        (Method::GET, "/v1/services/other", "404 not_found"),
        (Method::GET, "/v1/services/NOT%20A%20NAME", "404 not_found"),
        (Method::GET, "/v1/services/hello/releases/9", "404 no_such_release"),
        (Method::PATCH, "/v1/services/hello", "405 method_not_allowed"),
        (Method::DELETE, "/v1/services", "405 method_not_allowed"),
        (Method::GET, "/v1/services/hello/exec", "426 upgrade_required"),
    ] {
        let answer = ask(&world.root(), method.clone(), path, &[], "").await;
        assert_eq!(outcome(&answer), expected, "{method} {path}");
        let problem = json(&answer);
        assert_eq!(problem["instance"], path, "{problem}");
        assert_eq!(answer.headers()["x-request-id"], problem["request_id"].as_str().unwrap());
    }
}

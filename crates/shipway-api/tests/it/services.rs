//! Services: deploy, read, list, change, delete.

use http::Method;
use serde_json::Value;
use shipway_api_types::{ContentKind, ServicePut, ServiceState, Wanted};
use shipway_client::Error;
use std::time::Duration;

use crate::world::{HELLO, PATIENCE, World, ask, json, outcome, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_answers_when_it_is_live() {
    let world = World::start().await;
    let body = format!(r#"{{"url": "{HELLO}", "kind": "script", "env": {{"A": "b"}}}}"#);
    let first = put(&world.root(), "/v1/services/hello", &body).await;
    assert_eq!(outcome(&first), "201");
    let service = json(&first);
    let id = service["id"].as_str().unwrap();
    assert_eq!(service["state"], "live");
    assert_eq!(service["release"], 1);
    assert_eq!(service["kind"], "script");
    assert_eq!(service["url"], format!("http://{id}.localhost:8080"));
    assert_eq!(service["urls"][1], "http://hello.localhost:8080");
    assert_eq!(first.headers()["etag"], service["etag"].as_str().unwrap());
    assert_eq!(first.headers()["location"], format!("/v1/services/{id}"));
    assert_eq!(first.headers()["shipway-changed"], "true");

    let again = put(&world.root(), "/v1/services/hello", &body).await;
    assert_eq!(outcome(&again), "200");
    assert_eq!(json(&again)["release"], 1, "the same content is no new release");
    assert_eq!(again.headers()["shipway-changed"], "false");

    let other = body.replace("\"b\"", "\"c\"");
    let changed = put(&world.root(), "/v1/services/hello", &other).await;
    assert_eq!(json(&changed)["release"], 2);
    assert_eq!(json(&changed)["id"], id, "the address stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_fails_says_what_was_seen_and_leaves_the_old_release_live() {
    let world = World::start().await;
    world.deploy("hello").await;
    let body = r#"{"url": "https://example.com/broken"}"#;
    let failed = put(&world.root(), "/v1/services/hello", body).await;
    assert_eq!(outcome(&failed), "422 release_not_ready");
    let problem = json(&failed);
    assert_eq!(problem["detail"], "no answer within 10 s");
    assert_eq!(problem["hint"], "see its log");
    assert_eq!(problem["log_tail"][0], "sh: syntax error");
    let body = r#"{"url": "https://example.com/missing"}"#;
    let failed = put(&world.root(), "/v1/services/hello", body).await;
    assert_eq!(outcome(&failed), "502 fetch_status");
    let service = world.root().service("hello").await.unwrap();
    assert_eq!((service.state, service.release), (ServiceState::Live, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deploy_that_fails_is_there_to_be_looked_at() {
    let world = World::start().await;
    let failed = put(&world.root(), "/v1/services/hello", r#"{"url": "https://example.com/broken"}"#).await;
    assert_eq!(outcome(&failed), "422 release_not_ready");
    let service = world.root().service("hello").await.unwrap();
    assert_eq!(service.state, ServiceState::Failed);
    assert!(service.reason.is_some());
    let start = world.root().start("hello", PATIENCE).await.unwrap_err();
    assert_eq!(start.problem().unwrap().code, "nothing_to_start");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_wait() {
    let world = World::start().await;
    world.at_work.send_replace(false);
    let body = format!(r#"{{"url": "{HELLO}"}}"#);
    let answer = put(&world.root(), "/v1/services/hello?wait=0", &body).await;
    assert_eq!(outcome(&answer), "202");
    let service = json(&answer);
    assert_eq!(service["state"], "starting");
    let location = answer.headers()["location"].to_str().unwrap().to_owned();

    let client = world.root();
    let etag = service["etag"].as_str().unwrap().to_owned();
    let unchanged = client.service_changed("hello", &etag, Duration::ZERO).await.unwrap();
    assert_eq!(unchanged, None);
    let watcher = tokio::spawn(async move { client.service_changed("hello", &etag, PATIENCE).await });
    world.at_work.send_replace(true);
    let changed = watcher.await.unwrap().unwrap().expect("it should have changed");
    assert_eq!(changed.id, service["id"].as_str().unwrap());
    let there = ask(&world.root(), Method::GET, &location, &[], "").await;
    assert_eq!(outcome(&there), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_has_changed_since_is_refused() {
    let world = World::start().await;
    let before = world.deploy("hello").await;
    world.deploy_url("hello", "https://example.com/other.sh").await;
    let now = world.root().service("hello").await.unwrap();
    assert_ne!(before.etag, now.etag);
    let body = format!(r#"{{"url": "{HELLO}"}}"#);
    for (method, path) in [
        (Method::PUT, "/v1/services/hello"),
        (Method::POST, "/v1/services/hello/stop"),
        (Method::DELETE, "/v1/services/hello"),
    ] {
        let headers = [("if-match", before.etag.as_str()), ("content-type", "application/json")];
        let answer = ask(&world.root(), method, path, &headers, &body).await;
        assert_eq!(outcome(&answer), "412 precondition_failed", "{path}");
        let headers = [("if-match", "v1"), ("content-type", "application/json")];
        let answer = ask(&world.root(), Method::PUT, "/v1/services/hello", &headers, &body).await;
        assert_eq!(outcome(&answer), "400 invalid_parameter", "an etag has quotes");
    }
    let headers = [("if-match", "*"), ("content-type", "application/json")];
    let answer = ask(&world.root(), Method::PUT, "/v1/services/new", &headers, &body).await;
    assert_eq!(outcome(&answer), "412 precondition_failed");
    let headers = [("if-match", now.etag.as_str()), ("content-type", "application/json")];
    let answer = ask(&world.root(), Method::PUT, "/v1/services/hello", &headers, &body).await;
    assert_eq!(outcome(&answer), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_stopped_started_restarted_and_deleted() {
    let world = World::start().await;
    let client = world.root();
    let id = world.deploy("hello").await.id;
    let stopped = client.stop("hello", PATIENCE).await.unwrap().value;
    assert_eq!((stopped.state, stopped.wanted), (ServiceState::Stopped, Wanted::Stopped));
    let started = client.start(&id, PATIENCE).await.unwrap().value;
    assert_eq!((started.state, started.release), (ServiceState::Live, Some(1)));
    client.restart("hello", PATIENCE).await.unwrap();
    assert!(client.delete("hello", PATIENCE).await.unwrap().done);
    let gone = client.service("hello").await.unwrap_err();
    assert!(matches!(gone, Error::Refused(problem) if problem.status == 404));
    let again = client.delete("hello", PATIENCE).await.unwrap_err();
    assert_eq!(again.problem().unwrap().code, "not_found");
    let events = client.events(&id, None).await.unwrap();
    assert!(events.items.iter().any(|event| event.event == "deleted"), "its events remain");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let world = World::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        world.deploy(name).await;
    }
    world.root().stop("b", PATIENCE).await.unwrap();
    world.root().stop("d", PATIENCE).await.unwrap();
    for (state, expected) in
        [("", "a b | c d | e"), ("&state=live", "a c | e"), ("&state=stopped", "b d |"), ("&state=failed", "")]
    {
        assert_eq!(pages(&world, &format!("/v1/services?limit=2{state}")).await, expected, "{state}");
    }
}

/// The names on each page.
async fn pages(world: &World, first: &str) -> String {
    let mut told = Vec::new();
    let mut path = Some(first.to_owned());
    while let Some(next) = path {
        let answer = ask(&world.root(), Method::GET, &next, &[], "").await;
        assert_eq!(outcome(&answer), "200", "{next}");
        let page = json(&answer);
        let names: Vec<&str> = page["items"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        told.push(names.join(" "));
        path = answer.headers().get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.trim_start_matches('<').split('>').next().unwrap().to_owned()
        });
        assert_eq!(path.is_some(), page["next"].is_string());
    }
    told.join(" | ").trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_uploaded_and_deployed() {
    let world = World::start().await;
    let client = world.root();
    let upload = client.upload_bytes("<h1>hello</h1>".into()).await.unwrap();
    assert_eq!(upload.size_bytes, 14);
    let put = ServicePut {
        upload: Some(upload.digest.clone()),
        file_name: Some("page.html".to_owned()),
        content_type: Some("text/html".to_owned()),
        ..ServicePut::default()
    };
    let deployed = client.deploy("page", &put, PATIENCE).await.unwrap();
    assert_eq!(deployed.service.kind, Some(ContentKind::Static));
    let source = client.release("page", 1).await.unwrap().source.unwrap();
    assert_eq!((source.digest, source.size_bytes, source.url), (upload.digest, 14, None));

    let large = client.upload_bytes(vec![0; (3 << 20) + 1].into()).await.unwrap_err();
    assert_eq!(large.problem().unwrap().code, "body_too_large");
    let fits = client.upload_bytes(vec![0; 3 << 20].into()).await.unwrap();
    assert_eq!(fits.size_bytes, 3 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deploys_of_one_name_are_both_answered() {
    let world = World::start().await;
    let client = world.root();
    let (one, two) = tokio::join!(
        put(&client, "/v1/services/hello", r#"{"url": "https://example.com/1"}"#),
        put(&client, "/v1/services/hello", r#"{"url": "https://example.com/2"}"#),
    );
    let statuses = [outcome(&one), outcome(&two)];
    assert!(statuses.contains(&"201".to_owned()) && statuses.contains(&"200".to_owned()), "{statuses:?}");
    let releases = world.root().releases("hello", 10, None).await.unwrap().items;
    let live = releases.iter().filter(|r| r.state == shipway_api_types::ReleaseState::Live).count();
    assert_eq!((releases.len(), live), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_who_asked() {
    let world = World::start().await;
    world.deploy("local").await;
    let token = world.token("admin", "default").await;
    let body = format!(r#"{{"url": "{HELLO}"}}"#);
    put(&world.client(Some(&token)), "/v1/services/remote", &body).await;
    let id = world.root().tokens().await.unwrap()[0].id.clone();
    for (name, actor) in [("local", "local"), ("remote", id.as_str())] {
        let events = world.root().events(name, None).await.unwrap().items;
        let first = serde_json::to_value(&events[0]).unwrap();
        assert_eq!(first["event"], "change_requested");
        assert_eq!(first["actor"], Value::from(actor));
        assert_eq!(first["change"], "deploy");
    }
}

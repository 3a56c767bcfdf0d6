//! `/v1/builds`: asked for, waited for, cancelled, made anew; and what comes of them.

use std::collections::BTreeSet;
use std::time::Instant;

use http::{Method, Response};
use serde_json::{Value, json as body};
use shipway_api::ApiConfig;
use shipway_store::WorkerFacts;

use crate::world::builder::{CADDY, GO, bytes_of};
use crate::world::{World, ask, json, outcome, text};

async fn create(world: &World, query: &str, wish: &Value) -> Response<bytes::Bytes> {
    let path = format!("/v1/builds{query}");
    ask(&world.root(), Method::POST, &path, &[("content-type", "application/json")], &wish.to_string()).await
}

async fn get(world: &World, path: &str) -> Response<bytes::Bytes> {
    ask(&world.root(), Method::GET, path, &[], "").await
}

async fn post(world: &World, path: &str) -> Response<bytes::Bytes> {
    ask(&world.root(), Method::POST, path, &[], "").await
}

fn wish(plugins: &[&str]) -> Value {
    body!({ "plugins": plugins, "os": "linux", "arch": "amd64" })
}

/// The id of a build that is made.
async fn made(world: &World, plugins: &[&str]) -> String {
    let answer = create(world, "?wait=20", &wish(plugins)).await;
    assert_eq!(json(&answer)["state"], "success", "{}", text(&answer));
    json(&answer)["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_asked_for_waited_for_and_fetched() {
    let world = World::start().await;
    world.at_builds.send_replace(false);
    let asked = create(&world, "", &wish(&["example.com/good"])).await;
    assert_eq!(outcome(&asked), "202");
    let id = json(&asked)["id"].as_str().unwrap().to_owned();
    assert_eq!(asked.headers()["location"], format!("/v1/builds/{id}"));
    assert_eq!(json(&asked)["state"], "pending");
    assert_eq!(outcome(&get(&world, &format!("/v1/builds/{id}/artifact")).await), "409 conflict");
    world.at_builds.send_replace(true);
    let told = json(&get(&world, &format!("/v1/builds/{id}?wait=20")).await);
    let key = told["key"].as_str().unwrap();
    assert_eq!(told["state"], "success");
    assert_eq!(told["program"], format!("github.com/caddyserver/caddy/v2@{CADDY}"));
    assert_eq!(
        told["plugins"][0],
        body!({"package": "example.com/good", "module": "example.com/good", "version": "v1.1.0"})
    );
    assert_eq!((&told["go"], &told["generation"], &told["worker"]), (&GO.into(), &1.into(), &"world".into()));
    let artifact = &told["artifact"];
    assert_eq!((&artifact["file_name"], &artifact["size_bytes"]), (&"caddy".into(), &(bytes_of(key).len().into())));
    let bytes = get(&world, artifact["url"].as_str().unwrap()).await;
    assert_eq!(bytes.body().as_ref(), bytes_of(key));
    assert_eq!(bytes.headers()["etag"], format!("\"{}\"", artifact["digest"].as_str().unwrap()));
    let again = create(&world, "", &wish(&["example.com/good@v1.1.0"])).await;
    assert_eq!((outcome(&again).as_str(), &json(&again)["id"]), ("200", &Value::from(id)), "equal builds are one");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_and_conditions() {
    let world = World::start().await;
    let id = made(&world, &[]).await;
    let path = format!("/v1/builds/{id}/artifact");
    let whole = get(&world, &path).await;
    let etag = whole.headers()["etag"].to_str().unwrap().to_owned();
    let fetch = async |headers: &[(&'static str, &str)]| ask(&world.root(), Method::GET, &path, headers, "").await;
    let part = fetch(&[("range", "bytes=10-19")]).await;
    assert_eq!((outcome(&part).as_str(), part.body().as_ref()), ("206", &whole.body()[10..20]));
    let size = whole.body().len();
    assert_eq!(part.headers()["content-range"], format!("bytes 10-19/{size}"));
    assert_eq!(part.headers()["content-length"], "10");
    let last = fetch(&[("range", "bytes=-5"), ("if-range", &etag)]).await;
    assert_eq!((outcome(&last).as_str(), last.body().as_ref()), ("206", &whole.body()[size - 5..]));
    let beyond = fetch(&[("range", &format!("bytes={size}-"))]).await;
    assert_eq!(
        (outcome(&beyond).as_str(), &beyond.headers()["content-range"]),
        ("416", &format!("bytes */{size}").parse().unwrap())
    );
    let other = fetch(&[("range", "bytes=0-1"), ("if-range", "\"another\"")]).await;
    assert_eq!((outcome(&other).as_str(), other.body().len()), ("200", size), "a part of something else is of no use");
    let several = fetch(&[("range", "bytes=0-1,5-6")]).await;
    assert_eq!((outcome(&several).as_str(), several.body().len()), ("200", size));
    let same = fetch(&[("if-none-match", &etag)]).await;
    assert_eq!((outcome(&same).as_str(), same.body().len()), ("304", 0));
    let head = ask(&world.root(), Method::HEAD, &path, &[], "").await;
    assert_eq!((head.body().len(), &head.headers()["content-length"]), (0, &size.to_string().parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_an_artifact_has_urls_of_its_own() {
    let world = World::start().await;
    let id = made(&world, &[]).await;
    let document = async |word: &str| get(&world, &format!("/v1/builds/{id}/artifact/{word}")).await;
    let key = json(&get(&world, "/v1/keys").await)["minisign"].as_str().unwrap().to_owned();
    let bytes = get(&world, &format!("/v1/builds/{id}/artifact")).await.body().to_vec();
    let signature = text(&document("minisig").await);
    let said = shipway_artifacts::sign::verify(&key, &signature, std::io::Cursor::new(&bytes)).unwrap();
    assert!(said.starts_with("file:caddy\t"), "{said}");
    let checksum = text(&document("sha256").await);
    let digest =
        json(&get(&world, &format!("/v1/builds/{id}")).await)["artifact"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(checksum, format!("{}  caddy\n", digest.trim_start_matches("sha256:")));
    assert_eq!(json(&document("sbom").await)["bomFormat"], "CycloneDX");
    assert_eq!(document("provenance").await.headers()["content-type"], "application/vnd.in-toto+json");
    assert!(text(&document("asc").await).starts_with("-----BEGIN PGP SIGNATURE"));
    assert_eq!(outcome(&document("nonsense").await), "404 not_found");
    let found = json(&get(&world, &format!("/v1/builds?digest={digest}")).await);
    assert_eq!(found["items"][0]["id"], id.as_str());
    assert_eq!(outcome(&get(&world, "/v1/builds?digest=x").await), "400 invalid_parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_lines_come_again_from_anywhere_and_end_with_the_build() {
    let world = World::start().await;
    world.at_builds.send_replace(false);
    let asked = json(&create(&world, "", &wish(&["example.com/broken"])).await);
    let id = asked["id"].as_str().unwrap().to_owned();
    let (client, path) = (world.root(), format!("/v1/builds/{id}/events?follow&format=ndjson"));
    let following = tokio::spawn(async move { ask(&client, Method::GET, &path, &[], "").await });
    world.at_builds.send_replace(true);
    let events: Vec<Value> = text(&following.await.unwrap())
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let words: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let all = ["build_requested", "build_began", "build_step", "build_output", "build_step", "build_failed"];
    assert_eq!(words, all);
    let stream = [("accept", "text/event-stream")];
    let replay = text(&ask(&world.root(), Method::GET, &format!("/v1/builds/{id}/events"), &stream, "").await);
    assert_eq!(replay.matches("\ndata: {\"subject\"").count() + 1, 6 + 1, "{replay}");
    assert!(replay.ends_with("event: end\ndata: {}\n\n"), "{replay}");
    let ids: Vec<&str> = replay.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let resume = [("accept", "text/event-stream"), ("last-event-id", ids[3])];
    let rest = text(&ask(&world.root(), Method::GET, &format!("/v1/builds/{id}/events"), &resume, "").await);
    assert!(rest.matches("id: ").count() == 2 && rest.contains("build_failed"), "{rest}");
    let resume = [("accept", "text/event-stream"), ("last-event-id", ids[5])];
    let rest = text(&ask(&world.root(), Method::GET, &format!("/v1/builds/{id}/events"), &resume, "").await);
    assert_eq!(rest, "event: end\ndata: {}\n\n", "after the end there is the end");
    let page = json(&get(&world, &format!("/v1/builds/{id}/events?limit=2")).await);
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert!(page["next"].is_string());

    let log = get(&world, &format!("/v1/builds/{id}/logs?follow")).await;
    assert_eq!(log.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(text(&log), "broken.go:3:1: syntax error\nand so on\n");
    let lines = text(&get(&world, &format!("/v1/builds/{id}/logs?format=ndjson")).await);
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&line["step"], &line["text"]), (&"compile".into(), &"broken.go:3:1: syntax error".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_are_listed_cancelled_and_made_anew() {
    let world = World::start().await;
    let first = made(&world, &[]).await;
    let failed = json(&create(&world, "?wait=20", &wish(&["example.com/broken"])).await);
    assert_eq!((&failed["state"], &failed["failure"]["code"]), (&"failed".into(), &"compile_failed".into()));
    assert_eq!(failed["failure"]["log_tail"][0], "broken.go:3:1: syntax error");
    world.at_builds.send_replace(false);
    let k6 = json(&create(&world, "", &body!({"recipe": "k6", "version": "v1", "os": "linux", "arch": "amd64"})).await);
    assert_eq!(k6["program"], "go.k6.io/k6@v1.8.1");
    let list = async |query: &str| {
        let page = json(&get(&world, &format!("/v1/builds{query}")).await);
        page["items"].as_array().unwrap().iter().map(|it| it["recipe"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, ["k6", "caddy", "caddy"], "the newest first");
    assert_eq!(list("?recipe=caddy&state=failed").await, ["caddy"]);
    let page = json(&get(&world, "/v1/builds?limit=2").await);
    let next = page["next"].as_str().unwrap();
    assert_eq!(list(&format!("?limit=2&cursor={next}")).await, ["caddy"]);

    let id = k6["id"].as_str().unwrap();
    assert_eq!(json(&post(&world, &format!("/v1/builds/{id}/cancel")).await)["state"], "cancelled");
    assert_eq!(json(&post(&world, &format!("/v1/builds/{id}/cancel")).await)["state"], "cancelled");
    assert_eq!(outcome(&get(&world, &format!("/v1/builds/{id}/artifact")).await), "409 cancelled");
    world.at_builds.send_replace(true);
    let again = json(&post(&world, &format!("/v1/builds/{first}/rebuild?wait=20")).await);
    assert_eq!((&again["generation"], &again["state"]), (&2.into(), &"success".into()));
    let forced = body!({"os": "linux", "arch": "amd64", "force": true});
    assert_eq!(json(&create(&world, "?wait=20", &forced).await)["generation"], 3);
    let failed = failed["id"].as_str().unwrap();
    assert_eq!(outcome(&get(&world, &format!("/v1/builds/{failed}/artifact")).await), "422 compile_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_name_their_place() {
    let world = World::start().await;
    for (wish, answer, pointer) in [
        (body!({"arch": "amd64"}), "400 invalid_field", "#/os"),
        (body!({"os": "linux", "arch": "amd64", "plugin": []}), "400 invalid_field", "#/plugin"),
        (body!({"recipe": "nginx", "os": "linux", "arch": "amd64"}), "400 invalid_build", "#/recipe"),
        (body!({"os": "plan9", "arch": "amd64"}), "400 invalid_build", "#/os"),
        (body!({"os": "linux", "arch": "vax"}), "400 invalid_build", "#/arch"),
        (body!({"os": "linux", "arch": "amd64", "arm": 7}), "400 invalid_build", "#/arm"),
        (
            body!({"os": "linux", "arch": "amd64", "plugins": ["example.com/good", "a b"]}),
            "400 invalid_build",
            "#/plugins/1",
        ),
        (body!({"os": "linux", "arch": "amd64", "replacements": ["x"]}), "400 invalid_build", "#/replacements/0"),
        (body!({"os": "linux", "arch": "amd64", "version": "patch"}), "400 invalid_build", "#/version"),
        (
            body!({"os": "linux", "arch": "amd64", "plugins": vec!["example.com/good"; 200]}),
            "400 invalid_build",
            "#/plugins",
        ),
        (
            body!({"os": "linux", "arch": "amd64", "plugins": ["example.com/gone"]}),
            "400 unresolved",
            "example.com/gone@latest",
        ),
    ] {
        let told = create(&world, "", &wish).await;
        assert_eq!(outcome(&told), answer, "{wish}");
        assert_eq!(json(&told)["errors"][0]["pointer"], pointer, "{wish}: {}", text(&told));
    }
    assert_eq!(outcome(&get(&world, "/v1/builds/x").await), "404 not_found");
    assert_eq!(outcome(&post(&world, "/v1/builds/3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb/cancel").await), "404 not_found");
    assert_eq!(outcome(&get(&world, "/v1/builds?state=ready").await), "400 invalid_parameter");
    let off = World::start_with(ApiConfig::default(), false).await;
    assert_eq!(outcome(&get(&off, "/v1/builds").await), "501 builds_unavailable");
    assert_eq!(outcome(&create(&off, "", &wish(&[])).await), "501 builds_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_its_projects() {
    let world = World::start().await;
    let id = made(&world, &[]).await;
    let token = world.token("admin", "other").await;
    let stranger = world.client(Some(&token));
    for (method, rest) in [
        (Method::GET, ""),
        (Method::GET, "/artifact"),
        (Method::GET, "/artifact/sha256"),
        (Method::GET, "/events"),
        (Method::GET, "/logs"),
        (Method::POST, "/cancel"),
        (Method::POST, "/rebuild"),
    ] {
        let answer = ask(&stranger, method, &format!("/v1/builds/{id}{rest}"), &[], "").await;
        assert_eq!(outcome(&answer), "404 not_found", "{rest}");
    }
    assert_eq!(text(&ask(&stranger, Method::GET, "/v1/builds", &[], "").await), r#"{"items":[]}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_go_of_a_living_worker_builds() {
    let world = World::start().await;
    let register = async |id: &str, labels: &[&str]| {
        let labels: BTreeSet<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let (host, version) = ("host-1".to_owned(), "0.1.0".to_owned());
        let facts = WorkerFacts { id: id.to_owned(), host, engine: None, capacity: 2, labels, version, streams: None };
        world.store.register_worker(&facts).await.unwrap();
    };
    register("old", &["builds", "go=1.9.7"]).await;
    let refused = create(&world, "", &wish(&[])).await;
    assert_eq!(outcome(&refused), "422 go_too_old");
    assert!(text(&refused).contains("Go 1.25.0 or newer is needed, and the newest that a worker has is 1.9.7"));
    register("no-builder", &["go=9.9.9"]).await;
    register("new", &["builds", "go=1.30.0"]).await;
    let told = json(&create(&world, "?wait=20", &wish(&[])).await);
    assert_eq!((&told["go"], &told["state"]), (&"1.30.0".into(), &"success".into()));
}

/// Not a timed test: it says what it took, and that nobody but the store was asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_cached_build_is_answered_without_asking_a_proxy() {
    let world = World::start().await;
    let wish = body!({"version": CADDY, "plugins": ["example.com/good@v1.0.0"], "os": "linux", "arch": "amd64"});
    assert_eq!(json(&create(&world, "?wait=20", &wish).await)["state"], "success");
    std::fs::remove_dir_all(world.modules.directory()).unwrap();
    let began = Instant::now();
    const TIMES: u32 = 200;
    for _ in 0..TIMES {
        assert_eq!(outcome(&create(&world, "", &wish).await), "200");
    }
    println!("a cached build was answered in {:?}", began.elapsed() / TIMES);
    let other = body!({"version": CADDY, "plugins": ["example.com/good@v1.1.0"], "os": "linux", "arch": "amd64"});
    assert_ne!(outcome(&create(&world, "", &other).await), "200", "what was not settled yet cannot be");
}

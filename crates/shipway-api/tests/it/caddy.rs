//! The Caddy build server's endpoints and the download page's, as their READMEs and the `caddy`
//! command have them.

use std::time::Duration;

use http::{Method, Response};
use serde_json::Value;
use shipway_api::{ApiConfig, Contract, Contracts};
use shipway_model::ProjectName;
use shipway_store::BuildFilter;

use crate::world::builder::{CADDY, bytes_of};
use crate::world::{PATIENCE, World, ask, json, outcome, text, wait_until};

const COMPAT: &str = "/api/compat?os=linux&arch=amd64";
const DOWNLOAD: &str = "/api/download?os=linux&arch=amd64";

async fn get(world: &World, path: &str) -> Response<bytes::Bytes> {
    ask(&world.root(), Method::GET, path, &[], "").await
}

async fn post(world: &World, body: &str) -> Response<bytes::Bytes> {
    ask(&world.root(), Method::POST, "/api/build", &[("content-type", "application/json")], body).await
}

async fn keys(world: &World) -> Vec<String> {
    let builds = world.store.list_builds(&ProjectName::default(), &BuildFilter::default(), None, 100).await.unwrap();
    builds.into_iter().map(|build| build.key).collect()
}

async fn only_key(world: &World) -> String {
    let keys = keys(world).await;
    assert_eq!(keys.len(), 1);
    keys.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_line_works() {
    let world = World::start().await;
    let answer = get(&world, COMPAT).await;
    assert_eq!(outcome(&answer), "200");
    let key = only_key(&world).await;
    assert_eq!(answer.body().as_ref(), bytes_of(&key));
    let headers = answer.headers();
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(headers["content-disposition"], "attachment; filename=caddy");
    assert_eq!(headers["accept-ranges"], "bytes");
    assert_eq!(headers["content-length"], answer.body().len().to_string());
    assert!(headers["etag"].to_str().unwrap().starts_with("\"sha256:"), "{headers:?}");
    httpdate_is_read(headers["last-modified"].to_str().unwrap());
    let windows = get(&world, "/api/compat?os=windows&arch=arm64").await;
    assert_eq!(windows.headers()["content-disposition"], "attachment; filename=caddy.exe");
}

fn httpdate_is_read(text: &str) {
    httpdate::parse_http_date(text).unwrap_or_else(|error| panic!("{text}: {error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_poll_fetch() {
    let world = World::start().await;
    world.at_builds.send_replace(false);
    let body = r#"{"caddy_version": "latest", "os": "linux", "arch": "arm", "unknown": 1,
        "plugins": [{"module": "example.com/good"}, {"module": "example.com/deep/sub/pkg", "version": "v1.0.0"}],
        "replacements": [{"old": "example.com/x", "new": "example.com/plain", "new_version": "v1.0.0"}]}"#;
    let answer = post(&world, body).await;
    assert_eq!(outcome(&answer), "202");
    let key = json(&answer)["build_key"].as_str().unwrap().to_owned();
    assert_eq!(json(&answer)["status"], "pending");
    let early = get(&world, &format!("/api/download/{key}")).await;
    assert_eq!(
        (outcome(&early).as_str(), text(&early).as_str()),
        ("202", r#"{"error":"build in progress (status: pending)"}"#)
    );

    world.at_builds.send_replace(true);
    wait_until("the build", async || json(&get(&world, &format!("/api/build/{key}")).await)["status"] == "completed")
        .await;
    let told = json(&get(&world, &format!("/api/build/{key}")).await);
    assert_eq!(told["build_key"], key.as_str());
    assert_eq!(told["caddy_version"], CADDY, "latest is settled");
    assert_eq!(told["plugins"], serde_json::json!(["example.com/deep/sub/pkg@v1.0.0", "example.com/good@v1.1.0"]));
    assert_eq!(told["replacements"], serde_json::json!(["example.com/x=example.com/plain@v1.0.0"]));
    assert_eq!((&told["os"], &told["arch"], &told["arm"]), (&"linux".into(), &"arm".into(), &6.into()));
    assert_eq!((&told["has_signature"], &told["attempt"]), (&true.into(), &1.into()));
    for field in ["storage_key", "created_at", "updated_at", "completed_at"] {
        assert!(told[field].is_string(), "{field}: {told}");
    }
    for field in ["error_message", "worker_id", "locked_at"] {
        assert_eq!(told[field], Value::Null, "{field}: {told}");
    }
    let again = post(&world, body).await;
    assert_eq!(outcome(&again), "200");
    assert_eq!(json(&again)["message"], "build already exists");
    assert_eq!(json(&again)["status"], "completed");
    let artifact = get(&world, &format!("/api/download/{key}")).await;
    assert_eq!(artifact.body().as_ref(), bytes_of(&key));
    assert_eq!(keys(&world).await.len(), 1);

    let forced = body.replacen('{', r#"{"force": true,"#, 1);
    assert_eq!(outcome(&post(&world, &forced).await), "202", "force makes it anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let world = World::start().await;
    for key in ["nonsense", "01cec85832d2f8259f1fcc534c9e2bc13a871542d512c530677b619603e9f5d4"] {
        for path in ["build", "download"] {
            let answer = get(&world, &format!("/api/{path}/{key}")).await;
            assert_eq!((outcome(&answer).as_str(), text(&answer).as_str()), ("404", r#"{"error":"build not found"}"#));
        }
    }
    let answer = ask(&world.root(), Method::GET, "/api/build/x", &[("accept", "application/problem+json")], "").await;
    assert_eq!(outcome(&answer), "404 not_found");
}

/// The same mistakes, in a body and in a query.
#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named() {
    let world = World::start().await;
    for (body, named) in [
        ("", "the body is not such JSON"),
        ("[1]", "the body is not such JSON"),
        ("{}", "caddy_version is required"),
        (r#"{"caddy_version":"latest","arch":"amd64"}"#, "os is required"),
        (r#"{"caddy_version":"latest","os":"linux","arch":"amd64","plugins":[{}]}"#, "plugins: module is required"),
        (
            r#"{"caddy_version":"latest","os":"linux","arch":"amd64","replacements":[{"old":"a.b/c","new":"a.b/d"}]}"#,
            "replacements: new_version is required",
        ),
        (r#"{"caddy_version":"v99.0.0","os":"linux","arch":"amd64"}"#, "v99.0.0"),
    ] {
        let answer = post(&world, body).await;
        assert_eq!(outcome(&answer), "400", "{body}");
        let error = json(&answer)["error"].as_str().unwrap().to_owned();
        assert!(error.contains(named), "{body}: {error}");
    }
    for (query, named) in [
        ("", "unknown os"),
        ("os=linux", "unknown arch"),
        ("os=plan9&arch=amd64", "plan9"),
        ("os=linux&arch=amd64&arm=7", "arm=7 goes with arch=arm only"),
        ("os=linux&arch=arm&arm=9", "unknown arm version"),
        ("os=linux&arch=amd64&p=no%20path", "no+path"),
        ("os=linux&arch=amd64&p=../../etc", "../../etc"),
        ("os=linux&arch=amd64&p=example.com/good@", "nothing follows the @"),
        ("os=linux&arch=amd64&p=example.com/good@v9.9.9", "example.com/good@v9.9.9"),
        ("os=linux&arch=amd64&p=example.com/retracted@v1.0.1", "retracted"),
        ("os=linux&arch=amd64&p=example.com/nothing", "example.com/nothing"),
        ("os=linux&arch=amd64&p=example.com/good@v1.0.0&p=example.com/good@v1.1.0", "asked for twice"),
        ("os=linux&arch=amd64&r=example.com/x=example.com/plain", "no version"),
        ("os=linux&arch=amd64&version=none", "none"),
    ] {
        for path in ["/api/compat", "/api/download"] {
            let answer = get(&world, &format!("{path}?{query}")).await;
            assert_eq!(outcome(&answer), "400", "{query}");
            let told = json(&answer);
            assert_eq!(told["status_code"], 400);
            let message = told["error"]["message"].as_str().unwrap();
            assert!(message.contains(named), "{query}: {message}");
            assert_eq!(told["error"]["id"], answer.headers()["x-request-id"].to_str().unwrap());
        }
    }
    let many: String = (0..200).map(|number| format!("&p=example.com/p{number}")).collect();
    let answer = get(&world, &format!("{DOWNLOAD}{many}")).await;
    assert_eq!(outcome(&answer), "400");
    assert!(text(&answer).contains("200 plugins are too many: at most 100"), "{}", text(&answer));
    assert!(keys(&world).await.is_empty(), "no mistake became a build");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_other_times_are_understood() {
    let world = World::start().await;
    // The old way to name Caddy's version, an unknown parameter, the random one, an empty arm.
    let old = "&p=github.com/caddyserver/caddy/v2@v2.10.0&idempotency=123&d=x&arm=&nonsense=1";
    assert_eq!(outcome(&get(&world, &format!("{DOWNLOAD}{old}")).await), "200");
    assert_eq!(outcome(&get(&world, &format!("{COMPAT}&version=v2.10.0")).await), "200");
    assert_eq!(keys(&world).await.len(), 1, "both are one build");
    let arms = ["5", "6", "7"].map(|arm| format!("/api/compat?os=linux&arch=arm&arm={arm}"));
    for path in &arms {
        assert_eq!(outcome(&get(&world, path).await), "200");
    }
    assert_eq!(outcome(&get(&world, "/api/compat?os=linux&arch=arm").await), "200");
    assert_eq!(keys(&world).await.len(), 4, "each arm is a build of its own, and 6 is meant by none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_what_the_compiler_said_and_is_not_tried_again() {
    let world = World::start().await;
    for path in [COMPAT, DOWNLOAD] {
        let answer = get(&world, &format!("{path}&p=example.com/broken")).await;
        assert_eq!(outcome(&answer), "422");
        let told = json(&answer);
        assert_eq!(told["status_code"], 422);
        let message = told["error"]["message"].as_str().unwrap();
        assert_eq!(message, "it does not compile\nbroken.go:3:1: syntax error\nand so on");
    }
    let key = only_key(&world).await;
    let body = r#"{"caddy_version":"latest","os":"linux","arch":"amd64","plugins":[{"module":"example.com/broken"}]}"#;
    let answer = post(&world, body).await;
    assert_eq!(outcome(&answer), "422");
    let told = json(&answer);
    assert_eq!((&told["build_key"], &told["status"]), (&key.clone().into(), &"failed".into()));
    assert!(told["message"].as_str().unwrap().contains("syntax error") && told["error"] == told["message"], "{told}");
    let status = json(&get(&world, &format!("/api/build/{key}")).await);
    assert!(status["status"] == "failed" && status["error_message"].as_str().unwrap().contains("syntax error"));
    let download = get(&world, &format!("/api/download/{key}")).await;
    assert!(outcome(&download) == "422" && text(&download).starts_with(r#"{"error":"it does not compile"#));
    let problem = ask(
        &world.root(),
        Method::GET,
        &format!("{COMPAT}&p=example.com/broken"),
        &[("accept", "application/problem+json")],
        "",
    )
    .await;
    assert_eq!(outcome(&problem), "422 compile_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_may_have_passed_is_begun_anew_by_asking_again() {
    let world = World::start().await;
    let path = format!("{COMPAT}&p=example.com/hostile@v1.0.0");
    assert_eq!(outcome(&get(&world, &path).await), "503");
    assert_eq!(outcome(&get(&world, &path).await), "200");
    assert_eq!(keys(&world).await.len(), 2, "two generations of one key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_has_failed_in_the_old_words() {
    let world = World::start().await;
    world.at_builds.send_replace(false);
    let client = world.root();
    let waiting = tokio::spawn(async move { ask(&client, Method::GET, COMPAT, &[], "").await });
    wait_until("the build", async || !keys(&world).await.is_empty()).await;
    let builds = world.store.list_builds(&ProjectName::default(), &BuildFilter::default(), None, 1).await.unwrap();
    world.store.cancel_build(&ProjectName::default(), builds[0].id, "local").await.unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!((outcome(&answer).as_str(), &json(&answer)["status_code"]), ("422", &422.into()));
    let status = json(&get(&world, &format!("/api/build/{}", builds[0].key)).await);
    assert_eq!((&status["status"], &status["error_message"]), (&"failed".into(), &"the build was cancelled".into()));
    world.at_builds.send_replace(true);
    assert_eq!(outcome(&get(&world, COMPAT).await), "200", "whoever asks again gets one");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_waits_and_says_where() {
    let world = World::start().await;
    let answer = ask(&world.root(), Method::HEAD, &format!("{DOWNLOAD}&idempotency=1"), &[], "").await;
    assert_eq!((outcome(&answer).as_str(), answer.body().len()), ("200", 0));
    let key = only_key(&world).await;
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/download/{key}"));
    assert_eq!(answer.headers()["content-length"], bytes_of(&key).len().to_string());
    assert_eq!(get(&world, &location).await.body().as_ref(), bytes_of(&key));
    let failed = ask(&world.root(), Method::HEAD, &format!("{DOWNLOAD}&p=example.com/broken"), &[], "").await;
    assert_eq!(outcome(&failed), "422");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_in_one_body_only_for_those_who_ask() {
    let world = World::start().await;
    let form = [("accept", "multipart/form-data")];
    let both = ask(&world.root(), Method::GET, COMPAT, &form, "").await;
    let key = only_key(&world).await;
    let media = both.headers()["content-type"].to_str().unwrap();
    let boundary = media.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = both.body().as_ref();
    assert_eq!(both.headers()["content-length"], body.len().to_string());
    let find = |needle: &[u8]| body.windows(needle.len()).position(|window| window == needle).unwrap();
    let signature = find(b"name=\"signature\"; filename=\"caddy.asc\"");
    let artifact = find(b"name=\"artifact\"; filename=\"caddy\"");
    assert!(signature < artifact && body.starts_with(format!("--{boundary}\r\n").as_bytes()));
    assert!(find(b"BEGIN PGP SIGNATURE") < artifact && find(&bytes_of(&key)) > artifact);
    assert!(body.ends_with(format!("\r\n--{boundary}--\r\n").as_bytes()));
    let page = ask(&world.root(), Method::GET, DOWNLOAD, &form, "").await;
    assert_eq!(page.headers()["content-type"], "application/octet-stream", "it would be written over caddy");
    let any = ask(&world.root(), Method::GET, COMPAT, &[("accept", "*/*")], "").await;
    assert_eq!(any.headers()["content-type"], "application/octet-stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_ask_at_once_are_served_by_one_build() {
    let world = World::start().await;
    world.at_builds.send_replace(false);
    let ask_one = |number: usize| {
        let (client, path) = (world.root(), [COMPAT, DOWNLOAD][number % 2]);
        async move {
            let answer = client.raw(Method::GET, path, &[], "").await.unwrap();
            (answer.status().as_u16(), answer.body().len())
        }
    };
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        asking.spawn(ask_one(number));
    }
    wait_until("the build", async || !keys(&world).await.is_empty()).await;
    world.at_builds.send_replace(true);
    let all = async {
        while let Some(answer) = asking.join_next().await {
            assert_eq!(answer.unwrap(), (200, bytes_of("x").len()));
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("a thousand answers");
    only_key(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_stops_nothing() {
    let world = World::start().await;
    world.at_builds.send_replace(false);
    let client = world.root();
    let waiting = tokio::spawn(async move { client.raw(Method::GET, COMPAT, &[], "").await.map(drop) });
    wait_until("the build", async || !keys(&world).await.is_empty()).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    world.at_builds.send_replace(true);
    let key = only_key(&world).await;
    wait_until("it is made", async || json(&get(&world, &format!("/api/build/{key}")).await)["status"] == "completed")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_is_told_so_and_loses_nothing() {
    let config = ApiConfig { build_wait: Duration::from_millis(50), ..ApiConfig::default() };
    let world = World::start_as(config).await;
    world.at_builds.send_replace(false);
    for path in [COMPAT, DOWNLOAD] {
        let answer = get(&world, path).await;
        assert_eq!(answer.status(), 504, "408 would make clients ask again by themselves");
        assert_eq!(json(&answer)["error"]["message"], "the build is not done yet; it goes on", "{}", text(&answer));
    }
    world.at_builds.send_replace(true);
    let key = only_key(&world).await;
    wait_until("it is made", async || json(&get(&world, &format!("/api/build/{key}")).await)["status"] == "completed")
        .await;
    assert_eq!(get(&world, COMPAT).await.body().as_ref(), bytes_of(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_tells_those_who_wait_at_once() {
    let world = World::start().await;
    world.at_builds.send_replace(false);
    let client = world.root();
    let waiting = tokio::spawn(async move { client.raw(Method::GET, DOWNLOAD, &[], "").await.unwrap() });
    wait_until("the build", async || !keys(&world).await.is_empty()).await;
    world.stop();
    let answer = tokio::time::timeout(PATIENCE, waiting).await.expect("at once").unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_kept_is_made_anew() {
    let world = World::start().await;
    let first = get(&world, COMPAT).await;
    let key = only_key(&world).await;
    let download = format!("/api/download/{key}");

    world.lose_artifacts();
    let answer = get(&world, &download).await;
    assert_eq!(outcome(&answer), "404", "{}", text(&answer));
    let again = get(&world, COMPAT).await;
    assert_eq!((outcome(&again).as_str(), again.body()), ("200", first.body()));
    assert_eq!(get(&world, &download).await.body(), first.body());

    // Nobody has found out yet: the one request does, and is served all the same.
    world.lose_artifacts();
    let again = get(&world, DOWNLOAD).await;
    assert_eq!((outcome(&again).as_str(), again.body()), ("200", first.body()));
    assert_eq!(keys(&world).await, [key.as_str(); 3], "three generations of one build");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_packages_is_what_was_built() {
    let world = World::start().await;
    assert_eq!(text(&get(&world, "/api/packages").await), r#"{"result":[]}"#);
    assert_eq!(outcome(&get(&world, &format!("{COMPAT}&p=example.com/good")).await), "200");
    assert_eq!(outcome(&get(&world, &format!("{COMPAT}&p=example.com/good&p=example.com/major/v2")).await), "200");
    assert_eq!(outcome(&get(&world, &format!("{COMPAT}&p=example.com/broken")).await), "422");
    let told = json(&get(&world, "/api/packages").await);
    let packages: Vec<_> = told["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["path"].as_str().unwrap(), it["downloads"].as_u64().unwrap()))
        .collect();
    assert_eq!(packages, [("example.com/good", 2), ("example.com/major/v2", 1)]);
    assert_eq!(told["result"][0]["repo"], "https://example.com/good");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_for_those_who_may_unless_it_is_open() {
    let world = World::start().await;
    for path in [COMPAT, DOWNLOAD, "/api/packages", "/api/build/x", "/api/download/x"] {
        let answer = ask(&world.client(None), Method::GET, path, &[], "").await;
        assert_eq!(outcome(&answer), "401", "{path}");
        assert!(json(&answer)["error"].is_string() || json(&answer)["status_code"] == 401);
    }
    let page = [("sec-fetch-site", "cross-site")];
    let foreign = ask(&world.root(), Method::GET, COMPAT, &page, "").await;
    assert_eq!(outcome(&foreign), "403", "a page of another origin starts no work");
    assert!(keys(&world).await.is_empty());

    let contracts = Contracts { caddy_build: Contract::Anonymous, ..Contracts::default() };
    let open = World::start_as(ApiConfig { contracts, ..ApiConfig::default() }).await;
    assert_eq!(outcome(&ask(&open.client(None), Method::GET, DOWNLOAD, &[], "").await), "200");
    assert_eq!(outcome(&ask(&open.client(None), Method::GET, "/v1/builds", &[], "").await), "401 unauthorized");

    let contracts = Contracts { caddy_build: Contract::Off, ..Contracts::default() };
    let shut = World::start_as(ApiConfig { contracts, ..ApiConfig::default() }).await;
    assert_eq!(outcome(&get(&shut, COMPAT).await), "404 not_found");

    let none = World::start_with(ApiConfig::default(), false).await;
    let answer = get(&none, DOWNLOAD).await;
    assert_eq!((outcome(&answer).as_str(), &json(&answer)["status_code"]), ("501", &501.into()));
}

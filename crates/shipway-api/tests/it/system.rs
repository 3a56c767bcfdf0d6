//! The platform itself: index, documentation, probes, metrics, headers.

use http::Method;
use shipway_api_types::Problem;

use crate::world::{World, ask, json, outcome, text};

#[tokio::test(flavor = "multi_thread")]
async fn probes_say_what_they_see() {
    let world = World::start().await;
    let nobody = world.client(None);
    let get = async |path: &str| ask(&nobody, Method::GET, path, &[], "").await;
    assert_eq!(text(&get("/livez").await), "ok\n");
    let health = json(&get("/health").await);
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["service"], "docker-image-builder");
    assert_eq!(health["success"], true);
    assert_eq!(health["message"], "Service is healthy");
    assert_eq!(health["data"]["status"], "healthy");
    assert!(health["data"]["uptime"].as_str().unwrap().ends_with('s'));
    assert_eq!(text(&get("/readyz?verbose").await), "[+] store ok\n[+] engine ok\nok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_to_those_who_may_know() {
    let world = World::start().await;
    world.engine_is_there.send_replace(false);
    let get = async |client: &shipway_client::Client, path: &str| ask(client, Method::GET, path, &[], "").await;
    let nobody = world.client(None);
    let answer = get(&nobody, "/readyz?verbose").await;
    assert_eq!(
        (outcome(&answer), text(&answer)),
        ("503".to_owned(), "[+] store ok\n[-] engine failed\nnot ready\n".to_owned())
    );
    assert!(text(&get(&world.root(), "/readyz?verbose").await).contains("the shim is missing"));
    assert_eq!(outcome(&get(&nobody, "/readyz/store").await), "200");
    assert_eq!(outcome(&get(&nobody, "/readyz/engine").await), "503");
    assert_eq!(outcome(&get(&nobody, "/readyz/luck").await), "404 not_found");
    let health = get(&nobody, "/health").await;
    assert_eq!((outcome(&health), json(&health)["error"].clone()), ("503".to_owned(), "engine is not ready".into()));
    assert_eq!(json(&health)["success"], false);
    assert_eq!(outcome(&get(&nobody, "/livez").await), "200", "it has no dependencies");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_finds_the_documentation() {
    let world = World::start().await;
    let nobody = world.client(None);
    let index = ask(&nobody, Method::GET, "/", &[], "").await;
    assert_eq!(json(&index)["service"], "shipway");
    let accept = [("accept", "text/html,application/xhtml+xml")];
    let browser = ask(&nobody, Method::GET, "/", &accept, "").await;
    assert_eq!((outcome(&browser), browser.headers()["location"].to_str().unwrap()), ("303".to_owned(), "/docs"));
    let docs = ask(&nobody, Method::GET, "/docs", &[], "").await;
    let policy = docs.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert_eq!(docs.headers()["x-frame-options"], "DENY");
    assert_eq!(docs.headers()["x-content-type-options"], "nosniff");
    let document = ask(&nobody, Method::GET, "/openapi.json", &[], "").await;
    assert_eq!(json(&document)["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_explained_where_it_points_to() {
    let world = World::start().await;
    let page = text(&ask(&world.client(None), Method::GET, "/docs", &[], "").await);
    let answer = ask(&world.client(None), Method::GET, "/v1/services", &[], "").await;
    let problem: Problem = serde_json::from_slice(answer.body()).unwrap();
    let anchor = problem.kind.strip_prefix("/docs#").unwrap();
    assert!(page.contains(&format!("id=\"{anchor}\"")), "{anchor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_its_id_if_it_is_a_sane_one() {
    let world = World::start().await;
    for (given, kept) in [("abc-123", true), ("a b", false), ("", false), (&"x".repeat(65), false)] {
        let answer = ask(&world.root(), Method::GET, "/livez", &[("x-request-id", given)], "").await;
        let id = answer.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(id == given, kept, "{given}");
        assert!(!id.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_those_who_may_observe() {
    let world = World::start().await;
    let nobody = ask(&world.client(None), Method::GET, "/metrics", &[], "").await;
    assert_eq!(outcome(&nobody), "401 unauthorized");
    let root = ask(&world.root(), Method::GET, "/metrics", &[], "").await;
    assert_eq!(text(&root), "shipway_test 1\n");
}

//! Bad input, as the API's users give it.

use serde_json::{Value, json};
use shipway_testkit::http::{self, Answer};

use crate::world::World;

fn put(world: &World, name: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    http::request(world.platform.address(), "PUT", "localhost", &format!("/v1/services/{name}"), &all, body.as_bytes())
        .unwrap()
}

#[track_caller]
fn problem(answer: &Answer, status: u16, says: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert!(answer.text().contains(says), "{} does not say {says}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn what_cannot_be_done_says_why_and_changes_nothing() {
    let world = World::new();
    let url = world.files.put("/page", "hello");
    problem(&put(&world, "a", "not json", &[]), 400, "JSON");
    problem(&put(&world, "a", &json!({"url": 3, "kind": "static"}).to_string(), &[]), 400, "url");
    problem(&put(&world, "a", &json!({"url": url, "kind": "static", "colour": 1}).to_string(), &[]), 400, "colour");
    problem(&put(&world, "Not-A-Label", &json!({"url": url, "kind": "static"}).to_string(), &[]), 400, "DNS label");
    problem(&put(&world, "a", &"x".repeat(2 << 20), &[]), 413, "1");

    // Another origin's page, and a host that is not ours.
    let good = json!({"url": url, "kind": "static"}).to_string();
    problem(&put(&world, "a", &good, &[("origin", "http://evil.example")]), 403, "rigin");
    problem(&put(&world, "a", &good, &[("sec-fetch-site", "cross-site")]), 403, "");
    problem(&put(&world, "a", &good, &[("authorization", "Bearer wrong")]), 401, "");

    // Where Shipway must not fetch from, by literal, name and scheme.
    for refused in [
        "ftp://example.org/x",
        "http://user@example.org/",
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://2130706433/",
        "http://169.254.169.254/latest",
        "http://localhost/",
        "http://10.0.0.1/",
    ] {
        problem(&put(&world, "a", &json!({"url": refused, "kind": "static"}).to_string(), &[]), 400, "");
    }

    // What the origin does wrong.
    let broken = world.files.put_status("/broken", 500, "oops");
    problem(&put(&world, "a", &json!({"url": broken, "kind": "static"}).to_string(), &[]), 502, "500");
    let list = http::get(world.platform.address(), "localhost", "/v1/services?state=live").unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&list.body).unwrap()["items"], json!([]), "{}", list.text());
}

#[test]
fn two_puts_of_one_name_are_both_answered_and_one_is_live() {
    let world = World::new();
    let urls: Vec<String> =
        (0..4).map(|n| world.files.put(&format!("/{n}"), &format!("#!/bin/sh\necho {n}\n"))).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let puts: Vec<_> = urls
            .iter()
            .map(|url| json!({"url": url, "kind": "script"}).to_string())
            .map(|body| scope.spawn(|| put(&world, "same", &{ body }, &[]).status))
            .collect();
        puts.into_iter().map(|put| put.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| matches!(status, 200 | 201)), "{statuses:?}");
    let text = world.visit("same");
    assert!(["0\n", "1\n", "2\n", "3\n"].contains(&text.as_str()), "{text}");
    // The others' containers are gone, once they have drained.
    let containers = world.platform.state_dir().join("engine/containers");
    shipway_testkit::wait_until("one container is left", crate::world::SOON, || {
        (std::fs::read_dir(&containers).unwrap().count() == 1).then_some(())
    });
}

//! What a service sees of a visitor's headers, and a visitor of a service's.

use crate::support::*;

fn header<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap();
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn forwarding_headers_are_ours_alone() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    world.ask(
        "GET / HTTP/1.1\r\nHost: hello.localhost:8080\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\n\
         X-Real-IP: 6.6.6.6\r\nX-Original-Host: evil\r\nX-Original-Subdomain: evil\r\n\
         Shipway-User: root\r\nX_Forwarded_For: 6.6.6.6\r\nProxy: http://evil\r\n\
         Keep-Alive: 5\r\nX-Hop: 1\r\nTraceparent: 00-a-b-01\r\nX-Request-Id: mine-1\r\n\
         Connection: close, X-Hop\r\n\r\n",
    );
    let seen = &origin.seen()[0];
    assert!(!seen.contains("6.6.6.6") && !seen.contains("evil") && !seen.contains("root"), "{seen}");
    for gone in ["x-hop", "keep-alive", "connection", "x-forwarded-port", "proxy"] {
        assert!(header(seen, gone).is_empty(), "{gone} in {seen}");
    }
    for (name, value) in [
        ("host", "hello.localhost:8080"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "hello.localhost:8080"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=127.0.0.1;host=\"hello.localhost:8080\";proto=http"),
        ("x-original-host", "hello.localhost:8080"),
        ("x-original-subdomain", "hello"),
        ("traceparent", "00-a-b-01"),
        ("x-request-id", "mine-1"),
    ] {
        assert_eq!(header(seen, name), [value], "{name} in {seen}");
    }
}

#[test]
fn an_insane_request_id_is_replaced() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    let answer =
        world.ask("GET / HTTP/1.1\r\nHost: hello.localhost\r\nX-Request-Id: a b<c>\r\nConnection: close\r\n\r\n");
    let seen = origin.seen();
    let given = header(&seen[0], "x-request-id");
    assert_eq!(given[0].len(), 32);
    assert_eq!(header(&answer, "x-request-id"), given);
}

#[test]
fn a_response_keeps_its_own_headers_and_loses_its_connections() {
    let world = World::new();
    world.answering(
        "hello",
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: mine\r\nKeep-Alive: timeout=5\r\n\
         Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         X-Request-Id: forged\r\nContent-Length: 2\r\n\r\nhi",
    );
    let answer = world.get("hello.localhost");
    assert_eq!(header(&answer, "date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
    assert_eq!(header(&answer, "server"), ["mine"]);
    assert_eq!(header(&answer, "set-cookie"), ["a=1", "b=2"]);
    for gone in ["keep-alive", "x-hop", "proxy-authenticate"] {
        assert!(header(&answer, gone).is_empty(), "{gone} in {answer}");
    }
    assert_ne!(header(&answer, "x-request-id"), ["forged"]);
}

#[test]
fn trailers_pass_both_ways() {
    let world = World::new();
    let origin = world.answering(
        "hello",
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let answer = world.ask(
        "POST / HTTP/1.1\r\nHost: hello.localhost\r\nTE: trailers\r\nTrailer: X-Up\r\nConnection: close, TE\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Up: 7\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    assert!(answer.to_lowercase().contains("x-sum: 42"), "{answer}");
    let seen = origin.seen()[0].to_lowercase();
    assert!(seen.contains("x-up: 7") && !seen.contains("6.6.6.6"), "{seen}");
    assert!(seen.contains("te: trailers\r\n"), "{seen}");
}

#[test]
fn a_head_request_gets_a_head() {
    let world = World::new();
    let origin = world.answering("hello", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let answer = world.ask("HEAD / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(header(&answer, "content-length"), ["5"]);
    assert_eq!(body(&answer), "");
    assert!(origin.seen()[0].starts_with("HEAD / "));
}

#[test]
fn interim_responses_are_swallowed_and_the_final_one_passes() {
    let world = World::new();
    world.answering(
        "hello",
        format!("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{}", ok("hi")),
    );
    assert_eq!(body(&world.get("hello.localhost")), "hi");
}

#[test]
fn an_http_1_0_visitor_is_served() {
    let world = World::new();
    world.answering("hello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let answer = world.ask("GET / HTTP/1.0\r\nHost: hello.localhost\r\n\r\n");
    assert_eq!((status(&answer), body(&answer)), ("200", "hi"), "{answer}");
    let without = world.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(status(&without), "400");
}

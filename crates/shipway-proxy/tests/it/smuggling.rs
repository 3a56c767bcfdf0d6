//! What can be read in two ways is refused, and nothing of it reaches a service.

use std::io::Write;

use crate::support::*;

/// Sends `request` after a good one on the same connection. The good one is
/// answered, the bad one refused with `expected`, the connection closed, and the
/// service has seen just the good one.
#[track_caller]
fn check(world: &World, origin: &Origin, request: &str, expected: &str) {
    origin.seen.lock().unwrap().clear();
    let good = "GET /good HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";
    let trailing = "GET /smuggled HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";
    let answer = world.ask(format!("{good}{request}{trailing}"));
    let (first, second) = answer.split_once("good answer").unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(status(first), "200", "{answer}");
    assert_eq!(status(second), expected, "{request:?}: {answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{request:?}: {answer}");
    let seen = origin.seen();
    assert_eq!(seen.len(), 1, "{request:?}: {seen:?}");
    assert!(seen[0].starts_with("GET /good "), "{request:?}: {seen:?}");
}

#[test]
fn what_hyper_would_let_through_is_refused() {
    let world = World::new();
    let origin = world.answering("hello", ok("good answer"));
    let host = "Host: hello.localhost\r\n";
    for (request, expected) in [
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{host}Host: other.localhost\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\nhello"), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\nhello"), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\n{host}\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{host}X: y\nContent-Length: 5\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{host}X: y\r\n folded\r\n\r\n"), "400"),
        (format!("CONNECT a:80 HTTP/1.1\r\n{host}\r\n"), "405"),
        (format!("GET / HTTP/3.0\r\n{host}\r\n"), "505"),
        (format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(100)), "431"),
        (format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "y".repeat(70_000)), "431"),
    ] {
        check(&world, &origin, &request, expected);
    }
    assert_eq!(world.metric("requests_refused_total"), 18);
}

#[test]
fn a_refusal_says_why_and_has_an_id() {
    let world = World::new();
    let answer = world.ask("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    assert!(body(&answer).starts_with("the request has more than one Host\nrequest id: "), "{answer}");
    assert!(answer.to_lowercase().contains("x-request-id: "));
}

/// A visitor that sends what stands in for refused requests is just a visitor.
#[test]
fn the_replacement_cannot_be_forged() {
    let world = World::new();
    let answer = world.ask("GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n");
    assert_eq!(status(&answer), "404");
}

#[test]
fn a_bad_chunk_ends_the_request_without_an_end_for_the_service() {
    let world = World::new();
    let origin = world.answering("hello", ok("good answer"));
    let head = "POST / HTTP/1.1\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for rest in ["5\r\nhello\n0\r\n\r\n", "5\r\nhello\r\n0\n\n", "5;\n\r\nhello\r\n0\r\n\r\n"] {
        let answer = world.ask(format!("{head}{rest}GET /smuggled HTTP/1.1\r\nHost: hello.localhost\r\n\r\n"));
        assert!(!answer.contains("good answer"), "{rest:?}: {answer}");
    }
    // The origin records whole requests only: none came.
    assert_eq!(origin.seen(), Vec::<String>::new());
}

#[test]
fn requests_may_come_in_any_pieces() {
    let world = World::new();
    let origin = world.answering("hello", ok("good answer"));
    let requests = "POST /one HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 5\r\n\r\nhello\
        POST /two HTTP/1.1\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        GET /three HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
    let mut stream = world.connect();
    stream.set_nodelay(true).unwrap();
    for byte in requests.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_to_end(&mut stream).matches("good answer").count(), 3);
    assert_eq!(world.ask(requests).matches("good answer").count(), 3);
    let paths: Vec<String> =
        origin.seen().iter().map(|request| request.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(paths, ["/one", "/two", "/three", "/one", "/two", "/three"]);
}

/// An upstream's second answer must never become the next visitor's.
#[test]
fn bytes_after_a_response_poison_nobody() {
    let world = World::new();
    let poisoned = format!("{}{}", ok("first"), ok("poison"));
    let origin = world.answering("hello", poisoned);
    for _ in 0..20 {
        let answer = world.get("hello.localhost");
        assert_eq!(body(&answer), "first", "{answer}");
    }
    assert_eq!(origin.connections(), 20);
}

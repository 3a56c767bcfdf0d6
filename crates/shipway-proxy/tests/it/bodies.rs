//! Bodies: streamed, bounded, and honest about how they ended.

use std::io::Write;
use std::time::Duration;

use crate::support::*;

#[test]
fn events_are_passed_on_as_they_come() {
    let world = World::new();
    let (next, nexts) = std::sync::mpsc::channel::<()>();
    let nexts = std::sync::Mutex::new(nexts);
    world.origin("hello", move |stream, _| {
        read_request(stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        for n in 0..5 {
            // In one piece, or it would arrive as several chunks.
            stream.write_all(format!("9\r\ndata: {n}\n\n\r\n").as_bytes()).unwrap();
            nexts.lock().unwrap().recv().unwrap();
        }
    });
    let mut visitor = world.connect();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
    for n in 0..5 {
        // The origin sends the next one only after this one has arrived.
        read_until(&mut visitor, &format!("data: {n}\n\n"));
        next.send(()).unwrap();
    }
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    let world = World::new();
    let origin = world.answering("hello", ok("thanks"));
    let mut visitor = world.connect();
    visitor
        .write_all(b"POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert!(read_until(&mut visitor, "\r\n\r\n").starts_with("HTTP/1.1 100 "));
    visitor.write_all(b"hello").unwrap();
    assert_eq!(body(&read_to_end(&mut visitor)), "thanks");
    assert!(!origin.seen()[0].to_lowercase().contains("expect"));
}

/// A service may answer before it has read everything, and hang up.
#[test]
fn an_early_answer_reaches_a_visitor_that_is_still_uploading() {
    let world = World::new();
    world.origin("hello", |stream, _| {
        read_until(stream, "\r\n\r\n");
        let answer = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    for _ in 0..20 {
        let mut visitor = world.connect();
        visitor.write_all(b"POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 100000000\r\n\r\n").unwrap();
        // Uploads until nobody takes any more; the answer must still be there.
        let mut reader = visitor.try_clone().unwrap();
        let uploading = std::thread::spawn(move || {
            let chunk = [7; 64 * 1024];
            for _ in 0..1500 {
                if visitor.write_all(&chunk).is_err() {
                    return;
                }
            }
        });
        let answer = read_until(&mut reader, "too much");
        assert_eq!(status(&answer), "413", "{answer}");
        // Then the connection ends, or the rest of the body would be the next request.
        assert_eq!(read_to_end(&mut reader), "");
        drop(reader);
        uploading.join().unwrap();
    }
}

#[test]
fn an_answer_without_a_body_read_does_not_poison_the_next_request() {
    let world = World::new();
    let origin = world.origin_recording("hello", |stream, request| {
        stream.write_all(ok(&format!("{} bytes", request.len())).as_bytes()).is_ok()
    });
    // Unknown service: refused without reading; the body looks like a request.
    let inner = "GET /smuggled HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";
    let answer = world.ask(format!(
        "POST / HTTP/1.1\r\nHost: nobody.localhost\r\nContent-Length: {}\r\n\r\n{inner}\
         GET /next HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n",
        inner.len()
    ));
    assert_eq!(status(&answer), "404");
    assert!(origin.seen().iter().all(|request| !request.contains("/smuggled")), "{:?}", origin.seen());
}

#[test]
fn a_service_that_closes_in_the_middle_is_not_taken_for_complete() {
    let world = World::new();
    for (name, start) in [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    ] {
        world.origin_recording(name, move |stream, _| {
            stream.write_all(start.as_bytes()).unwrap();
            false
        });
        let answer = world.ask(format!("GET / HTTP/1.1\r\nHost: {name}.localhost\r\n\r\n"));
        assert!(answer.contains("half"), "{answer}");
        assert!(!answer.contains("\r\n0\r\n"), "an end that never was: {answer}");
    }
}

#[test]
fn bounds_on_uploads_have_their_own_answers() {
    let world = World::limited(|limits| {
        limits.body_bytes = 1000;
        limits.body_idle = Duration::from_millis(100);
    });
    let origin = world.answering("hello", ok("hi"));
    let head = "POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n";
    let answer = world.ask(format!("{head}{}", "x".repeat(2000)));
    assert_eq!(status(&answer), "413", "{answer}");
    let answer = world.ask(format!("{head}only a bit"));
    assert_eq!(status(&answer), "408", "{answer}");
    assert_eq!(world.metric("limits_hit_total{limit=\"body_size\"}"), 1);
    assert_eq!(world.metric("limits_hit_total{limit=\"body_idle\"}"), 1);
    assert!(origin.seen().is_empty());
}

#[test]
fn a_response_that_stalls_is_given_up_but_a_stream_is_not() {
    let world = World::limited(|limits| limits.response_idle = Duration::from_millis(100));
    let (next, nexts) = std::sync::mpsc::channel::<()>();
    let nexts = std::sync::Mutex::new(nexts);
    world.origin("hello", |stream, _| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        read_to_end(stream);
    });
    world.origin("events", move |stream, _| {
        read_request(stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n")
            .unwrap();
        nexts.lock().unwrap().recv().unwrap();
        stream.write_all(b"data: 2\n\n").unwrap();
    });
    let mut events = world.connect();
    events.write_all(b"GET / HTTP/1.0\r\nHost: events.localhost\r\n\r\n").unwrap();
    read_until(&mut events, "data: 1\n\n");
    let answer = world.ask("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    assert!(answer.ends_with("half"), "{answer}");
    assert_eq!(world.metric("limits_hit_total{limit=\"response_idle\"}"), 1);
    next.send(()).unwrap();
    assert_eq!(read_to_end(&mut events), "data: 2\n\n");
}

#[test]
fn bodies_are_counted() {
    let world = World::new();
    world.answering("hello", ok("four"));
    let answer =
        world.ask("POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    assert_eq!(body(&answer), "four");
    wait_until("the request is over", || world.metric("response_bytes_total") == 4);
    assert_eq!(world.metric("request_bytes_total"), 5);
    assert_eq!(world.metric("requests_total{code=\"2xx\"}"), 1);
}

//! Bounds on what visitors can use up, and how hitting one looks.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::*;

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_head_that_never_ends_is_answered_and_closed() {
    let world = World::limited(|limits| limits.header_time = SHORT);
    world.answering("hello", ok("hi"));
    let answer = world.ask("GET / HTTP/1.1\r\nHost: hello.localhost\r\nX: ");
    assert_eq!(status(&answer), "408", "{answer}");
    // Also as a second request, and not only as a first.
    let good = "GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";
    let answer = world.ask(format!("{good}GET / HTT"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 408 "), "{answer}");
    assert_eq!(world.metric("limits_hit_total{limit=\"header_time\"}"), 2);
}

/// Slowloris: a byte now and then does not buy more time.
#[test]
fn dripping_bytes_buys_no_time() {
    let world = World::limited(|limits| limits.header_time = Duration::from_millis(300));
    let mut visitor = world.connect();
    visitor.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    visitor.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let start = std::time::Instant::now();
    let mut answer = [0; 1024];
    loop {
        // The read's timeout paces the drip.
        match visitor.read(&mut answer) {
            Ok(count) => {
                assert_eq!(status(&String::from_utf8_lossy(&answer[..count])), "408");
                return;
            }
            Err(_) => visitor.write_all(b"x").unwrap(),
        }
        assert!(start.elapsed() < LIMIT, "still dripping");
    }
}

#[test]
fn silent_connections_are_closed() {
    let world = World::limited(|limits| {
        limits.header_time = SHORT;
        limits.idle = SHORT;
    });
    world.answering("hello", ok("hi"));
    assert_eq!(read_to_end(&mut world.connect()), "");
    let answer = world.ask("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    assert_eq!(body(&answer), "hi");
    // Half of what begins HTTP/2.
    assert_eq!(world.ask("PRI * HTTP/2.0\r\n"), "");
}

#[test]
fn a_slow_answer_is_no_idle_connection() {
    let world = World::limited(|limits| {
        limits.header_time = SHORT;
        limits.idle = SHORT;
    });
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let answers = std::sync::Mutex::new(answers);
    world.origin("hello", move |stream, _| {
        read_request(stream);
        answers.lock().unwrap().recv_timeout(SHORT * 4).ok();
        stream.write_all(ok("slow").as_bytes()).unwrap();
    });
    let got = world.ask("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    assert_eq!(body(&got), "slow");
    drop(answer);
}

#[test]
fn one_address_gets_only_so_many_connections() {
    let world = World::limited(|limits| limits.connections_per_address = 3);
    world.answering("hello", ok("hi"));
    let mut kept: Vec<_> = (0..3).map(|_| world.connect()).collect();
    for visitor in &mut kept {
        visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
        read_until(visitor, "hi");
    }
    assert_eq!(read_to_end(&mut world.connect()), "");
    assert_eq!(world.metric("limits_hit_total{limit=\"connections_per_address\"}"), 1);
    drop(kept);
    wait_until("there is room again", || world.metric("open_connections") == 0);
    assert_eq!(status(&world.get("hello.localhost")), "200");
}

#[test]
fn past_all_connections_visitors_wait_their_turn() {
    // Each thread waiting to accept holds a place of its own.
    let world = World::with(|settings| {
        settings.threads = 1;
        settings.limits.connections = 2;
    });
    world.answering("hello", ok("hi"));
    let mut first: Vec<_> = (0..2).map(|_| world.connect()).collect();
    for visitor in &mut first {
        visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
        read_until(visitor, "hi");
    }
    let mut third = world.connect();
    third.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n").unwrap();
    third.set_read_timeout(Some(SHORT)).unwrap();
    assert!(third.read(&mut [0]).is_err(), "nobody has answered it yet");
    third.set_read_timeout(Some(LIMIT)).unwrap();
    drop(first);
    assert_eq!(body(&read_to_end(&mut third)), "hi");
    assert!(world.metric("limits_hit_total{limit=\"connections\"}") >= 1);
}

#[test]
fn one_service_gets_only_so_many_requests() {
    let world = World::new();
    let origin = world.origin("hello", |stream, _| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi").unwrap();
        read_to_end(stream);
    });
    let mut route = route("hello", origin.live());
    route.limits.concurrency = Some(2);
    world.set(route);
    let mut busy: Vec<_> = (0..2).map(|_| world.connect()).collect();
    for visitor in &mut busy {
        visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
        read_until(visitor, "hi");
    }
    let answer = world.get("hello.localhost");
    assert_eq!(status(&answer), "503");
    assert!(answer.to_lowercase().contains("retry-after: 1\r\n"), "{answer}");
    assert!(body(&answer).starts_with("the service has too many requests in flight"), "{answer}");
    drop(busy);
    assert!(world.is_idle(&origin, LIMIT));
}

#[test]
fn a_visitor_that_does_not_read_is_given_up() {
    let world = World::limited(|limits| limits.response_idle = SHORT);
    let origin = world.origin("hello", |stream, _| {
        read_request(stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        let chunk = vec![7_u8; 1024 * 1024];
        while stream.write_all(&chunk).is_ok() {}
    });
    let mut visitor = world.connect();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
    read_until(&mut visitor, "\r\n\r\n");
    assert!(world.is_idle(&origin, LIMIT));
    assert_eq!(world.metric("limits_hit_total{limit=\"response_idle\"}"), 1);
}

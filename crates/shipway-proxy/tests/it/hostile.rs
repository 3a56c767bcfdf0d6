//! Visitors that hold on to things, and services that do: bounded, answered with a
//! reason, counted, and never a hang.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use shipway_proxy::Limits;

use crate::support::*;

const SHORT: Duration = Duration::from_millis(150);
const GET: &str = "GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";

/// Runs a test on both paths, with only those limits short that it is about: every
/// other must not be hit however busy the machine is.
fn on_both_paths(change: impl Fn(&mut Limits), test: impl Fn(&World)) {
    for fast_path in [true, false] {
        test(&World::with(|settings| {
            settings.fast_path = fast_path;
            change(&mut settings.limits);
        }));
    }
}

#[track_caller]
fn check_limit(world: &World, name: &str) {
    assert!(world.metric(&format!("limits_hit_total{{limit=\"{name}\"}}")) >= 1, "{name} was not counted");
}

/// A reason a person can read and an id to find it by.
#[track_caller]
fn check_reason(answer: &str, expected: &str, reason: &str) {
    assert_eq!(status(answer), expected, "{answer}");
    assert!(body(answer).starts_with(reason), "{answer}");
    assert!(body(answer).contains("\nrequest id: "), "{answer}");
}

#[test]
fn slow_heads_and_bodies_are_given_up() {
    on_both_paths(
        |limits| (limits.header_time, limits.body_idle) = (SHORT, SHORT),
        |world| {
            let origin = world.answering("hello", ok("good"));
            let answer = world.ask(format!("{GET}GET / HTTP/1.1\r\nHost: hel"));
            let (_, second) = answer.split_once("good").unwrap();
            check_reason(second, "408", "the request's head did not arrive in time");
            check_limit(world, "header_time");
            let answer = world.ask("POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 10\r\n\r\nhello");
            check_reason(&answer, "408", "the request's body did not arrive in time");
            check_limit(world, "body_idle");
            // Nothing of the half request was taken for a whole one.
            assert_eq!(origin.seen().len(), 1);
            assert!(world.is_idle(&origin, LIMIT));
        },
    );
}

#[test]
fn a_slow_reader_is_given_up_and_its_service_let_go() {
    on_both_paths(
        |limits| limits.response_idle = SHORT,
        |world| {
            let origin = world.origin("hello", |stream, _| {
                read_request(stream);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").unwrap();
                let chunk = vec![7; 1 << 20];
                while stream.write_all(&chunk).is_ok() {}
            });
            let mut visitor = world.connect();
            visitor.write_all(GET.as_bytes()).unwrap();
            read_until(&mut visitor, "\r\n\r\n");
            assert!(world.is_idle(&origin, LIMIT));
            wait_until("the visitor is given up", || world.metric("limits_hit_total{limit=\"response_idle\"}") == 1);
        },
    );
}

#[test]
fn a_head_may_have_64_kib_and_not_a_byte_more() {
    on_both_paths(
        |_| {},
        |world| {
            let origin = world.answering("hello", ok("good"));
            let start = "GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\nX: ";
            let room = 64 * 1024 - start.len() - "\r\n\r\n".len();
            let answer = world.ask(format!("{start}{}\r\n\r\n", "y".repeat(room)));
            assert_eq!(status(&answer), "200", "{answer}");
            let answer = world.ask(format!("{start}{}\r\n\r\n", "y".repeat(room + 1)));
            check_reason(&answer, "431", "the request's header block is larger than 64 KiB");
            check_limit(world, "head_size");
            assert_eq!(origin.seen().len(), 1);
        },
    );
}

/// A visitor that ends its half has left: whoever wants an answer stays.
#[test]
fn a_half_closed_visitor_frees_its_service() {
    on_both_paths(
        |_| {},
        |world| {
            let origin = world.origin("hello", |stream, _| {
                read_request(stream);
                // Says nothing, and sees the proxy go.
                assert_eq!(read_to_end(stream), "");
            });
            let mut visitor = world.connect();
            visitor.write_all(GET.as_bytes()).unwrap();
            wait_until("the request is there", || origin.connections() == 1);
            visitor.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(world.is_idle(&origin, LIMIT));
            assert_eq!(read_to_end(&mut visitor), "");
        },
    );
}

/// What a service does once it has the request.
type Misdeed = fn(&mut UnixStream);

/// What a service does wrong, what its visitor is told, and what is counted.
fn bad_services() -> Vec<(&'static str, Misdeed, &'static str, &'static str)> {
    let closed = "the service closed the connection before it answered";
    let invalid = "the service's answer is not valid HTTP";
    let late = "the service did not answer in time";
    vec![
        ("silent", |stream| drop(read_to_end(stream)), "504", late),
        ("only-interim", only_interim, "504", late),
        ("dripping", drip, "504", late),
        ("closing", |_| {}, "502", closed),
        ("half-a-head", |stream| stream.write_all(b"HTTP/1.1 200 OK\r\nA: b\r\n").unwrap(), "502", closed),
        ("ssh", |stream| say(stream, b"SSH-2.0-OpenSSH_9.2\r\n"), "502", invalid),
        ("zeros", |stream| say(stream, &[0; 4096]), "502", invalid),
        ("flood-of-fields", flood_fields, "502", invalid),
        ("endless-field", endless_field, "502", invalid),
        (
            "two-lengths",
            |stream| say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            "502",
            invalid,
        ),
        (
            "switching",
            |stream| say(stream, b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
            "502",
            invalid,
        ),
    ]
}

fn say(stream: &mut UnixStream, bytes: &[u8]) {
    stream.write_all(bytes).ok();
    drop(read_to_end(stream));
}

fn only_interim(stream: &mut UnixStream) {
    while stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").is_ok() {
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A byte of a head now and then.
fn drip(stream: &mut UnixStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").ok();
    while stream.write_all(b"y").is_ok() {
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn flood_fields(stream: &mut UnixStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\n").ok();
    while stream.write_all("X: y\r\n".repeat(1000).as_bytes()).is_ok() {}
}

fn endless_field(stream: &mut UnixStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").ok();
    while stream.write_all(&[b'y'; 65536]).is_ok() {}
}

#[test]
fn what_a_service_does_wrong_is_told_with_a_reason() {
    on_both_paths(
        |_| {},
        |world| {
            for (name, serve, expected, reason) in bad_services() {
                let origin = world.origin(name, move |stream, _| {
                    read_until(stream, "\r\n\r\n");
                    serve(stream);
                });
                if expected == "504" {
                    let mut route = route(name, origin.live());
                    route.limits.first_byte_ms = Some(150);
                    world.set(route);
                }
                let failures = world.metric("upstream_failures_total");
                // A POST is never sent twice, so what is counted is counted once.
                let ask = format!(
                    "POST / HTTP/1.1\r\nHost: {name}.localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                check_reason(&world.ask(&ask), expected, reason);
                assert_eq!(world.metric("upstream_failures_total"), failures + 1, "{name}");
                assert!(world.is_idle(&origin, LIMIT), "{name}");
                world.ask(&ask);
                assert_eq!(origin.connections(), 2, "{name}: its connection was used again");
            }
            check_limit(world, "first_byte");
        },
    );
}

/// Asks services that begin an answer, and then die or stall.
fn ask_for_halves(world: &World, dies: bool) {
    for (name, start) in [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    ] {
        let origin = world.origin(name, move |stream, _| {
            read_until(stream, "\r\n\r\n");
            stream.write_all(start.as_bytes()).unwrap();
            if !dies {
                drop(read_to_end(stream));
            }
        });
        let answer = world.ask(format!("GET / HTTP/1.1\r\nHost: {name}.localhost\r\n\r\n"));
        assert!(answer.contains("half") && !answer.contains("0\r\n\r\n"), "{answer}");
        assert!(world.is_idle(&origin, LIMIT));
    }
}

#[test]
fn a_service_that_dies_in_a_body_ends_the_visitors_connection() {
    on_both_paths(|_| {}, |world| ask_for_halves(world, true));
}

#[test]
fn a_service_that_stalls_in_a_body_ends_the_visitors_connection() {
    on_both_paths(
        |limits| limits.response_idle = SHORT,
        |world| {
            ask_for_halves(world, false);
            assert_eq!(world.metric("limits_hit_total{limit=\"response_idle\"}"), 2);
        },
    );
}

/// It answers at once, reads nothing, and never ends the connection.
#[test]
fn a_service_that_never_drains_an_upload_holds_nobody() {
    on_both_paths(
        |_| {},
        |world| {
            let origin = world.origin("hello", |stream, _| {
                read_until(stream, "\r\n\r\n");
                stream.write_all(ok("no thanks").as_bytes()).unwrap();
                // Reads nothing until the proxy has gone: only writing tells.
                while stream.write_all(b"x").is_ok() {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            });
            let mut visitor = world.connect();
            visitor
                .write_all(b"POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 100000000\r\n\r\n")
                .unwrap();
            let chunk = vec![7; 1 << 16];
            let mut writer = visitor.try_clone().unwrap();
            let sending = std::thread::spawn(move || while writer.write_all(&chunk).is_ok() {});
            assert!(read_until(&mut visitor, "no thanks").contains("200 OK"));
            assert!(world.is_idle(&origin, LIMIT));
            drop(read_to_end(&mut visitor));
            sending.join().unwrap();
        },
    );
}

/// Bytes after an answer poison nobody, on a connection that is used again.
#[test]
fn what_follows_an_answer_is_nobodys() {
    on_both_paths(
        |_| {},
        |world| {
            let origin = world.origin_recording("hello", |stream, _| {
                stream.write_all(format!("{}{}", ok("first"), ok("poison")).as_bytes()).is_ok()
            });
            let mut visitor = world.connect();
            for _ in 0..10 {
                visitor.write_all(GET.as_bytes()).unwrap();
                read_until(&mut visitor, "first");
            }
            visitor.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&mut visitor), "");
            assert_eq!(origin.connections(), 10);
        },
    );
}

/// The same, a moment after the answer: the pool looks again before it gives.
#[test]
fn what_comes_late_after_an_answer_is_nobodys() {
    on_both_paths(
        |_| {},
        |world| {
            let late = Arc::new(AtomicUsize::new(0));
            let has_answer = Arc::new(Barrier::new(2));
            let (count, taken) = (Arc::clone(&late), Arc::clone(&has_answer));
            let origin = world.origin("hello", move |stream, _| {
                while read_request(stream).is_some() {
                    stream.write_all(ok("first").as_bytes()).unwrap();
                    // Only when nobody waits for it: after the visitor has its answer.
                    taken.wait();
                    stream.write_all(ok("poison").as_bytes()).ok();
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
            for round in 1..=3 {
                assert_eq!(body(&world.get("hello.localhost")), "first");
                has_answer.wait();
                wait_until("the poison is there", || late.load(Ordering::SeqCst) == round);
            }
            assert_eq!(origin.connections(), 3);
        },
    );
}

#[test]
fn a_limit_hit_often_is_logged_once() {
    let world = World::limited(|limits| limits.connections_per_address = 1);
    world.answering("hello", ok("hi"));
    let mut first = world.connect();
    first.write_all(GET.as_bytes()).unwrap();
    read_until(&mut first, "hi");
    for _ in 0..20 {
        assert_eq!(world.connect().read(&mut [0]).unwrap_or(0), 0);
    }
    wait_until("all are counted", || world.metric("limits_hit_total{limit=\"connections_per_address\"}") == 20);
    let log = world.log();
    assert_eq!(log.matches("a limit was hit").count(), 1, "{log}");
    assert!(log.contains("connections_per_address"), "{log}");
}

//! Other protocols over a switched connection: only after the 101, byte for byte.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use shipway_proxy::RouteState;

use crate::support::*;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Echoes until the other side ends, then says goodbye.
fn echo(stream: &mut UnixStream) {
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        stream.write_all(&chunk[..count]).unwrap();
    }
    stream.write_all(b"bye").ok();
}

#[test]
fn a_websocket_is_spliced_after_the_101() {
    let world = World::new();
    let origin = world.origin("hello", |stream, _| {
        let request = read_request(stream).unwrap().to_lowercase();
        assert!(request.contains("upgrade: websocket\r\n") && request.contains("connection: upgrade\r\n"));
        assert!(request.contains("sec-websocket-key: "));
        stream.write_all(SWITCH.as_bytes()).unwrap();
        echo(stream);
    });
    let mut visitor = world.connect();
    visitor.write_all(ASK.as_bytes()).unwrap();
    let head = read_until(&mut visitor, "\r\n\r\n").to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: "));
    for frame in ["\u{1}one", "\n\n bare \r\n lines \0"] {
        visitor.write_all(frame.as_bytes()).unwrap();
        assert_eq!(read_until(&mut visitor, frame), frame);
    }
    assert_eq!(world.runtime.block_on(world.feed.in_flight(&origin.endpoint())).unwrap(), 1);
    // Half of it ends, the other half is still carried.
    visitor.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut visitor), "bye");
    assert!(world.is_idle(&origin, LIMIT));
    assert_eq!(world.metric("upgrades_total"), 1);
}

#[test]
fn early_bytes_wait_for_the_101() {
    let world = World::new();
    let (seen, sees) = std::sync::mpsc::channel();
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let (seen, answers) = (std::sync::Mutex::new(seen), std::sync::Mutex::new(answers));
    world.origin("hello", move |stream, _| {
        read_request(stream).unwrap();
        answers.lock().unwrap().recv().unwrap();
        // Nothing may have come behind the request so far.
        stream.set_nonblocking(true).unwrap();
        let early = stream.read(&mut [0; 64]);
        seen.lock().unwrap().send(early.map_err(|error| error.kind())).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.write_all(SWITCH.as_bytes()).unwrap();
        echo(stream);
    });
    let mut visitor = world.connect();
    visitor.write_all(format!("{ASK}too early").as_bytes()).unwrap();
    wait_until("the upgrade is under way", || world.metric("upstream_connects_total") == 1);
    answer.send(()).unwrap();
    assert_eq!(sees.recv().unwrap(), Err(std::io::ErrorKind::WouldBlock));
    read_until(&mut visitor, "\r\n\r\n");
    assert_eq!(read_until(&mut visitor, "early"), "too early");
}

#[test]
fn what_follows_a_declined_upgrade_is_the_next_request() {
    let world = World::new();
    let origin = world.answering("hello", ok("no"));
    let next = "GET /next HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
    let answer = world.ask(format!("{ASK}{next}"));
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{answer}");
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].starts_with("GET /chat ") && seen[1].starts_with("GET /next "), "{seen:?}");
    // And is checked like any other.
    let answer = world.ask(format!("{ASK}GET /bad HTTP/1.1\n\n"));
    assert!(answer.contains("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 400 "), "{answer}");
    assert!(origin.seen().iter().all(|request| !request.contains("/bad")));
}

#[test]
fn a_service_cannot_switch_what_nobody_asked_to_switch() {
    let world = World::new();
    world.answering("hello", SWITCH);
    assert_eq!(status(&world.get("hello.localhost")), "502");
    // `h2c` would carry requests past every check, so it is never asked for.
    let h2c = ASK.replace("websocket\r\n", "h2c\r\nConnection: close\r\nHTTP2-Settings: AAMAAABk\r\n");
    let answer = world.ask(h2c);
    assert_eq!(status(&answer), "502", "{answer}");
}

#[test]
fn an_upgrade_for_nobody_is_answered_and_the_connection_goes_on() {
    let world = World::new();
    world.route("hello", RouteState::Stopped);
    let close = "GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
    let answer = world.ask(format!("{ASK}{close}"));
    assert_eq!(answer.matches("HTTP/1.1 503 ").count(), 2, "{answer}");
}

#[test]
fn a_switched_connection_survives_its_route() {
    let world = World::new();
    let origin = world.origin("hello", |stream, _| {
        read_request(stream).unwrap();
        stream.write_all(SWITCH.as_bytes()).unwrap();
        echo(stream);
    });
    let mut visitor = world.connect();
    visitor.write_all(ASK.as_bytes()).unwrap();
    read_until(&mut visitor, "\r\n\r\n");
    world.route("hello", RouteState::Stopped);
    visitor.write_all(b"still there").unwrap();
    assert_eq!(read_until(&mut visitor, "there"), "still there");
    assert!(!world.is_idle(&origin, std::time::Duration::from_millis(10)));
    drop(visitor);
    assert!(world.is_idle(&origin, LIMIT));
}

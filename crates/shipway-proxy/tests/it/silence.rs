//! Streams that say nothing for long: alive, whatever the other clocks say, through a
//! redeploy of their service and through the proxy's own draining. (An hour and a minute
//! are a matter of numbers; here the minute is a sixth of a second.)

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shipway_proxy::{Limits, RouteState};

use crate::support::*;

const SHORT: Duration = Duration::from_millis(150);
/// Several of every clock that must not matter.
const SILENCE: Duration = Duration::from_millis(900);

/// Every clock is short, but that of streams.
fn impatient(limits: &mut Limits) {
    (limits.header_time, limits.idle, limits.body_idle) = (SHORT, SHORT, SHORT);
    (limits.first_byte, limits.response_idle) = (SHORT, SHORT);
}

/// Silence itself: nothing is waited for.
fn pass(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// The head, one event, and after a word from the test another one.
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn events(world: &World) -> (Origin, Sender<()>) {
    let (go, goes) = channel::<()>();
    let goes: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(goes));
    let origin = world.origin("events", move |stream, _| {
        while let Some(request) = read_request(stream) {
            assert!(request.starts_with("GET / "));
            stream.write_all(format!("{HEAD}b\r\ndata: one\n\n\r\n").as_bytes()).unwrap();
            goes.lock().unwrap().recv().unwrap();
            stream.write_all(b"b\r\ndata: two\n\n\r\n0\r\n\r\n").unwrap();
        }
    });
    (origin, go)
}

/// A visitor of events that says when it has the first, and gives all of them.
fn http1(world: &World) -> TcpStream {
    let mut visitor = world.connect();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: events.localhost\r\n\r\n").unwrap();
    read_until(&mut visitor, "data: one\n\n");
    visitor
}

/// Silent while its service is redeployed; then while the proxy drains.
fn outlives_both(fast_path: bool) {
    let mut world = World::with(|settings| {
        settings.fast_path = fast_path;
        impatient(&mut settings.limits);
    });
    let (origin, go) = events(&world);
    let mut visitor = http1(&world);
    world.route("events", RouteState::Stopped);
    assert!(!world.is_idle(&origin, SILENCE), "the old container is kept for it");
    world.runtime.block_on(world.feed.drain_and_exit(LIMIT)).unwrap();
    // Longer than the grace that waiting connections have.
    pass(Duration::from_millis(2500));
    assert!(world.child.try_wait().unwrap().is_none(), "the proxy waits for it");
    go.send(()).unwrap();
    assert!(read_to_end(&mut visitor).contains("data: two\n\n"));
    assert!(world.child.wait().unwrap().success());
}

#[test]
fn silent_events_outlive_a_redeploy_and_the_proxy() {
    outlives_both(true);
}

#[test]
fn silent_events_outlive_a_redeploy_and_the_proxy_on_the_general_path() {
    outlives_both(false);
}

#[test]
fn silent_events_outlive_a_redeploy_and_the_proxy_over_http2() {
    let mut world = World::limited(impatient);
    let (origin, go) = events(&world);
    let (mut body, _client) = world.runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(async move { connection.await.ok() });
        let mut client = client.ready().await.unwrap();
        let request = http::Request::get("http://events.localhost/").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "data: one\n\n");
        (body, client)
    });
    world.route("events", RouteState::Stopped);
    assert!(!world.is_idle(&origin, SILENCE));
    world.runtime.block_on(world.feed.drain_and_exit(LIMIT)).unwrap();
    pass(SILENCE);
    go.send(()).unwrap();
    assert_eq!(world.runtime.block_on(body.data()).unwrap().unwrap(), "data: two\n\n");
    let rest = world.runtime.block_on(body.data());
    assert!(rest.is_none_or(|end| end.unwrap().is_empty()));
    assert!(world.child.wait().unwrap().success());
}

#[test]
fn a_silent_upgraded_connection_outlives_a_redeploy_and_the_proxy() {
    let mut world = World::limited(impatient);
    let origin = world.origin("chat", |stream, _| {
        read_request(stream).unwrap();
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .unwrap();
        let mut chunk = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            stream.write_all(&chunk[..count]).unwrap();
        }
    });
    let mut visitor = world.connect();
    visitor
        .write_all(b"GET / HTTP/1.1\r\nHost: chat.localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .unwrap();
    read_until(&mut visitor, "\r\n\r\n");
    world.route("chat", RouteState::Stopped);
    assert!(!world.is_idle(&origin, SILENCE));
    world.runtime.block_on(world.feed.drain_and_exit(LIMIT)).unwrap();
    pass(SILENCE);
    visitor.write_all(b"still there").unwrap();
    assert_eq!(read_until(&mut visitor, "there"), "still there");
    drop(visitor);
    assert!(world.child.wait().unwrap().success());
}

#[test]
fn a_stream_that_is_silent_for_longer_than_streams_may_ends() {
    for fast_path in [true, false] {
        let world = World::with(|settings| {
            settings.fast_path = fast_path;
            settings.limits.stream_idle = SHORT;
        });
        let (origin, _go) = events(&world);
        let mut visitor = http1(&world);
        assert!(!read_to_end(&mut visitor).contains("two"));
        assert_eq!(world.metric("limits_hit_total{limit=\"response_idle\"}"), 1);
        assert!(world.is_idle(&origin, LIMIT));
    }
}

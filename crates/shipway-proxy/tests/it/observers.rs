//! Who only looks at a proxy takes nobody's place, and learns what it needs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use shipway_proxy::{Endpoint, Observer, RouteState};

use crate::support::*;

fn observer(world: &World) -> Observer {
    let socket = world.path(shipway_proxy::wire::CONTROL_SOCKET);
    world.runtime.block_on(Observer::connect(&socket, "test")).unwrap()
}

fn goes(world: &World, observer: &mut Observer, service: &str) -> Option<RouteState> {
    world.runtime.block_on(observer.goes(service)).unwrap()
}

#[test]
fn it_sees_where_visitors_go_and_when_they_have_left() {
    let world = World::new();
    let mut looking = observer(&world);
    assert_eq!(goes(&world, &mut looking, "hello"), None);
    world.origin("hello", |stream, _| {
        read_until(stream, "\r\n\r\n");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").unwrap();
        read_until(stream, "never");
    });
    let id = route("hello", RouteState::Starting).service_id;
    let Some(RouteState::Live { endpoint }) = goes(&world, &mut looking, &id) else { panic!("it is live") };
    let mut visitor = world.connect();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
    read_until(&mut visitor, "ha");
    world.route("hello", RouteState::Stopped);
    assert_eq!(goes(&world, &mut looking, &id), Some(RouteState::Stopped));
    let mut in_flight = |endpoint: &Endpoint| world.runtime.block_on(looking.in_flight(endpoint)).unwrap();
    assert_eq!(in_flight(&endpoint), 1);
    drop(visitor);
    wait_until("the visitor has left", || in_flight(&endpoint) == 0);
    assert!(world.feed.is_connected());
}

#[test]
fn it_changes_nothing_and_takes_nobodys_place() {
    let world = World::new();
    world.route("hello", RouteState::Stopped);
    let says = |lines: &[&str]| {
        let mut stream = UnixStream::connect(world.path(shipway_proxy::wire::CONTROL_SOCKET)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        for line in lines {
            writeln!(stream, "{line}").unwrap();
        }
        BufReader::new(stream).lines().map_while(Result::ok).last().unwrap_or_default()
    };
    let hello = r#"{"ask":"observe","version":1,"instance":"test"}"#;
    for (lines, why) in [
        (&[r#"{"ask":"stats"}"#][..], "say hello first"),
        (&[r#"{"ask":"observe","version":1,"instance":"another"}"#], "another installation"),
        (&[hello, r#"{"ask":"remove","version":9,"service_id":"hello"}"#], "changes nothing"),
        (&[hello, r#"{"ask":"drain_and_exit","limit":{"secs":1,"nanos":0}}"#], "changes nothing"),
        (&[hello, r#"{"ask":"hello","version":1,"instance":"test"}"#], "changes nothing"),
    ] {
        let answer = says(lines);
        assert!(answer.contains("refused") && answer.contains(why), "{lines:?}: {answer}");
    }
    // The feed has been there all the time, and is heard.
    world.route("hello", RouteState::Starting);
    let mut looking = observer(&world);
    let id = route("hello", RouteState::Starting).service_id;
    assert_eq!(goes(&world, &mut looking, &id), Some(RouteState::Starting));
    assert!(world.runtime.block_on(world.feed.connected(Duration::ZERO)).is_ok());
}

//! Names lead where the feed says, at once, and without the feed too.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shipway_proxy::{Endpoint, Protocol, RouteState, Serves};

use crate::support::*;

#[test]
fn a_service_answers_at_each_of_its_labels() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    for host in ["hello.localhost", "id-hello.localhost", "HELLO.localhost:8080", "hello.localhost."] {
        let answer = world.get(host);
        assert_eq!((status(&answer), body(&answer)), ("200", "hi"), "{host}: {answer}");
    }
    assert_eq!(origin.seen().len(), 4);
    let absolute = "GET http://hello.localhost/x?y=1 HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&world.ask(absolute)), "200");
    assert!(origin.seen()[4].starts_with("GET /x?y=1 HTTP/1.1\r\n"));
}

#[test]
fn unknown_names_are_a_plain_404() {
    let world = World::new();
    world.answering("hello", ok("hi"));
    for host in ["other.localhost", "a.hello.localhost", "example.com", "hello.example.com"] {
        let answer = world.get(host);
        assert_eq!(status(&answer), "404", "{host}: {answer}");
        assert!(body(&answer).starts_with("no such service\nrequest id: "), "{answer}");
        assert!(answer.to_lowercase().contains("content-type: text/plain"), "{answer}");
    }
}

#[test]
fn a_target_that_names_another_host_is_refused() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    let other = "GET http://other.localhost/ HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&world.ask(other)), "400");
    assert!(origin.seen().is_empty());
}

#[test]
fn a_service_that_is_not_live_says_why() {
    let world = World::limited(|limits| limits.patience = Duration::from_millis(50));
    let reason = "it keeps crashing".to_owned();
    for (state, says) in [
        (RouteState::Starting, "the service is starting"),
        (RouteState::Stopped, "the service is stopped"),
        (RouteState::Unavailable { reason }, "the service is unavailable: it keeps crashing"),
    ] {
        world.route("hello", state);
        let answer = world.get("hello.localhost");
        assert_eq!(status(&answer), "503");
        assert!(body(&answer).starts_with(says), "{answer}");
        assert_eq!(answer.to_lowercase().contains("retry-after:"), !says.contains("stopped"), "{answer}");
    }
}

#[test]
fn listeners_serve_only_what_they_are_for() {
    let world = World::with_listeners(&[Serves::Services, Serves::Api], |_| {});
    world.answering("hello", ok("hi"));
    let get = |listener: usize, host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        ask(world.address_of(listener), request)
    };
    assert_eq!(status(&get(0, "hello.localhost")), "200");
    assert_eq!(status(&get(0, "localhost")), "404");
    assert_eq!(status(&get(0, "api.test")), "404");
    assert_eq!(status(&get(1, "hello.localhost")), "404");
    // No API behind it here, but it is the API that is meant.
    assert_eq!(status(&get(1, "localhost")), "503");
}

#[test]
fn a_request_for_a_starting_service_is_held_until_it_is_live() {
    let world = World::new();
    let origin = Origin::start(&world.path("o"), |stream, _| {
        read_request(stream);
        stream.write_all(ok("at last").as_bytes()).unwrap();
    });
    world.route("hello", RouteState::Starting);
    let mut visitor = world.connect();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n").unwrap();
    wait_until("the request is held", || world.metric("connections_total") == 1);
    world.route("hello", origin.live());
    assert_eq!(body(&read_to_end(&mut visitor)), "at last");
}

#[test]
fn losing_the_control_plane_changes_nothing() {
    let mut world = World::new();
    world.answering("hello", ok("hi"));
    world.lose_control_plane();
    assert_eq!(status(&world.get("hello.localhost")), "200");
    // A new one without routes of its own yet must not empty the table.
    let (feed, _stop) = world.another_feed();
    world.runtime.block_on(feed.connected(LIMIT)).unwrap();
    let page = world.runtime.block_on(feed.metrics()).unwrap();
    // Whether it counts as lost depends on who is quicker: the end of the one or the next.
    let told =
        ["shipway_proxy_routes 1", "shipway_proxy_control_plane_up 1", "shipway_proxy_control_plane_losses_total "];
    told.iter().for_each(|line| assert!(page.contains(line), "{line}: {page}"));
    assert_eq!(status(&world.get("hello.localhost")), "200");
    // Once it has read its store, its word counts.
    let generation = feed.publish([route("other", RouteState::Stopped)]);
    world.runtime.block_on(feed.applied(generation, LIMIT)).unwrap();
    assert_eq!(status(&world.get("hello.localhost")), "404");
    assert_eq!(status(&world.get("other.localhost")), "503");
}

#[test]
fn a_killed_proxy_comes_back_with_the_last_routes() {
    let mut world = World::new();
    world.answering("hello", ok("hi"));
    let file = world.settings.snapshot_dir.join("routes.json");
    wait_until("the routes are saved", || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("id-hello")));
    world.lose_control_plane();
    world.kill_and_restart();
    assert_eq!(body(&world.get("hello.localhost")), "hi");
}

#[test]
fn a_new_proxy_is_told_everything_again() {
    let mut world = World::new();
    world.answering("hello", ok("hi"));
    let file = world.settings.snapshot_dir.join("routes.json");
    wait_until("the routes are saved", || file.exists());
    // Without the file only the feed can tell.
    std::fs::create_dir(world.path("empty")).unwrap();
    world.settings.snapshot_dir = world.path("empty");
    world.kill_and_restart();
    wait_until("the feed has told it", || status(&world.get("hello.localhost")) == "200");
}

#[test]
fn thousands_of_routes_travel_in_parts() {
    let world = World::new();
    let many = (0..3000).map(|n| {
        let endpoint = Endpoint::Dialer { path: format!("/run/somewhere/{n}/dial.sock"), protocol: Protocol::Http1 };
        route(&format!("s{n}"), RouteState::Live { endpoint })
    });
    let generation = world.feed.publish(many);
    world.runtime.block_on(world.feed.applied(generation, LIMIT)).unwrap();
    assert_eq!(world.metric("routes"), 3000);
    let generation = world.feed.publish((0..10).map(|n| route(&format!("s{n}"), RouteState::Stopped)));
    world.runtime.block_on(world.feed.applied(generation, LIMIT)).unwrap();
    assert_eq!(world.metric("routes"), 10);
}

/// The promise of a deploy: switch, wait for idle, stop the old one. Under load,
/// with keep-alive connections and uploads, no request may fail.
#[test]
fn switching_endpoints_under_load_fails_nobody() {
    let world = World::new();
    let serve = |path: &std::path::Path, closed: std::sync::Arc<AtomicBool>| {
        Origin::start(path, move |stream, _| {
            while read_request(stream).is_some() {
                // A stopped container answers nobody.
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                if stream.write_all(ok("fine").as_bytes()).is_err() {
                    return;
                }
            }
        })
    };
    let closed = std::sync::Arc::new(AtomicBool::new(false));
    let mut old = (serve(&world.path("e0"), closed.clone()), closed);
    world.route("hello", old.0.live());
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _over = OverAtEnd(&done);
        for n in 0..4 {
            let (world, done, asked) = (&world, &done, &asked);
            scope.spawn(move || {
                let mut stream = world.connect();
                while !done.load(Ordering::SeqCst) {
                    let request: &[u8] = if n % 2 == 0 {
                        b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n"
                    } else {
                        b"POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 5\r\n\r\nhello"
                    };
                    stream.write_all(request).unwrap();
                    let answer = read_until(&mut stream, "fine");
                    assert_eq!(status(&answer), "200", "{answer}");
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for n in 1..20 {
            let before = asked.load(Ordering::SeqCst);
            wait_until("some requests have passed", || asked.load(Ordering::SeqCst) > before + 20);
            let closed = std::sync::Arc::new(AtomicBool::new(false));
            let new = serve(&world.path(&format!("e{n}")), closed.clone());
            world.route("hello", new.live());
            assert!(world.is_idle(&old.0, LIMIT));
            old.1.store(true, Ordering::SeqCst);
            std::fs::remove_file(&old.0.path).unwrap();
            old = (new, closed);
        }
    });
}

#[test]
fn requests_in_flight_are_counted_until_their_answer_ends() {
    let world = World::new();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = world.origin("hello", move |stream, _| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfi").unwrap();
        released.lock().unwrap().recv().unwrap();
        stream.write_all(b"ne").unwrap();
    });
    let mut visitor = world.connect();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n").unwrap();
    read_until(&mut visitor, "fi");
    let in_flight = || world.runtime.block_on(world.feed.in_flight(&origin.endpoint())).unwrap();
    assert_eq!(in_flight(), 1);
    world.route("hello", RouteState::Stopped);
    assert_eq!(in_flight(), 1);
    let start = Instant::now();
    assert!(!world.is_idle(&origin, Duration::from_millis(20)));
    assert!(start.elapsed() < LIMIT);
    release.send(()).unwrap();
    assert_eq!(read_to_end(&mut visitor), "ne");
    assert!(world.is_idle(&origin, LIMIT));
}

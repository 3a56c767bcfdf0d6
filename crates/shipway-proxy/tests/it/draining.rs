//! A proxy told to stop lets what is under way end, on both paths, and a takeover
//! loses nobody: not a request on its way, not a connection in the kernel's queue.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use shipway_proxy::feed::FeedError;
use shipway_proxy::wire;

use crate::support::*;

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A service that switches where it is asked to, and else counts what it is sent.
fn serve(stream: &mut std::os::unix::net::UnixStream) {
    let head = read_until(stream, "\r\n\r\n").to_lowercase();
    if head.contains("upgrade: websocket") {
        stream.write_all(SWITCH).unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), stream).ok();
        return;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    stream.write_all(ok(&format!("got {length}")).as_bytes()).unwrap();
}

fn lets_everything_end(fast_path: bool) {
    let mut world = World::with(|settings| settings.fast_path = fast_path);
    world.origin("hello", |stream, _| serve(stream));
    let mut socket = world.connect();
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .unwrap();
    read_until(&mut socket, "\r\n\r\n");
    let mut upload = world.connect();
    upload.write_all(b"POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 10\r\n\r\nhello").unwrap();
    wait_until("the upload is under way", || world.metric("upstream_connects_total") == 2);
    // Says nothing yet: its request is on its way when the proxy begins to drain.
    let mut late = world.connect();
    wait_until("all are accepted", || world.metric("open_connections") == 3);
    world.runtime.block_on(world.feed.drain_and_exit(LIMIT)).unwrap();
    late.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").unwrap();
    let answer = read_to_end(&mut late);
    assert!(answer.contains("connection: close\r\n") && body(&answer) == "got 0", "{answer}");
    upload.write_all(b"world").unwrap();
    let answer = read_to_end(&mut upload);
    assert!(answer.contains("connection: close\r\n") && body(&answer) == "got 10", "{answer}");
    for word in ["one", "two"] {
        socket.write_all(word.as_bytes()).unwrap();
        assert_eq!(read_until(&mut socket, word), word);
    }
    assert!(world.child.try_wait().unwrap().is_none(), "it waits for the upgraded connection");
    drop(socket);
    assert!(world.child.wait().unwrap().success());
}

#[test]
fn uploads_and_upgraded_connections_end_in_peace() {
    lets_everything_end(true);
}

#[test]
fn uploads_and_upgraded_connections_end_in_peace_on_the_general_path() {
    lets_everything_end(false);
}

/// Asks again and again on one connection, as long as it is kept, or on a new one each time.
fn visit(address: std::net::SocketAddr, keeps: bool, stop: &AtomicBool, answers: &AtomicUsize) {
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        let mut stream = kept.take().unwrap_or_else(|| connect_to(address));
        let close = if keeps { "" } else { "Connection: close\r\n" };
        write!(stream, "GET / HTTP/1.1\r\nHost: hello.localhost\r\n{close}\r\n").unwrap();
        let answer = read_until(&mut stream, "got 0");
        assert_eq!(status(&answer), "200");
        answers.fetch_add(1, Ordering::Relaxed);
        if !answer.contains("connection: close") {
            kept = Some(stream);
        }
    }
}

fn takeovers_lose_nobody(fast_path: bool) {
    let mut world = World::with(|settings| settings.fast_path = fast_path);
    world.origin("hello", |stream, _| {
        while let Some(request) = read_request(stream) {
            assert!(request.starts_with("GET / "));
            if stream.write_all(ok("got 0").as_bytes()).is_err() {
                return;
            }
        }
    });
    let (stop, answers, address) = (AtomicBool::new(false), AtomicUsize::new(0), world.address);
    std::thread::scope(|scope| {
        let over = OverAtEnd(&stop);
        let visitors: Vec<_> = (0..6)
            .map(|n| {
                scope.spawn({
                    let (stop, answers) = (&stop, &answers);
                    move || visit(address, n % 2 == 0, stop, answers)
                })
            })
            .collect();
        for round in 1..=3 {
            let goal = answers.load(Ordering::Relaxed) + 50;
            wait_until("visitors are answered", || {
                answers.load(Ordering::Relaxed) >= goal || visitors.iter().any(|visitor| visitor.is_finished())
            });
            take_over(&mut world, round);
        }
        let goal = answers.load(Ordering::Relaxed) + 50;
        wait_until("visitors are answered by the last", || {
            answers.load(Ordering::Relaxed) >= goal || visitors.iter().any(|visitor| visitor.is_finished())
        });
        drop(over);
        // A visitor that failed says why.
        visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    });
}

fn take_over(world: &mut World, round: usize) {
    let file = world.settings.snapshot_dir.join("routes.json");
    wait_until("the routes are saved", || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("id-hello")));
    let mut listeners = Vec::new();
    // The one before may have gone without the feed having noticed yet.
    wait_until("the listeners are handed over", || match world.runtime.block_on(world.feed.listeners()) {
        Ok(given) => {
            listeners = given;
            true
        }
        Err(FeedError::Away) => false,
        Err(error) => panic!("{error}"),
    });
    let config = shipway_proxy::ProxyConfig { settings: world.settings.clone(), listeners };
    let socket = world.path(wire::CONTROL_SOCKET);
    let inode = |path: &std::path::Path| std::fs::metadata(path).map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
    let before = inode(&socket).unwrap();
    let new = shipway_proxy::startup::start(&program(), &["warn"], &config).unwrap();
    wait_until("the new one has its control socket", || inode(&socket).is_ok_and(|now| now != before));
    world.runtime.block_on(world.feed.drain_and_exit(Duration::from_secs(30))).unwrap();
    assert!(world.child.wait().unwrap().success(), "round {round}");
    world.child = new;
    world.await_feed();
}

#[test]
fn takeovers_under_load_lose_nobody() {
    takeovers_lose_nobody(true);
}

#[test]
fn takeovers_under_load_lose_nobody_on_the_general_path() {
    takeovers_lose_nobody(false);
}

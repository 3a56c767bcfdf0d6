//! Endpoints that fail in every way a container can.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use shipway_proxy::{Endpoint, Protocol, RouteState};

use crate::support::*;

#[test]
fn connections_are_used_again() {
    let world = World::with(|settings| settings.threads = 1);
    let origin = world.answering("hello", ok("hi"));
    for _ in 0..10 {
        assert_eq!(body(&world.get("hello.localhost")), "hi");
    }
    assert_eq!((origin.connections(), origin.seen().len()), (1, 10));
}

#[test]
fn a_stale_connection_costs_nobody_a_request() {
    let world = World::with(|settings| settings.threads = 1);
    // Answers one request a connection and closes without a word about it.
    let origin = world.origin_recording("hello", |stream, _| {
        stream.write_all(ok("hi").as_bytes()).unwrap();
        false
    });
    let mut visitor = world.connect();
    for n in 0..50 {
        let request: &[u8] = match n % 2 {
            0 => b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n",
            _ => b"PUT / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 0\r\n\r\n",
        };
        visitor.write_all(request).unwrap();
        let answer = read_until(&mut visitor, "hi");
        assert_eq!(status(&answer), "200", "{n}: {answer}");
    }
    assert_eq!(origin.seen().len(), 50);
}

/// Takes the second request of each connection and closes without an answer.
#[test]
fn only_what_may_be_repeated_is_sent_again() {
    let world = World::with(|settings| settings.threads = 1);
    let origin = world.origin("hello", |stream, _| {
        read_request(stream).unwrap();
        stream.write_all(ok("hi").as_bytes()).unwrap();
        read_request(stream);
    });
    assert_eq!(status(&world.get("hello.localhost")), "200");
    // On the same connection, which closes on it; repeated on a new one.
    assert_eq!(status(&world.get("hello.localhost")), "200");
    assert_eq!(origin.connections(), 2);
    let post = "POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    // Nobody knows whether it was done: never repeated.
    let answer = world.ask(post);
    assert_eq!(status(&answer), "502", "{answer}");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn what_an_endpoint_did_is_told() {
    let world = World::limited(|limits| {
        limits.patience = Duration::from_millis(50);
        limits.first_byte = Duration::from_millis(100);
    });
    world.origin_recording("closes", |_, _| false);
    world.answering("babbles", "what is HTTP\r\n\r\n");
    world.answering("lies", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!");
    world.origin_recording("sleeps", |stream, _| {
        read_request(stream);
        false
    });
    world.route("gone", RouteState::Live { endpoint: endpoint(&world, "nowhere.sock") });
    for (name, code, says) in [
        ("closes", "502", "the service closed the connection before it answered"),
        ("babbles", "502", "the service's answer is not valid HTTP"),
        ("lies", "502", "the service's answer is not valid HTTP"),
        ("sleeps", "504", "the service did not answer in time"),
        ("gone", "503", "the service is unavailable: nothing listens at its endpoint"),
    ] {
        let answer = world.get(&format!("{name}.localhost"));
        assert_eq!(status(&answer), code, "{name}: {answer}");
        assert!(body(&answer).starts_with(says), "{name}: {answer}");
    }
    assert_eq!(world.metric("upstream_failures_total"), 5);
}

fn endpoint(world: &World, name: &str) -> Endpoint {
    Endpoint::Unix { path: world.path(name).to_str().unwrap().to_owned() }
}

#[test]
fn a_service_with_its_own_patience_has_it() {
    let world = World::new();
    let origin = world.origin_recording("hello", |stream, _| {
        read_request(stream);
        false
    });
    let mut route = route("hello", origin.live());
    route.limits.first_byte_ms = Some(50);
    world.set(route);
    assert_eq!(status(&world.get("hello.localhost")), "504");
}

/// Right after a crash the socket refuses, or is not there at all.
#[test]
fn a_request_is_held_while_its_container_comes_back() {
    let world = World::new();
    let path = world.path("o.sock");
    drop(UnixListener::bind(&path).unwrap());
    world.route("hello", RouteState::Live { endpoint: endpoint(&world, "o.sock") });
    let mut visitors: Vec<_> = (0..8).map(|_| world.connect()).collect();
    for (n, visitor) in visitors.iter_mut().enumerate() {
        let request = if n % 2 == 0 {
            "GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n"
        } else {
            "POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        };
        visitor.write_all(request.as_bytes()).unwrap();
    }
    wait_until("they are all being tried", || world.metric("upstream_connects_total") > 16);
    let origin = Origin::start(&path, |stream, _| {
        read_request(stream);
        stream.write_all(ok("back").as_bytes()).unwrap();
    });
    for visitor in &mut visitors {
        assert_eq!(body(&read_to_end(visitor)), "back");
    }
    assert_eq!(origin.connections(), 8);
}

/// A dialer as the shim is one: a status byte, and the socket beside it.
fn dialer(world: &World, name: &str, status: u8, to: Option<&TcpListener>) -> Endpoint {
    dialer_to(world, name, status, to.map(|listener| listener.local_addr().unwrap()))
}

pub(crate) fn dialer_to(world: &World, name: &str, status: u8, to: Option<std::net::SocketAddr>) -> Endpoint {
    let path = world.path(name);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let socket = to.map(|address| std::net::TcpStream::connect(address).unwrap());
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
            if !fds.is_empty() {
                assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            }
            let bytes = [status];
            sendmsg(&stream, &[std::io::IoSlice::new(&bytes)], &mut control, SendFlags::empty()).unwrap();
        }
    });
    Endpoint::Dialer { path: path.to_str().unwrap().to_owned(), protocol: Protocol::Http1 }
}

#[test]
fn a_dialer_passes_connections_over() {
    let world = World::limited(|limits| limits.patience = Duration::from_millis(50));
    let container = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = dialer(&world, "dial.sock", 0, Some(&container));
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    std::thread::spawn(move || {
        let (mut stream, _) = container.accept().unwrap();
        while read_request(&mut stream).is_some() {
            stream.write_all(ok("from inside").as_bytes()).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    world.route("hello", RouteState::Live { endpoint });
    assert_eq!(body(&world.get("hello.localhost")), "from inside");
    world.route("hello", RouteState::Stopped);
    wait_until("the unused connection is closed", || is_done.load(Ordering::SeqCst));
}

#[test]
fn a_dialer_that_cannot_says_so() {
    let world = World::limited(|limits| limits.patience = Duration::from_millis(50));
    for (name, status, says) in [
        ("refused", 1, "nothing listens at its endpoint"),
        ("busy", 2, "nothing listens at its endpoint"),
        ("empty", 0, "its endpoint could not be reached"),
        ("strange", 13, "its endpoint could not be reached"),
    ] {
        let endpoint = dialer(&world, name, status, None);
        world.route("hello", RouteState::Live { endpoint });
        let answer = world.get("hello.localhost");
        assert_eq!(crate::support::status(&answer), "503", "{name}: {answer}");
        assert!(answer.contains(says), "{name}: {answer}");
    }
}

/// Not one of ours: HTTP/1.0, a connection a request, bodies that end by closing.
#[test]
fn pythons_server_is_served() {
    let world = World::new();
    let folder = world.path("files");
    std::fs::create_dir(&folder).unwrap();
    let content: String = (0..50_000).map(|n| format!("{n}\n")).collect();
    Write::write_all(&mut std::fs::File::create(folder.join("numbers.txt")).unwrap(), content.as_bytes()).unwrap();
    let script = "import http.server,socket,sys,functools\n\
                  s=http.server.ThreadingHTTPServer(('127.0.0.1',0),functools.partial(\
                  http.server.SimpleHTTPRequestHandler,directory=sys.argv[1]))\n\
                  print(s.server_address[1],flush=True)\ns.serve_forever()\n";
    let mut python = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&folder)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let port = read_until(&mut python.stdout.take().unwrap(), "\n");
    let address = format!("127.0.0.1:{}", port.trim()).parse().unwrap();
    let endpoint = dialer_to(&world, "python.sock", 0, Some(address));
    world.route("hello", RouteState::Live { endpoint });
    for _ in 0..20 {
        let get = "GET /numbers.txt HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
        let answer = world.ask(get);
        assert_eq!((status(&answer), body(&answer)), ("200", content.as_str()));
        let missing = world.ask("GET /nothing HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&missing), "404");
    }
    python.kill().unwrap();
    python.wait().unwrap();
}

//! The way to the API: with the visitor's own socket, and only for that visitor.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use shipway_proxy::wire::{API_GREETING, API_SOCKET};

use crate::support::*;

/// Reads the greeting; returns whose socket came with it.
fn greeting(stream: &UnixStream) -> SocketAddr {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    let got = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let fds: Vec<_> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!((got.bytes, byte[0], fds.len()), (1, API_GREETING, 1));
    TcpStream::from(fds.into_iter().next().unwrap()).peer_addr().unwrap()
}

/// An API that tells who came and what was asked, and answers with the peer.
fn api(world: &World) -> Receiver<(SocketAddr, String)> {
    let listener = UnixListener::bind(world.path(API_SOCKET)).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let peer = greeting(&stream);
                while let Some(request) = read_request(&mut stream) {
                    tell.send((peer, request)).unwrap();
                    stream.write_all(ok(&peer.to_string()).as_bytes()).unwrap();
                }
            });
        }
    });
    told
}

#[test]
fn the_api_sees_the_visitors_own_socket() {
    let world = World::new();
    let told = api(&world);
    for host in ["localhost:8080", "127.0.0.1", "api.test"] {
        let mut visitor = world.connect();
        let me = visitor.local_addr().unwrap();
        write!(
            visitor,
            "GET /v1/services HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        assert_eq!(body(&read_to_end(&mut visitor)), me.to_string());
        let (peer, request) = told.recv().unwrap();
        assert_eq!(peer, me);
        let request = request.to_lowercase();
        assert!(request.contains("x-forwarded-for: 127.0.0.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
        assert!(!request.contains("6.6.6.6") && !request.contains("x-original"), "{request}");
    }
}

#[test]
fn connections_to_the_api_are_never_shared_between_visitors() {
    let world = World::with(|settings| settings.threads = 1);
    let told = api(&world);
    let mut visitors: Vec<_> = (0..3).map(|_| world.connect()).collect();
    for _ in 0..4 {
        for visitor in &mut visitors {
            let me = visitor.local_addr().unwrap();
            visitor.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            read_until(visitor, &me.to_string());
            assert_eq!(told.recv().unwrap().0, me);
        }
    }
}

#[test]
fn without_the_control_plane_the_api_is_a_problem() {
    let world = World::new();
    world.answering("hello", ok("hi"));
    let answer = world.get("localhost");
    assert_eq!(status(&answer), "503");
    let head = answer.to_lowercase();
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    assert!(head.contains("retry-after: 1"), "{answer}");
    let problem: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(503), Some("api_unavailable")));
    // Where the caddy command looks for a reason.
    assert_eq!((problem["status_code"].as_u64(), &problem["error"]["message"]), (Some(503), &problem["detail"]));
    assert_eq!(status(&world.get("hello.localhost")), "200");
}

#[test]
fn the_api_can_switch_protocols() {
    let world = World::new();
    let listener = UnixListener::bind(world.path(API_SOCKET)).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        greeting(&stream);
        read_request(&mut stream).unwrap();
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
        .write_all(b"GET /exec HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .unwrap();
    assert!(read_until(&mut visitor, "\r\n\r\n").starts_with("HTTP/1.1 101 "));
    visitor.write_all(b"hello").unwrap();
    assert_eq!(read_until(&mut visitor, "hello"), "hello");
}

//! Connections into the container's network.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rustix::net::SocketType;
use shipway_shim::protocol::{
    DIAL_BUSY, DIAL_CONNECTED, DIAL_REFUSED, DIAL_SOCKET, DIALS_MAX, Dialer, Launch, Network,
};

use crate::socket;
use crate::world::{Container, World, wait_until};

fn with_dialer(launch: &mut Launch) {
    launch.network = Network::None { address: Some("10.99.0.7".parse().unwrap()) };
    launch.dialer = Some(Dialer { address: "10.99.0.7:8080".parse().unwrap(), owner_uid: 4242 });
}

fn dial(container: &Container) -> (u8, Option<OwnedFd>) {
    let path = container.run_dir.join(DIAL_SOCKET);
    let connection = socket::connect_to(&path, SocketType::STREAM).expect("the dialer listens");
    let (bytes, mut beside) = socket::receive(&connection).expect("a byte");
    assert_eq!(bytes.len(), 1);
    assert!(socket::receive(&connection).is_none(), "then it hangs up");
    (bytes[0], beside.pop())
}

#[test]
fn it_connects_to_the_one_address() {
    let world = World::new();
    let mut launch = world.launch("while :; do nc -l -p 8080 -e sh -c 'read x; echo hello $x'; done");
    with_dialer(&mut launch);
    let container = world.start(&launch);
    wait_until("it listens", || dial(&container).0 == DIAL_CONNECTED);
    wait_until("it serves", || {
        let (DIAL_CONNECTED, Some(socket)) = dial(&container) else { return false };
        let mut stream = TcpStream::from(socket);
        stream.set_nonblocking(false).unwrap();
        // Between two of its rounds the listener is away, and the connection is reset.
        let Ok(peer) = stream.peer_addr() else { return false };
        assert_eq!(peer.to_string(), "10.99.0.7:8080");
        let mut text = String::new();
        stream.write_all(b"you\n").is_ok() && stream.read_to_string(&mut text).is_ok() && text == "hello you\n"
    });
    container.end();
}

#[test]
fn nobody_there_is_said() {
    let world = World::new();
    let mut launch = world.launch("sleep 1000");
    with_dialer(&mut launch);
    let container = world.start(&launch);
    let (byte, socket) = dial(&container);
    assert_eq!((byte, socket.is_none()), (DIAL_REFUSED, true));
    container.end();
}

#[test]
fn only_its_owner_may_ask() {
    let world = World::new();
    let mut launch = world.launch("sleep 1000");
    with_dialer(&mut launch);
    let container = world.start(&launch);
    let meta = fs::metadata(container.run_dir.join(DIAL_SOCKET)).unwrap();
    assert_eq!((meta.permissions().mode() & 0o777, meta.uid()), (0o600, 4242));
    container.end();
    assert!(!container.run_dir.join(DIAL_SOCKET).exists());
}

#[test]
fn dials_are_bounded() {
    let world = World::new();
    // Listens and never accepts: once its backlog is full, dials wait.
    let mut launch = world.launch("nc -l -p 8080 -e sleep 1000 & echo up; sleep 1000");
    with_dialer(&mut launch);
    let container = world.start(&launch);
    wait_until("it listens", || dial(&container).0 == DIAL_CONNECTED);
    let path = container.run_dir.join(DIAL_SOCKET);
    let asked: Vec<_> = (0..DIALS_MAX * 3)
        .map(|_| socket::connect_to(&path, SocketType::STREAM).expect("the dialer listens"))
        .collect();
    let answers: Vec<u8> = asked.iter().map(|one| socket::receive(one).expect("a byte").0[0]).collect();
    assert!(answers.iter().all(|byte| [DIAL_CONNECTED, DIAL_REFUSED, DIAL_BUSY].contains(byte)));
    assert_eq!(container.ask(&shipway_shim::protocol::Ask::Ping), shipway_shim::protocol::Answer::Done);
    container.end();
}

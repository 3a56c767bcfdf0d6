//! The proxy's door: who is let in on loopback without a token.
//!
//! The test plays the proxy: it accepts visitors on a TCP listener and passes
//! their sockets on, as the real one does. Visitors of other users are real
//! processes of other users, so this needs root.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use shipway_api::Door;

use crate::world::{PATIENCE, World};

const REQUEST: &str = "GET /v1/services HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// A user who is neither root nor anybody.
const SOMEBODY: u32 = 54_321;

/// Passes a visitor on to the API and returns the status line it answers with.
fn relay(edge: &Path, visitor: &TcpStream, greeting: u8) -> String {
    let mut api = UnixStream::connect(edge).unwrap();
    let sockets = [visitor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)));
    let byte = [greeting];
    match sendmsg(&api, &[IoSlice::new(&byte)], &mut control, SendFlags::NOSIGNAL) {
        Ok(_) => finish(&mut api),
        // A door that is not ours may be closed before we have said a word.
        Err(rustix::io::Errno::PIPE) => "nothing".to_owned(),
        Err(error) => panic!("cannot introduce a visitor: {error}"),
    }
}

fn finish(api: &mut UnixStream) -> String {
    let mut answer = String::new();
    // A refused connection may be closed while we still write.
    drop(api.write_all(REQUEST.as_bytes()));
    drop(api.read_to_string(&mut answer));
    answer.lines().next().unwrap_or("nothing").to_owned()
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Blocking work apart from the runtime that serves the API.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Waits until the kernel says uid 0 of what is left of the visitor's socket: its
/// end has been acknowledged, and nothing but a shadow of it remains.
fn until_it_belongs_to_nobody(accepted: &TcpStream) {
    const FIN_WAIT_2: &str = "05";
    let end = Instant::now() + PATIENCE;
    let local = format!("0100007F:{:04X}", accepted.peer_addr().unwrap().port());
    while Instant::now() < end {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut ours = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = ours.find(|row| row.get(1) == Some(&local.as_str()));
        if found.is_some_and(|row| row[3] == FIN_WAIT_2 && row[7] == "0") {
            return;
        }
        std::thread::yield_now();
    }
    panic!("the visitor's socket is still somebody's");
}

/// A shell of user `uid` that connects and runs `then` with the connection as 3.
fn visitor(uid: u32, listener: &TcpListener, then: &str) -> (std::process::Child, TcpStream) {
    let port = listener.local_addr().unwrap().port();
    let child = Command::new("/bin/bash")
        .args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}; {then}")])
        .uid(uid)
        .gid(uid)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (child, accepted)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_says_who_needs_no_token() {
    let world = World::start().await;
    let listener = listen();
    let edge = world.open_edge(listener.local_addr().unwrap()).await;
    apart(move || {
        for (uid, expected) in [(0, "HTTP/1.1 200 OK"), (SOMEBODY, "HTTP/1.1 401 Unauthorized")] {
            let (mut child, accepted) = visitor(uid, &listener, "read -r _");
            assert_eq!(relay(&edge, &accepted, 1), expected, "user {uid}");
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_has_closed_is_not_taken_for_root() {
    let world = World::start().await;
    let listener = listen();
    let edge = world.open_edge(listener.local_addr().unwrap()).await;
    apart(move || {
        let (mut child, accepted) = visitor(SOMEBODY, &listener, "exec 3>&-");
        child.wait().unwrap();
        until_it_belongs_to_nobody(&accepted);
        assert_eq!(relay(&edge, &accepted, 1), "HTTP/1.1 401 Unauthorized");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_listeners_that_were_named_are_open() {
    let world = World::start().await;
    let (named, other) = (listen(), listen());
    let edge = world.open_edge(named.local_addr().unwrap()).await;
    apart(move || {
        let _client = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        let (accepted, _) = other.accept().unwrap();
        assert_eq!(relay(&edge, &accepted, 1), "HTTP/1.1 401 Unauthorized");
        // The proxy's end of a connection of its own is no visitor of a listener either.
        let own = TcpStream::connect(named.local_addr().unwrap()).unwrap();
        assert_eq!(relay(&edge, &own, 1), "HTTP/1.1 401 Unauthorized");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_introduce_a_visitor_is_nobody() {
    let world = World::start().await;
    let listener = listen();
    let edge = world.open_edge(listener.local_addr().unwrap()).await;
    let strangers = world.open_door("strangers", Door::Edge { proxy_uids: vec![SOMEBODY], open: None }).await;
    apart(move || {
        let mut silent = UnixStream::connect(&edge).unwrap();
        silent.write_all(&[1]).unwrap();
        assert_eq!(finish(&mut silent), "HTTP/1.1 401 Unauthorized");
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(relay(&edge, &accepted, 7), "nothing", "another greeting is another protocol");
        assert_eq!(relay(&strangers, &accepted, 1), "nothing", "we are not its proxy");
    })
    .await;
}

//! Bodies far larger than the proxy may become: every way through it, while their
//! service is redeployed. The 2 GB of a whole platform were measured by hand
//! (SPECIFICATION.md); what holds for 128 MiB in a process of 30 holds for them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use bytes::Bytes;
use shipway_proxy::RouteState;

use crate::support::*;

const LARGE: usize = 128 << 20;
const CHUNK: usize = 1 << 20;

/// The most memory the proxy has ever had, in KiB.
fn most_kib(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Downloads for GET; for POST, reads all and says so.
fn serve(stream: &mut UnixStream) {
    let head = read_until(stream, "\r\n\r\n");
    let mut chunk = vec![7_u8; CHUNK];
    if head.starts_with("GET ") {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").unwrap();
        for _ in 0..LARGE / CHUNK {
            stream.write_all(&chunk).unwrap();
        }
        return;
    }
    assert!(head.to_lowercase().contains(&format!("content-length: {LARGE}\r\n")), "{head}");
    let mut left = LARGE;
    while left > 0 {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0 && chunk[..count].iter().all(|byte| *byte == 7));
        left -= count;
    }
    stream.write_all(ok("all there").as_bytes()).unwrap();
}

/// Longer than [`LIMIT`] on a busy machine.
fn patient(stream: &std::net::TcpStream) {
    stream.set_read_timeout(Some(LIMIT * 6)).unwrap();
    stream.set_write_timeout(Some(LIMIT * 6)).unwrap();
}

fn download(world: &World) {
    let mut visitor = world.connect();
    patient(&visitor);
    visitor.write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n").unwrap();
    read_until(&mut visitor, "\r\n\r\n");
    let (mut chunk, mut total) = (vec![0; CHUNK], 0);
    loop {
        let count = visitor.read(&mut chunk).unwrap();
        assert!(chunk[..count].iter().all(|byte| *byte == 7));
        total += count;
        if count == 0 {
            return assert_eq!(total, LARGE);
        }
    }
}

fn upload(world: &World) {
    let mut visitor = world.connect();
    patient(&visitor);
    let head =
        format!("POST / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\nContent-Length: {LARGE}\r\n\r\n");
    visitor.write_all(head.as_bytes()).unwrap();
    let chunk = vec![7_u8; CHUNK];
    for _ in 0..LARGE / CHUNK {
        visitor.write_all(&chunk).unwrap();
    }
    assert_eq!(body(&read_to_end(&mut visitor)), "all there");
}

/// Both, over one connection of HTTP/2.
async fn both_over_http2(world: &World) {
    let socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    let mut client = client.ready().await.unwrap();
    let get = http::Request::get("http://hello.localhost/").body(()).unwrap();
    let (download, _) = client.send_request(get, true).unwrap();
    let post = http::Request::post("http://hello.localhost/").header("content-length", LARGE).body(()).unwrap();
    let (uploaded, mut send) = client.ready().await.unwrap().send_request(post, false).unwrap();
    let upload = async {
        let chunk = Bytes::from(vec![7_u8; CHUNK]);
        let mut left = LARGE;
        while left > 0 {
            send.reserve_capacity(left.min(CHUNK));
            let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
            let here = room.min(left).min(CHUNK);
            left -= here;
            send.send_data(chunk.slice(..here), left == 0).unwrap();
        }
        let mut answer = uploaded.await.unwrap().into_body();
        let mut text = Vec::new();
        while let Some(piece) = answer.data().await {
            text.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(text, b"all there");
    };
    let download = async {
        let mut body = download.await.unwrap().into_body();
        let mut total = 0;
        while let Some(chunk) = body.data().await {
            let chunk = chunk.unwrap();
            total += chunk.len();
            body.flow_control().release_capacity(chunk.len()).unwrap();
        }
        assert_eq!(total, LARGE);
    };
    tokio::join!(upload, download);
}

/// Switches the service back and forth until all of `work` is done.
fn while_redeployed(world: &World, work: impl Fn(usize) + Sync, count: usize) {
    let first = world.origin("hello", |stream, _| serve(stream));
    let second = Origin::start(&world.path("second.sock"), |stream, _| serve(stream));
    let before = most_kib(world);
    std::thread::scope(|scope| {
        let (work, start) = (&work, Instant::now());
        let all: Vec<_> = (0..count).map(|n| scope.spawn(move || work(n))).collect();
        wait_until("they are under way", || first.connections() + second.connections() >= 2);
        while !all.iter().all(|one| one.is_finished()) && start.elapsed() < LIMIT * 6 {
            for origin in [&second, &first] {
                world.route("hello", origin.live());
            }
        }
    });
    world.route("hello", RouteState::Stopped);
    for origin in [&first, &second] {
        assert!(world.is_idle(origin, LIMIT));
    }
    let more = most_kib(world).saturating_sub(before);
    assert!(more < 16 * 1024, "{more} KiB more than before");
}

#[test]
fn large_bodies_need_little_memory() {
    let world = World::new();
    while_redeployed(&world, |n| if n == 0 { upload(&world) } else { download(&world) }, 2);
}

#[test]
fn large_bodies_need_little_memory_on_the_general_path() {
    let world = World::with(|settings| settings.fast_path = false);
    while_redeployed(&world, |n| if n == 0 { upload(&world) } else { download(&world) }, 2);
}

#[test]
fn large_bodies_need_little_memory_over_http2() {
    let world = World::new();
    while_redeployed(&world, |_| world.runtime.block_on(both_over_http2(&world)), 1);
}

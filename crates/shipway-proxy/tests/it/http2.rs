//! HTTP/2 with prior knowledge in front, HTTP/1.1 behind.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::*;

type Frames = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn frames(frames: Vec<Frame<Bytes>>) -> Frames {
    let frames: Vec<_> = frames.into_iter().map(Ok).collect();
    StreamBody::new(futures_util::stream::iter(frames))
}

async fn connect(world: &World) -> SendRequest<Frames> {
    let stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(uri: &str) -> Request<Frames> {
    Request::get(uri).body(frames(vec![])).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn many_requests_share_a_connection() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    world.runtime.block_on(async {
        let sender = connect(&world).await;
        let asks = (0..200).map(|n| {
            let mut sender = sender.clone();
            async move {
                let response = sender.send_request(get(&format!("http://hello.localhost/{n}"))).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(text(response).await, "hi");
            }
        });
        futures_util::future::join_all(asks).await;
    });
    let seen = origin.seen();
    assert_eq!(seen.len(), 200);
    assert!(seen.iter().all(|request| request.to_lowercase().contains("host: hello.localhost\r\n")));
}

#[test]
fn trailers_pass_as_grpc_needs_them() {
    let world = World::new();
    let origin = world.answering(
        "grpc",
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nreply\r\n0\r\ngrpc-status: 0\r\n\r\n",
    );
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "9".parse().unwrap());
        let body = frames(vec![Frame::data(Bytes::from_static(b"ask")), Frame::trailers(trailers)]);
        let request = Request::post("http://grpc.localhost/pkg.Service/Call")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .header("content-type", "application/grpc")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(body)
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(collected.to_bytes(), "reply");
    });
    let seen = origin.seen()[0].to_lowercase();
    for part in ["post /pkg.service/call http/1.1\r\n", "te: trailers\r\n", "cookie: a=1; b=2\r\n", "x-sum: 9\r\n"] {
        assert!(seen.contains(part), "{part:?} in {seen}");
    }
}

#[test]
fn names_are_checked_as_strictly_as_elsewhere() {
    let world = World::new();
    let origin = world.answering("hello", ok("hi"));
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let mut differs = get("http://hello.localhost/");
        differs.headers_mut().insert("host", "other.localhost".parse().unwrap());
        assert_eq!(sender.send_request(differs).await.unwrap().status(), 400);
        let unknown = sender.send_request(get("http://other.localhost/")).await.unwrap();
        assert_eq!(unknown.status(), 404);
        let mut many = get("http://hello.localhost/");
        for n in 0..101 {
            many.headers_mut().append("x", n.into());
        }
        assert_eq!(sender.send_request(many).await.unwrap().status(), 431);
    });
    assert!(origin.seen().is_empty());
}

#[test]
fn a_broken_response_resets_its_stream_and_no_other() {
    let world = World::new();
    world.origin_recording("bad", |stream, _| {
        std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        false
    });
    world.answering("good", ok("hi"));
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let bad = sender.send_request(get("http://bad.localhost/")).await.unwrap();
        assert!(bad.into_body().collect().await.is_err());
        let good = sender.send_request(get("http://good.localhost/")).await.unwrap();
        assert_eq!(text(good).await, "hi");
    });
}

#[test]
fn an_idle_connection_is_closed() {
    let world = World::limited(|limits| {
        limits.header_time = std::time::Duration::from_millis(50);
        limits.idle = std::time::Duration::from_millis(50);
    });
    world.runtime.block_on(async {
        let sender = connect(&world).await;
        let mut sender = sender;
        tokio::time::timeout(LIMIT, async {
            while sender.ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the connection to end");
    });
}

/// A visitor that asks for much and opens no window would hold a service for ever.
#[test]
fn a_visitor_that_does_not_read_is_given_up() {
    let world = World::limited(|limits| limits.response_idle = std::time::Duration::from_millis(100));
    let origin = world.origin("hello", |stream, _| {
        use std::io::Write;
        read_request(stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        let chunk = vec![7_u8; 1024 * 1024];
        while stream.write_all(&chunk).is_ok() {}
    });
    world.runtime.block_on(async {
        let mut sender = connect(&world).await;
        let response = sender.send_request(get("http://hello.localhost/")).await.unwrap();
        // The body is kept, and not read.
        assert!(world.feed.wait_idle(&origin.endpoint(), LIMIT).await);
        drop(response);
    });
    assert_eq!(world.metric("limits_hit_total{limit=\"response_idle\"}"), 1);
}

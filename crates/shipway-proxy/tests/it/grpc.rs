//! gRPC end to end: a client that speaks HTTP/2, a service that speaks HTTP/2, and
//! between them trailers, streams both ways, resets and silence.

mod origin;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response};
use origin::{GrpcOrigin, Messages, message, say};
use shipway_proxy::{Limits, RouteState};

use crate::support::*;

/// A client as gRPC's own are one: a connection for many calls.
async fn client(world: &World) -> SendRequest<Bytes> {
    let socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    // h2 takes thousands of messages that wait for their reader for an attack.
    let (client, connection) = h2::client::Builder::new().data_frame_budget(1 << 30).handshake(socket).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    client
}

/// Begins a call.
async fn call(client: &SendRequest<Bytes>, method: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("http://grpc.localhost/echo.Echo/{method}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("grpc-timeout", "1H");
    let mut client = client.clone().ready().await.unwrap();
    client.send_request(request.body(()).unwrap(), false).unwrap()
}

/// What a call came to.
struct Came {
    head: Response<()>,
    messages: Vec<String>,
    trailers: HeaderMap,
}

impl Came {
    /// The status, wherever it stands.
    fn status(&self) -> &str {
        let field = self.trailers.get("grpc-status").or_else(|| self.head.headers().get("grpc-status"));
        field.unwrap().to_str().unwrap()
    }
}

async fn end(response: ResponseFuture) -> Came {
    let (parts, body) = response.await.unwrap().into_parts();
    let mut messages = Messages::of(body);
    let all = messages.all().await;
    Came { head: Response::from_parts(parts, ()), messages: all, trailers: messages.trailers().await }
}

/// Asks with all of `messages` at once.
async fn ask_all(client: &SendRequest<Bytes>, method: &str, messages: &[&str]) -> Came {
    let (response, mut send) = call(client, method).await;
    // An answer may come before all of it is sent: then nobody wants the rest.
    for text in messages {
        send.send_data(message(text), false).ok();
    }
    send.send_data(Bytes::new(), true).ok();
    end(response).await
}

fn world_of(change: impl FnOnce(&mut Limits)) -> (World, GrpcOrigin) {
    let world = World::limited(change);
    let origin = GrpcOrigin::start(&world, "first");
    world.route("grpc", origin.live());
    (world, origin)
}

#[test]
fn every_kind_of_call_is_carried() {
    let (world, origin) = world_of(|_| {});
    world.runtime.block_on(async {
        let client = client(&world).await;
        let came = ask_all(&client, "Unary", &["hello"]).await;
        assert_eq!((came.status(), &came.messages[..]), ("0", &["first heard hello".to_owned()][..]));
        assert_eq!(came.head.headers()["content-type"], "application/grpc");
        let came = ask_all(&client, "Many", &["1000"]).await;
        assert_eq!(came.messages, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(came.trailers["served-by"], "first");

        let (response, mut send) = call(&client, "Sum").await;
        (1..=100).for_each(|n| say(&mut send, &n.to_string()));
        send.send_trailers(HeaderMap::from_iter([("x-end".parse().unwrap(), "yes".parse().unwrap())])).unwrap();
        let came = end(response).await;
        assert_eq!((came.messages, &came.trailers["x-end"]), (vec!["5050".to_owned()], &"yes".parse().unwrap()));

        // In turns: nothing is held back on either way.
        let (response, mut send) = call(&client, "Chat").await;
        say(&mut send, "0");
        let mut answers = Messages::of(response.await.unwrap().into_body());
        for n in 0..50 {
            assert_eq!(answers.next().await.unwrap(), Some(n.to_string()));
            say(&mut send, &(n + 1).to_string());
        }
        send.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answers.all().await, ["50"]);
        assert_eq!(answers.trailers().await["grpc-status"], "0");
    });
    let seen = origin.seen.lock().unwrap();
    let asked = &seen[0];
    assert_eq!(asked.uri, "http://grpc.localhost/echo.Echo/Unary");
    for (name, value) in [("te", "trailers"), ("grpc-timeout", "1H"), ("x-forwarded-host", "grpc.localhost")] {
        assert_eq!(asked.headers[name], value);
    }
    assert!(!asked.headers.contains_key("host") && !asked.headers.contains_key("connection"), "{asked:?}");
    assert_eq!(origin.connections.load(Ordering::SeqCst), 1, "calls in turn share a connection");
}

/// Thousands of messages of a few bytes, and nobody who reads them yet: they are slowed
/// down, where h2 alone would take them for a flood (docs/adr/0023).
#[test]
fn small_messages_may_wait_for_their_reader() {
    const MANY: usize = 30_000;
    let pause = Duration::from_millis(300);
    let (world, _origin) = world_of(|_| {});
    world.runtime.block_on(async {
        let client = client(&world).await;
        let (response, mut send) = call(&client, "Many").await;
        say(&mut send, &MANY.to_string());
        send.send_data(Bytes::new(), true).unwrap();
        let mut answers = Messages::of(response.await.unwrap().into_body());
        tokio::time::sleep(pause).await;
        assert_eq!(answers.all().await.len(), MANY);
        assert_eq!(answers.trailers().await["grpc-status"], "0");

        let (response, mut send) = call(&client, "SumLater").await;
        say(&mut send, &pause.as_millis().to_string());
        (0..MANY).for_each(|_| say(&mut send, "1000"));
        send.send_data(Bytes::new(), true).unwrap();
        assert_eq!(end(response).await.messages, [(1000 * MANY).to_string()]);
    });
    assert_eq!(world.metric("limits_hit_total{limit=\"http2_flood\"}"), 0);
}

#[test]
fn a_status_without_messages_comes_in_one_piece() {
    let (world, _origin) = world_of(|_| {});
    world.runtime.block_on(async {
        let client = client(&world).await;
        for _ in 0..3 {
            let (response, mut send) = call(&client, "Fail").await;
            send.send_data(message("x"), true).ok();
            let response = response.await.unwrap();
            assert!(response.body().is_end_stream(), "nothing follows the head");
            assert_eq!(response.headers()["grpc-status"], "5");
            assert_eq!(response.headers()["grpc-message"], "no such thing");
        }
    });
}

#[test]
fn resets_and_giving_up_pass_through() {
    let (world, origin) = world_of(|_| {});
    world.runtime.block_on(async {
        let client = client(&world).await;
        for reason in [Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM, Reason::INTERNAL_ERROR, Reason::CANCEL] {
            let (response, mut send) = call(&client, "Reset").await;
            say(&mut send, "x");
            let mut answers = Messages::of(response.await.unwrap().into_body());
            assert_eq!(answers.next().await.unwrap().unwrap(), "x");
            say(&mut send, &u32::from(reason).to_string());
            assert_eq!(answers.next().await.unwrap_err().reason(), Some(reason));
        }
        // Before the head there is an answer to say it with.
        let came = ask_all(&client, "ResetEarly", &["x"]).await;
        assert_eq!(came.status(), "14");

        let (response, mut send) = call(&client, "Chat").await;
        say(&mut send, "one");
        let mut answers = Messages::of(response.await.unwrap().into_body());
        assert_eq!(answers.next().await.unwrap().unwrap(), "one");
        send.send_reset(Reason::CANCEL);
        // Given up before its head, too.
        let (response, mut send) = call(&client, "Chat").await;
        let arrives = async {
            while origin.seen.lock().unwrap().len() < 7 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LIMIT, arrives).await.unwrap();
        send.send_reset(Reason::CANCEL);
        drop(response);
    });
    wait_until("the service sees both given up", || origin.given_up.load(Ordering::SeqCst) == 2);
    assert!(world.runtime.block_on(world.feed.wait_idle(&origin.endpoint, LIMIT)));
}

#[test]
fn silence_is_allowed_before_the_head_and_on_both_ways() {
    let short = Duration::from_millis(150);
    let (world, _origin) = world_of(|limits| {
        (limits.header_time, limits.idle, limits.body_idle) = (short, short, short);
        (limits.first_byte, limits.response_idle) = (short, short);
    });
    world.runtime.block_on(async {
        let client = client(&world).await;
        let (response, mut send) = call(&client, "Chat").await;
        tokio::time::sleep(short * 5).await;
        say(&mut send, "after silence");
        let mut answers = Messages::of(response.await.unwrap().into_body());
        assert_eq!(answers.next().await.unwrap().unwrap(), "after silence");
        tokio::time::sleep(short * 5).await;
        say(&mut send, "and more of it");
        assert_eq!(answers.next().await.unwrap().unwrap(), "and more of it");
        send.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answers.next().await.unwrap(), None);
        // What is no call has the usual time.
        let request = Request::post("http://grpc.localhost/plain").body(()).unwrap();
        let (response, _send) = client.clone().send_request(request, false).unwrap();
        let status = response.await.unwrap().status().as_u16();
        assert!([408, 504].contains(&status), "{status}");
    });
}

#[test]
fn a_stream_without_a_sign_ends() {
    let short = Duration::from_millis(150);
    let (world, origin) = world_of(|limits| limits.stream_idle = short);
    world.runtime.block_on(async {
        let (response, _send) = call(&client(&world).await, "Chat").await;
        assert_eq!(end(response).await.status(), "4");
    });
    assert!(world.runtime.block_on(world.feed.wait_idle(&origin.endpoint, LIMIT)));
}

#[test]
fn a_redeploy_disturbs_no_call() {
    let (world, first) = world_of(|_| {});
    let second = GrpcOrigin::start(&world, "second");
    let (long, mut send, client) = world.runtime.block_on(async {
        let client = client(&world).await;
        let (response, mut send) = call(&client, "Chat").await;
        say(&mut send, "begun");
        let mut answers = Messages::of(response.await.unwrap().into_body());
        assert_eq!(answers.next().await.unwrap().unwrap(), "begun");
        (answers, send, client)
    });
    let mut long = long;
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            world.runtime.spawn(async move {
                let mut by = std::collections::BTreeSet::new();
                for _ in 0..200 {
                    let came = ask_all(&client, "Unary", &["x"]).await;
                    assert_eq!(came.status(), "0");
                    by.insert(came.messages.concat());
                }
                by
            })
        })
        .collect();
    let mut rounds = 0;
    while !crowd.iter().all(|visitor| visitor.is_finished()) {
        for origin in [&second, &first] {
            world.route("grpc", origin.live());
        }
        rounds += 1;
    }
    world.route("grpc", second.live());
    assert!(rounds > 0);
    world.runtime.block_on(async {
        for visitor in crowd {
            let by = visitor.await.unwrap();
            assert!(by.iter().all(|text| text.ends_with(" heard x")), "{by:?}");
        }
        let came = ask_all(&client, "Unary", &["x"]).await;
        assert_eq!(came.messages, ["second heard x"]);
        // The call of before goes on where it began, and holds its container.
        say(&mut send, "still here");
        assert_eq!(long.next().await.unwrap().unwrap(), "still here");
        assert!(!world.feed.wait_idle(&first.endpoint, Duration::from_millis(20)).await);
        send.send_data(Bytes::new(), true).unwrap();
        assert_eq!(long.next().await.unwrap(), None);
        assert_eq!(long.trailers().await["served-by"], "first");
        assert!(world.feed.wait_idle(&first.endpoint, LIMIT).await);
    });
}

#[test]
fn a_service_that_says_goodbye_loses_no_call() {
    let (world, origin) = world_of(|_| {});
    world.runtime.block_on(async {
        let client = client(&world).await;
        let (response, mut send) = call(&client, "Chat").await;
        say(&mut send, "begun");
        let mut answers = Messages::of(response.await.unwrap().into_body());
        assert_eq!(answers.next().await.unwrap().unwrap(), "begun");
        // One that is in use, and one that waits for its next call.
        assert_eq!(ask_all(&client, "Unary", &["x"]).await.status(), "0");
        origin.say_goodbye();
        for _ in 0..20 {
            assert_eq!(ask_all(&client, "Unary", &["x"]).await.status(), "0");
        }
        say(&mut send, "end");
        assert_eq!(answers.next().await.unwrap().unwrap(), "end");
        send.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answers.next().await.unwrap(), None);
        assert_eq!(answers.trailers().await["grpc-status"], "0");
    });
}

#[test]
fn what_the_proxy_says_itself_has_a_status_that_clients_read() {
    let world = World::limited(|limits| limits.patience = Duration::from_millis(50));
    let http1 = world.answering("http1", ok("no frames"));
    let not_h2 = dialer_to_http1(&world);
    let says = |state: Option<RouteState>, status: &str, message: &str| {
        if let Some(state) = state {
            world.route("grpc", state);
        }
        let came = world.runtime.block_on(async { ask_all(&client(&world).await, "Unary", &["x"]).await });
        assert_eq!(came.head.status(), 200);
        assert_eq!((came.status(), came.head.headers()["grpc-message"].to_str().unwrap()), (status, message));
        assert!(came.head.headers().contains_key("x-request-id"));
    };
    says(None, "12", "no such service");
    says(Some(RouteState::Stopped), "14", "the service is stopped");
    says(
        Some(RouteState::Unavailable { reason: "ä 100%".to_owned() }),
        "14",
        "the service is unavailable: %C3%A4 100%25",
    );
    says(Some(RouteState::Live { endpoint: not_h2 }), "14", "the service's answer is not valid HTTP");
    assert_eq!(http1.connections(), 0);
}

/// A program that was said to speak HTTP/2, and does not.
fn dialer_to_http1(world: &World) -> shipway_proxy::Endpoint {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::io::Read::read(&mut stream, &mut [0; 1024]).ok();
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").ok();
            // Closed with bytes unread, a connection is reset, and its answer lost.
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        }
    });
    crate::upstreams::dialer_to(world, "not-h2.dial", 0, Some(address)).speaking(shipway_proxy::Protocol::H2c)
}

fn http1_visitors_are_served(fast_path: bool) {
    let world = World::with(|settings| settings.fast_path = fast_path);
    let origin = GrpcOrigin::start(&world, "h2c");
    let host = "Host: grpc.localhost\r\n";
    let answer = {
        // Held while the service starts: that it speaks HTTP/2 is known only then.
        world.route("grpc", RouteState::Starting);
        let mut early = world.connect();
        let get = format!("GET /plain HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        std::io::Write::write_all(&mut early, get.as_bytes()).unwrap();
        wait_until("it is there", || world.metric("open_connections") == 1);
        world.route("grpc", origin.live());
        read_to_end(&mut early)
    };
    assert_eq!((status(&answer), body(&answer).contains("h2c got 0")), ("200", true), "{answer}");
    let mut kept = world.connect();
    for (request, says) in [
        (format!("GET /plain HTTP/1.1\r\n{host}\r\n"), "h2c got 0"),
        (format!("POST /plain HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello"), "h2c got 5"),
        (format!("POST /plain HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "h2c got 3"),
        (format!("GET /plain HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "h2c got 0"),
    ] {
        std::io::Write::write_all(&mut kept, request.as_bytes()).unwrap();
        let answer = read_until(&mut kept, "0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(says), "{answer}");
    }
    let seen = origin.seen.lock().unwrap();
    assert!(
        seen.iter().all(|asked| asked.uri == "http://grpc.localhost/plain" && asked.headers.get("upgrade").is_none())
    );
}

#[test]
fn visitors_of_http1_are_served_by_an_http2_service() {
    http1_visitors_are_served(true);
}

#[test]
fn visitors_of_http1_are_served_by_an_http2_service_on_the_general_path() {
    http1_visitors_are_served(false);
}

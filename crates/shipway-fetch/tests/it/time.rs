//! Nothing waits for ever.

use std::time::Duration;

use shipway_model::FailureCode::{FetchFailed, FetchTimeout};

use crate::harness::{Act, Names, Origin, PUBLIC, TIMEOUTS, World, say};

const SHORT: Duration = Duration::from_millis(200);

#[track_caller]
fn check(acts: Vec<Act>, what: &'static str) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let origin = Origin::start(PUBLIC, &acts).await;
        let world = World::with(Names::default(), |config| {
            config.timeouts.head = SHORT;
            config.timeouts.idle = SHORT;
            config.timeouts.total = SHORT * 5;
        });
        let (code, detail) = world.fails(&origin.url("/")).await;
        assert_eq!(code, FetchTimeout, "{caller}: {detail}");
        assert!(detail.starts_with(what), "{caller}: {detail}");
    }
}

#[tokio::test]
async fn an_origin_that_never_answers() {
    check(vec![Act::Hang], "the answer took longer").await;
    check(vec![say("HTTP/1.1 200 OK\nX: "), Act::Hang], "the answer took longer").await;
}

#[tokio::test]
async fn an_answer_that_drips() {
    let drip = |text: &str| Act::Repeat(text.into(), Duration::from_millis(20));
    check(vec![say("HTTP/1.1 200 OK\n"), drip("X: 1\r\n")], "the answer took longer").await;
    check(vec![drip("HTTP/1.1 103 Hint\r\n\r\n")], "the answer took longer").await;
    // Each piece comes in time, but not all of them.
    check(vec![say("HTTP/1.1 200 OK\nContent-Length: 1000\n\n"), drip("x")], "the download took longer").await;
    check(vec![say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n"), drip("1\r\nx\r\n")], "the download took longer")
        .await;
}

#[tokio::test]
async fn content_that_stands_still() {
    check(
        vec![say("HTTP/1.1 200 OK\nContent-Length: 9\n\nabc"), Act::Hang],
        "the next piece of the content took longer",
    )
    .await;
}

#[tokio::test]
async fn a_name_that_is_never_found() {
    let world = World::new(Names::default());
    let (code, detail) = world.fails("http://never.test/").await;
    assert_eq!(code, FetchTimeout);
    assert!(detail.starts_with("looking the name up took longer than"), "{detail}");
}

#[tokio::test]
async fn a_host_that_does_not_take_connections() {
    // A listener whose queue is full lets further ones wait.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((std::net::Ipv4Addr::new(127, 1, 0, 1), 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue is never full");
    }
    let world = World::with(Names::default(), |config| config.timeouts.connect = SHORT);
    let (code, detail) = world.fails(&format!("http://{address}/")).await;
    assert_eq!(code, FetchTimeout, "{detail}");
    assert!(detail.starts_with("connecting took longer than"), "{detail}");
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends() {
    let origin = Origin::start(PUBLIC, &[]).await;
    let world = World::with(Names::default(), |config| {
        config.timeouts = shipway_fetch::Timeouts { connect: SHORT, ..TIMEOUTS }
    });
    let (code, detail) = world.fails(&format!("https://{}/", origin.address)).await;
    assert!(matches!(code, FetchTimeout | FetchFailed), "{detail}");
}

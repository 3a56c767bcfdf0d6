//! The probe against real sockets that say all kinds of things.

use std::path::Path;

use shipway_driver::fake::{Answers, FakeDriver};
use shipway_driver::{Exit, Ingress, Program, Workload};
use shipway_model::{ContentKind, Digest, Limits, Protocol, Runner};
use uuid::Uuid;

use super::*;

#[test]
fn only_a_status_line_is_an_answer() {
    let cases: [(&[u8], Option<u16>); 10] = [
        (b"HTTP/1.1 204 No Content\r\n", Some(204)),
        (b"HTTP/1.0 200\r\n", Some(200)),
        (b"HTTP/1.1 302 \r\n", Some(302)),
        (b"", None),
        (b"HTTP/1.1 20", None),
        (b"HTTP/1.1 2004 No\r\n", None),
        (b"HTTP/2 204\r\n", None),
        (b"HTTP/1.1 +04 x\r\n", None),
        (b"HTTP/1.1204 x\r\n", None),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None),
    ];
    for (head, status) in cases {
        let text = String::from_utf8_lossy(head);
        assert_eq!(status_of(head), status, "{text:?}");
    }
}

/// A running container that answers so, and what the probe makes of it.
async fn probe(answers: Answers, path: Option<&str>) -> Result<(), String> {
    let driver = FakeDriver::new();
    driver.answer_new(answers);
    probe_on(&driver, path, |_| {}).await
}

async fn probe_on(driver: &FakeDriver, path: Option<&str>, meanwhile: impl FnOnce(ContainerId)) -> Result<(), String> {
    let container = ContainerId(Uuid::new_v4());
    let workload = Workload {
        container,
        root: driver.current_root().await.unwrap(),
        program: Program::Runner {
            runner: Runner::Native,
            kind: ContentKind::Static,
            digest: Digest::from_sha256([1; 32]),
            content_type: None,
            file_name: None,
        },
        env: std::collections::BTreeMap::new(),
        limits: Limits::default(),
        ingress: Ingress::Listener,
        egress: shipway_model::Egress::None,
        labels: std::collections::BTreeMap::new(),
    };
    let started = driver.start(&workload, Some(Path::new("/x"))).await;
    let endpoint = started.unwrap().endpoint.unwrap();
    meanwhile(container);
    let subject = Subject {
        service: ServiceId(Uuid::nil()),
        container,
        endpoint: &endpoint,
        health: &HealthCheck { path: path.map(str::to_owned), deadline_ms: 150 },
    };
    let ready = until_ready(driver, &subject).await;
    ready.map_err(|NotReady(saw)| saw)
}

#[tokio::test]
async fn a_runner_that_says_204_is_ready() {
    assert_eq!(probe(Answers::Ready, None).await, Ok(()));
}

#[tokio::test]
async fn a_health_path_is_ready_with_any_good_status() {
    for status in [200, 204, 302] {
        let answers = Answers::Status(status, String::new());
        assert_eq!(probe(answers, Some("/healthz?deep=1")).await, Ok(()));
    }
}

#[tokio::test]
async fn what_was_seen_is_said() {
    let status = |code| Answers::Status(code, "boom".to_owned());
    let cases = [
        (status(200), None, "probe of the runner saw status 200"),
        (status(503), None, "probe of the runner saw status 503: boom"),
        (status(500), Some("/up"), "probe of /up saw status 500"),
        (Answers::Silent, None, "no answer within"),
        (Answers::HangUp, None, "saw an answer that is no HTTP"),
        (Answers::Ready, Some("up"), "\"up\" is not a path"),
        (Answers::Ready, Some("/ x\r\nhost: y"), "is not a path"),
    ];
    for (answers, path, words) in cases {
        let saw = probe(answers.clone(), path).await.unwrap_err();
        assert!(saw.contains(words), "{answers:?}: {saw}");
    }
}

#[tokio::test]
async fn a_dead_container_is_not_asked_any_longer() {
    let driver = FakeDriver::new();
    driver.answer_new(Answers::Silent);
    let exit = Exit { code: Some(3), signal: None, out_of_memory: false, lost: false, ended_at: None };
    let saw = probe_on(&driver, None, |container| {
        assert!(driver.exit(container, exit));
    });
    assert_eq!(saw.await.unwrap_err(), "its container ended before it was ready: exit status 3");
}

/// A shim's dialer: connects to `inside` and passes the connection over, or says
/// with a bare byte that nobody listens there.
async fn dialer(folder: &Path, inside: Option<std::net::SocketAddr>) -> (Endpoint, tokio::task::JoinHandle<()>) {
    let path = folder.join("dialer.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let served = tokio::spawn(async move {
        let (caller, _peer) = listener.accept().await.unwrap();
        let passed = inside.map(|address| std::net::TcpStream::connect(address).unwrap());
        let passed: Vec<_> = passed.iter().map(std::os::fd::AsFd::as_fd).collect();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = rustix::net::SendAncillaryBuffer::new(&mut space);
        if !passed.is_empty() {
            assert!(ancillary.push(rustix::net::SendAncillaryMessage::ScmRights(&passed)));
        }
        let byte = [std::io::IoSlice::new(b"\0")];
        rustix::net::sendmsg(&caller, &byte, &mut ancillary, rustix::net::SendFlags::empty()).unwrap();
    });
    (Endpoint::Dialer { path: path.to_string_lossy().into_owned(), protocol: Protocol::Http1 }, served)
}

#[tokio::test]
async fn a_connection_may_come_from_a_shim() {
    let folder = tempfile::tempdir().unwrap();
    let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (endpoint, served) = dialer(folder.path(), Some(inside.local_addr().unwrap())).await;
    let program = async {
        let (mut visitor, _peer) = inside.accept().await.unwrap();
        let mut read = [0; 7];
        visitor.read_exact(&mut read).await.unwrap();
        visitor.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        read
    };
    let (status, read) = tokio::join!(ask(&endpoint, Some("OPTIONS *")), program);
    let status = status.unwrap().map(|seen| seen.status);
    assert_eq!((status, &read), (Some(204), b"OPTIONS"));
    served.await.unwrap();
}

#[tokio::test]
async fn a_shim_that_reaches_nobody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, served) = dialer(folder.path(), None).await;
    let saw = ask(&endpoint, Some("OPTIONS *")).await;
    assert_eq!(saw.err().as_deref(), Some("no connection (connection refused)"));
    served.await.unwrap();
}

/// A command that names no health path is not spoken to: its port is enough.
#[tokio::test]
async fn a_port_that_takes_a_connection_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (endpoint, served) = dialer(folder.path(), Some(inside.local_addr().unwrap())).await;
    let health = HealthCheck { path: None, deadline_ms: 5_000 };
    let (service, container) = (ServiceId(Uuid::nil()), ContainerId(Uuid::nil()));
    let subject = Subject { service, container, endpoint: &endpoint, health: &health };
    ask_until_deadline(&subject).await.map_err(|NotReady(saw)| saw).unwrap();
    let (mut visitor, _peer) = inside.accept().await.unwrap();
    let mut said = Vec::new();
    visitor.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"");
    served.await.unwrap();
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, served) = dialer(folder.path(), None).await;
    let health = HealthCheck { path: None, deadline_ms: 100 };
    let (service, container) = (ServiceId(Uuid::nil()), ContainerId(Uuid::nil()));
    let subject = Subject { service, container, endpoint: &endpoint, health: &health };
    let NotReady(saw) = ask_until_deadline(&subject).await.unwrap_err();
    assert!(saw.contains("the last probe of its port saw"), "{saw}");
    served.await.unwrap();
}

/// A server of HTTP/2 that answers one request: the head's fields, the body, trailers.
async fn one_answer(inside: tokio::net::TcpListener, head: &[(&str, &str)], body: &'static [u8], status: Option<&str>) {
    let (socket, _peer) = inside.accept().await.unwrap();
    let mut connection = h2::server::handshake(socket).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    assert_eq!(request.uri().authority().unwrap().as_str(), Uuid::nil().to_string());
    let mut response = http::Response::new(());
    for (name, value) in head {
        let name: http::HeaderName = name.parse().unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    let mut send = respond.send_response(response, status.is_none()).unwrap();
    if let Some(status) = status {
        send.send_data(body.into(), false).unwrap();
        send.send_trailers([("grpc-status".parse().unwrap(), status.parse().unwrap())].into_iter().collect()).unwrap();
    }
    drop((send, respond, request));
    while connection.accept().await.is_some() {}
}

/// What a probe of `path` says of such a server.
async fn probed(path: &str, head: &[(&str, &str)], body: &'static [u8], status: Option<&str>) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (endpoint, served) = dialer(folder.path(), Some(inside.local_addr().unwrap())).await;
    let endpoint = endpoint.speaking(Protocol::H2c);
    let health = HealthCheck { path: Some(path.to_owned()), deadline_ms: 5_000 };
    let (service, container) = (ServiceId(Uuid::nil()), ContainerId(Uuid::nil()));
    let subject = Subject { service, container, endpoint: &endpoint, health: &health };
    let (asked, ()) = tokio::join!(asked(&subject, None), one_answer(inside, head, body, status));
    served.await.unwrap();
    let seen = asked?.unwrap();
    if is_ready(&health, seen.status) { Ok(()) } else { Err(seen.words(&health)) }
}

/// A program that speaks HTTP/2 only is asked in HTTP/2, and a gRPC server as gRPC does it.
#[tokio::test]
async fn who_speaks_http2_is_asked_in_http2() {
    let check = "/grpc.health.v1.Health/Check";
    assert_eq!(probed("/healthy", &[], b"", None).await, Ok(()));
    assert_eq!(probed(check, &[], &[0, 0, 0, 0, 2, 8, 1], Some("0")).await, Ok(()));
    let says = probed(check, &[], &[0, 0, 0, 0, 2, 8, 2], Some("0")).await;
    assert_eq!(says, Err("a server that says it is not serving".to_owned()));
    let says = probed(check, &[("grpc-status", "12"), ("grpc-message", "no health")], b"", None).await;
    assert_eq!(says, Err("gRPC status 12: no health".to_owned()));
    assert_eq!(probed(check, &[], b"", None).await, Err("an answer without a gRPC status".to_owned()));
}

//! Lists of proxies over real sockets: who is asked after whom, and what a bad one can do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shipway_gobuild::proxy::{Failure, ProxyLimits};
use shipway_gobuild::resolve::Verdict;
use shipway_gobuild::testing::ModuleProxy;
use shipway_gobuild::{ModulePath, Proxies, ProxiesConfig, ProxyList};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::{Answer, Server};
use crate::support::{proxies, proxies_with, resolve};

const LIST: &str = "/x.test/a/@v/list";

fn module() -> ModulePath {
    ModulePath::parse("x.test/a").unwrap()
}

/// The versions listed, or what it came to.
async fn listed(proxies: &Proxies) -> Result<String, Failure> {
    let versions = proxies.list(&module()).await.map_err(|error| error.failure)?;
    Ok(versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

fn is(status: u16, body: &str) -> Answer {
    Answer::Is(status, body.as_bytes().to_vec())
}

#[tokio::test]
async fn after_a_comma_only_what_is_not_there_goes_on() {
    let good = Server::start(&[(LIST, is(200, "v1.0.0\n"))], is(404, "")).await;
    for (status, comma, bar) in [
        (404, Ok("v1.0.0"), Ok("v1.0.0")),
        (410, Ok("v1.0.0"), Ok("v1.0.0")),
        (403, Err(Failure::Refused), Ok("v1.0.0")),
        (401, Err(Failure::Refused), Ok("v1.0.0")),
        (429, Err(Failure::Unavailable), Ok("v1.0.0")),
        (500, Err(Failure::Unavailable), Ok("v1.0.0")),
        (204, Err(Failure::Broken), Ok("v1.0.0")),
    ] {
        let first = Server::start(&[], is(status, "no")).await;
        for (border, expected) in [(",", comma), ("|", bar)] {
            let list = format!("{}{border}{}", first.url(), good.url());
            assert_eq!(listed(&proxies(&list)).await, expected.map(str::to_owned), "{status} {border}");
        }
    }
    // Nobody listens there.
    let gone = Server::start(&[], Answer::Silent).await.url();
    let list = |border: &str| format!("{gone}{border}{}", good.url());
    assert_eq!(listed(&proxies(&list(","))).await, Err(Failure::Unavailable));
    assert_eq!(listed(&proxies(&list("|"))).await, Ok("v1.0.0".to_owned()));
}

#[tokio::test]
async fn a_refusal_is_told_with_the_proxys_words_and_no_credentials() {
    let first = Server::start(&[], is(404, "not found: unknown")).await;
    let second = Server::start(&[], is(403, "module not\tavailable\nmore")).await;
    let list = format!("http://user:s%40cret@{},{}", first.address, second.url());
    let error = proxies(&list).list(&module()).await.unwrap_err();
    let expected = format!(
        "x.test/a/@v/list: refused by the module proxy (http://***@{}: 404 Not Found: not found: unknown; \
         http://{}: 403 Forbidden: module notavailable)",
        first.address, second.address
    );
    assert_eq!(error.to_string(), expected);
    let head = first.asked().remove(0).to_lowercase();
    assert!(head.contains("authorization: basic dxnlcjpzqgnyzxq="), "user:s@cret, in small letters: {head}");
    assert!(!second.asked()[0].to_lowercase().contains("authorization"), "{:?}", second.asked());
}

#[tokio::test]
async fn redirects_are_followed_without_credentials_and_not_for_ever() {
    let good = Server::start(&[("/elsewhere", is(200, "v1.0.0\n"))], is(404, "")).await;
    let first = Server::start(&[(LIST, Answer::To(format!("{}/elsewhere", good.url())))], is(404, "")).await;
    let list = format!("http://user:secret@{}", first.address);
    assert_eq!(listed(&proxies(&list)).await, Ok("v1.0.0".to_owned()));
    assert!(!good.asked()[0].to_lowercase().contains("authorization"), "{:?}", good.asked());
    let circle = Server::start(&[], Answer::To(LIST.to_owned())).await;
    assert_eq!(listed(&proxies(&circle.url())).await, Err(Failure::Broken));
    assert_eq!(circle.asked().len(), 11);
    let file = Server::start(&[], Answer::To("file:///etc/passwd".to_owned())).await;
    assert_eq!(listed(&proxies(&file.url())).await, Err(Failure::Broken));
}

#[tokio::test]
async fn answers_are_bounded_in_bytes_and_time() {
    let short = Duration::from_millis(300);
    let limits =
        ProxyLimits { first_byte: short, idle: short, connect: short, small: 10 * short, ..ProxyLimits::default() };
    for (answer, expected) in [
        (Answer::Endless, Failure::Broken),
        (Answer::Stalls, Failure::Unavailable),
        (Answer::Cut, Failure::Unavailable),
        (Answer::Silent, Failure::Unavailable),
    ] {
        let server = Server::start(&[], answer).await;
        assert_eq!(listed(&proxies_with(&server.url(), limits)).await, Err(expected));
    }
}

#[tokio::test]
async fn nonsense_is_the_proxys_fault() {
    let info = "/x.test/a/@v/v1.0.0.info";
    let ask = async |answer: Answer| {
        let server = Server::start(&[(info, answer)], is(404, "")).await;
        proxies(&server.url()).info(&module(), "v1.0.0").await.map_err(|error| error.failure)
    };
    assert_eq!(ask(is(200, "{\"Version\":\"v1.0.0\"}")).await.unwrap().version.as_str(), "v1.0.0");
    for nonsense in ["", "<html>", "{}", "{\"Version\":\"v1\"}", "{\"Version\":\"../../x\"}", "[1]"] {
        assert_eq!(ask(is(200, nonsense)).await, Err(Failure::Broken), "{nonsense}");
    }
    // A list may hold anything; what is no version is passed over.
    let list = is(200, "v1.0.0 2020-01-01T00:00:00Z\nv1\n\n../x\n\u{0}\nv1.1.0+meta\nv1.2.0");
    let server = Server::start(&[(LIST, list)], is(404, "")).await;
    assert_eq!(listed(&proxies(&server.url())).await, Ok("v1.0.0 v1.2.0".to_owned()));
}

#[tokio::test]
async fn another_version_than_the_one_asked_for_is_not_taken() {
    let info = |version: &str| is(200, &format!("{{\"Version\":\"{version}\"}}"));
    let app = "/example.com/app/@v";
    let own = is(200, "module example.com/app\n\ngo 1.21\n");
    let answers = [
        (&*format!("{app}/list"), is(200, "")),
        (&*format!("{app}/v1.0.0.info"), info("v1.0.0")),
        (&*format!("{app}/v1.0.0.mod"), own),
        ("/x.test/a/@v/v1.0.0.info", info("v1.0.1")),
    ];
    let server = Server::start(&answers, is(404, "")).await;
    let error = resolve(&server.url(), "v1.0.0;; x.test/b=x.test/a@v1.0.0").await.unwrap_err();
    assert!(error.to_string().contains("asked for v1.0.0, it answers v1.0.1"), "{error}");
}

/// Serves a directory; knows no parts.
async fn serving(proxy: &ModuleProxy) -> Server {
    serving_but(proxy, Vec::new()).await
}

/// Serves a directory, with some other answers.
async fn serving_but(proxy: &ModuleProxy, others: Vec<(String, Answer)>) -> Server {
    let mut answers = Vec::new();
    let mut folders = vec![proxy.directory().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let path = format!("/{}", entry.strip_prefix(proxy.directory()).unwrap().display());
            answers.push((path, Answer::Is(200, std::fs::read(&entry).unwrap())));
        }
    }
    answers.extend(others);
    let answers: Vec<(&str, Answer)> = answers.iter().map(|(path, answer)| (path.as_str(), answer.clone())).collect();
    Server::start(&answers, is(404, "not found")).await
}

#[tokio::test]
async fn a_part_of_an_archive_may_be_any_lie() {
    let proxy = ModuleProxy::with_examples();
    let zip = std::fs::read(proxy.of("example.com/good").join("@v/v1.1.0.zip")).unwrap();
    let size = zip.len();
    let settled = async |range: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 206 P\r\nconnection: close\r\n{range}content-length: {}\r\n\r\n", body.len());
        let answer = Answer::Raw([head.as_bytes(), body].concat());
        let server = serving_but(&proxy, vec![("/example.com/good/@v/v1.1.0.zip".to_owned(), answer)]).await;
        resolve(&server.url(), "v1.0.0; example.com/good").await.map_err(|error| error.verdict())
    };
    let right = format!("content-range: bytes 200-{}/{size}\r\n", size - 1);
    assert!(settled(&right, &zip[200..]).await.is_ok());
    assert_eq!(settled(&right, &zip[100..]).await, Err(Verdict::Broken));
    for range in ["18446744073709551615-18446744073709551615/18446744073709551615", "9-1/1", "0-0/0", "-/*"] {
        let header = format!("content-range: bytes {range}\r\n");
        assert_eq!(settled(&header, &zip[200..]).await, Err(Verdict::Broken), "{range}");
    }
    assert_eq!(settled("", &zip[200..]).await, Err(Verdict::Broken));
}

#[tokio::test]
async fn a_request_is_settled_over_http_also_where_a_proxy_knows_no_parts() {
    let server = serving(&ModuleProxy::with_examples()).await;
    let resolved = resolve(&server.url(), "; example.com/deep/sub/pkg example.com/good@v1.0.0").await.unwrap();
    assert_eq!(resolved.program.to_string(), "example.com/app@v1.0.0");
    assert_eq!(resolved.plugins[0].module.as_str(), "example.com/deep");
    assert_eq!(resolved.go, "1.21");
    assert!(server.asked().iter().any(|head| head.contains("range: bytes=-131072")), "{:?}", server.asked());
}

#[tokio::test]
async fn a_proxy_that_refuses_what_it_does_not_know_hides_no_package() {
    let first = ModuleProxy::with_examples();
    let second = Server::start(&[], is(403, "not available")).await;
    let list = format!("{},{}", first.url(), second.url());
    let resolved = resolve(&list, "v1.0.0; example.com/deep/sub/pkg").await.unwrap();
    assert_eq!(resolved.plugins[0].module.as_str(), "example.com/deep", "example.com/deep/sub/pkg was refused");
    for plugin in ["example.com/a/nothing", "example.com/a/nothing/sub"] {
        let error = resolve(&list, &format!("v1.0.0; {plugin}")).await.unwrap_err();
        assert_eq!(error.verdict(), Verdict::Refused, "{error}");
        assert_eq!(error.tried().len(), 2, "{error}");
    }
}

/// A server with a certificate of its own that answers every request with one list of versions;
/// and its certificate.
async fn secured() -> (SocketAddr, String) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 7\r\n\r\nv1.0.0\n";
            drop(stream.write_all(answer).await);
            drop(stream.shutdown().await);
        }
    });
    let text = STANDARD.encode(own.cert.der());
    (address, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))
}

#[tokio::test]
async fn only_a_proxy_with_a_trusted_certificate_is_believed() {
    let (address, certificate) = secured().await;
    let list = format!("https://localhost:{}", address.port());
    let refused = proxies(&list).list(&module()).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file.as_file(), certificate.as_bytes()).unwrap();
    let open = |ca_file: &std::path::Path| {
        let (list, limits) = (ProxyList::parse(&list).unwrap(), ProxyLimits::default());
        Proxies::open(ProxiesConfig { list, ca_file: Some(ca_file.to_owned()), limits })
    };
    assert_eq!(listed(&open(file.path()).unwrap()).await, Ok("v1.0.0".to_owned()));
    assert!(open(std::path::Path::new("/nowhere")).is_err());
}

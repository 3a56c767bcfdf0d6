//! https, with a certificate authority of our own.
//!
//! The fixtures are for the name `origin.test` and good for a hundred years; the
//! authority's key was thrown away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shipway_model::FailureCode::{FetchFailed, FetchRefused};
use tokio_rustls::TlsAcceptor;

use crate::harness::{Act, Names, Origin, PUBLIC, World, say};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

async fn origin(act: Act) -> Origin {
    let chain = CertificateDer::pem_file_iter(fixture("server.pem")).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let wrap = move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    };
    Origin::wrapped(PUBLIC, move |_| vec![act.clone()], wrap).await
}

fn world(trusted: bool) -> World {
    let names = Names::default().with("origin.test", &[&[PUBLIC]]).with("other.test", &[&[PUBLIC]]);
    World::with(names, |config| config.ca_file = trusted.then(|| fixture("ca.pem")))
}

const FINE: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi";

#[tokio::test]
async fn a_trusted_origin_is_read() {
    let origin = origin(say(FINE)).await;
    let source = world(true).fetch(&format!("https://origin.test:{}/a.sh", origin.port())).await.unwrap();
    assert_eq!((source.size_bytes, source.file_name.as_deref()), (2, Some("a.sh")));
}

#[tokio::test]
async fn a_stranger_is_not() {
    let origin = origin(say(FINE)).await;
    let port = origin.port();
    for (trusted, host) in [(false, "origin.test"), (true, "other.test"), (true, PUBLIC)] {
        let (code, detail) = world(trusted).fails(&format!("https://{host}:{port}/")).await;
        assert_eq!(code, FetchFailed, "{detail}");
        assert!(detail.starts_with("no secure connection: "), "{detail}");
    }
    assert_eq!(origin.requests.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_redirect_does_not_leave_https() {
    let plain = Origin::start(PUBLIC, &[say(FINE)]).await;
    let origin = origin(say(&format!("HTTP/1.1 301 Moved\nLocation: {}\nContent-Length: 0\n\n", plain.url("/")))).await;
    let (code, detail) = world(true).fails(&format!("https://origin.test:{}/", origin.port())).await;
    assert_eq!(code, FetchRefused, "{detail}");
    assert_eq!(plain.connections(), 0);
}

#[test]
fn a_ca_file_that_cannot_be_read_is_named() {
    let config = shipway_fetch::FetchConfig { ca_file: Some("/no/such.pem".into()), ..Default::default() };
    let error = shipway_fetch::Fetcher::new(config).unwrap_err().to_string();
    assert!(error.contains("/no/such.pem"), "{error}");
}

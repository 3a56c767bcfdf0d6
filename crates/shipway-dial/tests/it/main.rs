//! Connections to servers that are there, that are somebody else, and that never answer.
#![cfg(test)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use hyper_util::client::legacy::connect::Connection as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use shipway_dial::{Connector, Wire, is_distrust, trusting};
use shipway_stdx::fs::{Durability, write_atomic};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

const SOON: Duration = Duration::from_secs(30);

/// A file that says that it has a certificate.
fn write(file: &Path, body: &str) {
    let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    write_atomic(file, text.as_bytes(), 0o600, Durability::Process).unwrap();
}

/// A CA of the test's own, in a file.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Ca {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(name);
        let body = STANDARD.encode(issuer.der());
        write(&file, &body);
        Self { issuer, file }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Sends back the first five bytes of each connection; without an acceptor, as they are.
async fn echo(acceptor: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut word = [0; 5];
            // Who does not trust us ends the handshake.
            match &acceptor {
                Some(acceptor) => {
                    let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                    stream.read_exact(&mut word).await.unwrap();
                    stream.write_all(&word).await.unwrap();
                    stream.flush().await.unwrap();
                }
                None => {
                    stream.read_exact(&mut word).await.unwrap();
                    stream.write_all(&word).await.unwrap();
                }
            }
        }
    });
    port
}

async fn dial(ca: Option<&Path>, limit: Duration, uri: &str) -> io::Result<Wire> {
    let mut connector = Connector::new(trusting(ca, "the test").unwrap(), limit);
    std::future::poll_fn(|context| connector.poll_ready(context)).await?;
    connector.call(uri.parse::<Uri>().unwrap()).await.map(hyper_util::rt::TokioIo::into_inner)
}

async fn hear_back(mut wire: Wire) {
    assert!(wire.is_write_vectored() && !wire.connected().is_proxied());
    wire.write_all(b"hello").await.unwrap();
    wire.flush().await.unwrap();
    let mut word = [0; 5];
    wire.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hello");
}

#[tokio::test]
async fn plain_and_secured_by_scheme_name_and_address() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca.pem");
    let (plain, secure) = (echo(None).await, echo(Some(ca.acceptor())).await);
    hear_back(dial(None, SOON, &format!("http://127.0.0.1:{plain}")).await.unwrap()).await;
    for host in ["localhost", "127.0.0.1"] {
        hear_back(dial(Some(&ca.file), SOON, &format!("https://{host}:{secure}/x")).await.unwrap()).await;
    }
}

#[tokio::test]
async fn somebody_else_is_not_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (Ca::new(folder.path(), "ours.pem"), Ca::new(folder.path(), "other.pem"));
    let port = echo(Some(other.acceptor())).await;
    let uri = format!("https://localhost:{port}");
    for trusted in [Some(ours.file.as_path()), None] {
        let error = dial(trusted, SOON, &uri).await.unwrap_err();
        assert!(is_distrust(&error), "{error}");
    }
}

#[tokio::test]
async fn who_never_answers_costs_so_much_time_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("https://{}", listener.local_addr().unwrap());
    let error = dial(None, Duration::from_millis(50), &uri).await.unwrap_err();
    assert!(error.kind() == io::ErrorKind::TimedOut && !is_distrust(&error), "{error}");
}

#[test]
fn a_file_that_is_no_bundle_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.pem");
    let noise = folder.path().join("noise.pem");
    write(&noise, "!!");
    for file in [missing, noise] {
        let error = trusting(Some(&file), "the test").unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
    }
}

//! S3 by https: the host's CA certificates are believed, and nobody else.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use shipway_artifacts::{ArtifactError, Artifacts, ArtifactsConfig, S3Config};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::fixtures::{MIB, World, collect, content, fresh_name};
use crate::servers::{Server, config};

const ROLE: &str = "SHIPWAY_ARTIFACTS_TEST_TLS";

/// TLS before a server that speaks none; it ends when this is dropped.
struct Terminator {
    address: SocketAddr,
    certificate: String,
    _serving: JoinSet<()>,
}

impl Terminator {
    async fn before(server: SocketAddr) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, server, TlsAcceptor::from(Arc::new(config))));
        Self { address, certificate: pem(made.cert.der()), _serving: serving }
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}

async fn serve(listener: TcpListener, server: SocketAddr, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // One who does not trust us ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut there = TcpStream::connect(server).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut stream, &mut there).await);
        });
    }
}

/// What a process says that puts and reads by https, and believes the certificates in a file.
fn said_by_one_who_trusts(file: &Path, bucket: &str, port: u16) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::trusting_process", "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{bucket}|{port}"))
        .env("SSL_CERT_FILE", file)
        .env_remove("SSL_CERT_DIR")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = child.wait_with_output().unwrap();
    let lines = BufReader::new(out.stdout.as_slice()).lines().map_while(Result::ok);
    let said = lines.filter_map(|line| line.split_once("! ").map(|(_, said)| said.to_owned())).last();
    said.expect("it says how it went")
}

/// No test: what [`said_by_one_who_trusts`] runs.
#[test]
fn trusting_process() {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test program something")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let (bucket, port) = role.split_once('|').unwrap();
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let config = S3Config { endpoint: Some(format!("https://localhost:{port}")), ..config(bucket, address) };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let artifacts = Artifacts::open(&ArtifactsConfig::S3(config)).await.unwrap();
        let local = World::directory().await;
        let content = content(18 * MIB, 1);
        match artifacts.put(&local.file("file", &content)).await {
            Ok(stored) => {
                let (read, error) = collect(artifacts.read(&stored, None).await.unwrap()).await;
                println!("! {} {error:?}", read == content);
            }
            Err(error @ ArtifactError::Refused { .. }) => println!("! refused: {error}"),
            Err(error) => println!("! {error}"),
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_the_host_trusts_is_believed() {
    let server = Server::s3s();
    let bucket = fresh_name();
    drop(server.bucket(&bucket, server.address));
    let (ours, other) = (Terminator::before(server.address).await, Terminator::before(server.address).await);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        shipway_stdx::fs::write_atomic(&path, text.as_bytes(), 0o644, shipway_stdx::fs::Durability::Process).unwrap();
        path
    };
    let trusted = write("ours.pem", &ours.certificate);
    let port = ours.address.port();
    let said = tokio::task::spawn_blocking({
        let (trusted, bucket) = (trusted.clone(), bucket.clone());
        move || said_by_one_who_trusts(&trusted, &bucket, port)
    });
    assert_eq!(said.await.unwrap(), "true None");
    let port = other.address.port();
    let said = tokio::task::spawn_blocking(move || said_by_one_who_trusts(&trusted, &bucket, port)).await.unwrap();
    assert!(said.contains("refused: storage.s3.endpoint") && said.contains("certificate"), "{said}");
}

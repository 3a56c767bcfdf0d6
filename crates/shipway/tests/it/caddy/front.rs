//! TLS before Shipway, which speaks none. It can be told to break off in the middle.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;

use super::elsewhere::Identity;

/// Ends when it is dropped.
pub(crate) struct Front {
    /// Bytes of an answer that are let through.
    let_through: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Front {
    /// Serves `listener`, whichever network that is in, from the platform at `behind`.
    pub(crate) fn start(listener: TcpListener, identity: &Identity, behind: SocketAddr) -> Self {
        let chain = vec![CertificateDer::from(identity.certificate.clone())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let let_through = Arc::new(AtomicU64::new(u64::MAX));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(serve(listener, behind, TlsAcceptor::from(Arc::new(config)), Arc::clone(&let_through)));
        Self { let_through, _runtime: runtime }
    }

    /// Lets so much of each further answer through, and then breaks off.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.let_through.store(bytes, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, behind: SocketAddr, acceptor: TlsAcceptor, let_through: Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, most) = (acceptor.clone(), let_through.load(Ordering::SeqCst));
        tokio::spawn(async move {
            // Who does not trust us ends the handshake; who is not there ends the connection.
            if let (Ok(stream), Ok(there)) = (acceptor.accept(stream).await, TcpStream::connect(behind).await) {
                drop(carry(stream, there, most).await);
            }
        });
    }
}

async fn carry(stream: TlsStream<TcpStream>, there: TcpStream, most: u64) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let (from_there, mut to_there) = there.into_split();
    let asking = async {
        tokio::io::copy(&mut from_client, &mut to_there).await?;
        to_there.shutdown().await
    };
    let answering = async {
        tokio::io::copy(&mut from_there.take(most), &mut to_client).await?;
        to_client.flush().await
    };
    tokio::select! {
        Err(broken) = asking => Err(broken),
        answered = answering => answered,
    }
}

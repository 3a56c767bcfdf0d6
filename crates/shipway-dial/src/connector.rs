//! Opens connections for hyper's client.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::wire::Wire;

/// Opens connections by a URL's scheme: TCP, and TLS for `https`. Of several addresses, those
/// that do not answer cost a share of the time.
#[derive(Debug, Clone)]
pub struct Connector {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    limit: Duration,
}

impl Connector {
    /// With whom to trust (see [`trusting`](crate::trusting)), and how long all of it may take.
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limit));
        Self { tcp, tls, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.tcp.call(uri.clone());
        let (tls, limit) = (Arc::clone(&self.tls), self.limit);
        let opening = async move {
            let stream = connecting.await.map_err(io::Error::other)?.into_inner();
            secure(&uri, stream, tls).await
        };
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "connecting takes too long");
            timeout(limit, opening).await.map_err(late)?.map(TokioIo::new)
        })
    }
}

async fn secure(uri: &Uri, stream: TcpStream, tls: Arc<ClientConfig>) -> io::Result<Wire> {
    if uri.scheme_str() != Some("https") {
        return Ok(Wire::plain(stream));
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await?;
    Ok(Wire::secured(stream))
}

//! A connection to an address that was checked, and to no other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::error::FetchError;

/// Most addresses of one name that are tried.
const TRIED_MAX: usize = 8;

/// Bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the first of `addresses` that answers.
pub(crate) async fn connect(addresses: &[IpAddr], port: u16, each: Duration) -> Result<TcpStream, FetchError> {
    let mut last = FetchError::Failed("the name has no address".to_owned());
    for address in addresses.iter().take(TRIED_MAX) {
        let address = SocketAddr::new(*address, port);
        match timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = FetchError::Failed(format!("cannot connect to {address}: {error}")),
            Err(_) => last = FetchError::Timeout { what: "connecting", seconds: each.as_secs() },
        }
    }
    Err(last)
}

/// Speaks TLS if the URL says so.
pub(crate) async fn secure(
    url: &Url,
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    limit: Duration,
) -> Result<Box<dyn Stream>, FetchError> {
    if url.scheme() == "http" {
        return Ok(Box::new(stream));
    }
    let name = match url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.trim_end_matches('.').to_owned()).ok(),
        Some(Host::Ipv4(address)) => Some(ServerName::from(IpAddr::V4(address))),
        Some(Host::Ipv6(address)) => Some(ServerName::from(IpAddr::V6(address))),
        None => None,
    };
    let name = name.ok_or_else(|| FetchError::refused("the host's name is none that a certificate can have"))?;
    match timeout(limit, TlsConnector::from(Arc::clone(config)).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(FetchError::Failed(format!("no secure connection: {error}"))),
        Err(_) => Err(FetchError::Timeout { what: "the TLS handshake", seconds: limit.as_secs() }),
    }
}

//! One download: resolve, check, connect to what was checked, read; at every hop.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use shipway_model::Source;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use url::{Host, Url};

use crate::allow::AllowList;
use crate::blobs::Blobs;
use crate::connect::{connect, secure};
use crate::error::FetchError;
use crate::own;
use crate::read::{Answer, read};
use crate::resolve::{Resolver, SystemResolver};
use crate::url_rules;

/// Most header lines of an answer; browsers see a dozen.
const HEADERS_MAX: usize = 100;

/// About the longest head of an answer: one that is twice as long and arrives in one
/// piece still passes, since the HTTP library looks only when it must read again.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How the fetcher fetches.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// What is exempt from the rules about addresses.
    pub allow: AllowList,
    /// Most bytes of content.
    pub cap_bytes: u64,
    /// Ports that are fetched from.
    pub ports: Vec<u16>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// Redirects followed. More are a loop, or a maze.
    pub redirects_max: usize,
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// A file of CA certificates (PEM) to trust instead of the host's.
    pub ca_file: Option<PathBuf>,
    /// Knows the addresses of names.
    pub resolver: Arc<dyn Resolver>,
}

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A name to addresses.
    pub resolve: Duration,
    /// A connection, and again the TLS handshake on it.
    pub connect: Duration,
    /// From the request to the end of the answer's head.
    pub head: Duration,
    /// Between two pieces of the content.
    pub idle: Duration,
    /// Everything, redirects included.
    pub total: Duration,
}

impl Default for Timeouts {
    /// A minute in all: a person waits for the deploy. The old system gave 30 s.
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            head: Duration::from_secs(15),
            idle: Duration::from_secs(15),
            total: Duration::from_secs(60),
        }
    }
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            allow: AllowList::default(),
            cap_bytes: 64 << 20,
            ports: vec![80, 443],
            timeouts: Timeouts::default(),
            redirects_max: 3,
            user_agent: concat!("Shipway/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_file: None,
            resolver: Arc::new(SystemResolver),
        }
    }
}

/// Downloads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    config: Arc<FetchConfig>,
    tls: Arc<ClientConfig>,
}

/// The task that drives a connection, and ends with this. It returns whether the
/// origin sent more than its answer.
pub(crate) type Connection = JoinSet<bool>;

/// What one hop led to.
enum Hop {
    Content(Response<Incoming>, Connection),
    Redirect(Url),
}

impl Fetcher {
    /// Makes a fetcher; reads the CA certificates.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up at all, or the CA file that was named cannot be read.
    pub fn new(config: FetchConfig) -> io::Result<Self> {
        let tls = shipway_dial::trusting(config.ca_file.as_deref(), "what URLs lead to")?;
        Ok(Self { config: Arc::new(config), tls })
    }

    /// Checks what a URL itself may look like; resolves and connects nothing.
    ///
    /// # Errors
    ///
    /// [`FetchError::Refused`].
    pub fn check(&self, text: &str) -> Result<Url, FetchError> {
        url_rules::check(text, &self.config.ports, &self.config.allow)
    }

    /// Downloads a URL into the blob store.
    ///
    /// # Errors
    ///
    /// [`FetchError`]; nothing is kept then.
    pub async fn fetch(&self, url: &Url, blobs: &Blobs) -> Result<Source, FetchError> {
        let total = self.config.timeouts.total;
        match timeout(total, self.follow(url, blobs)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Timeout { what: "the download", seconds: total.as_secs() }),
        }
    }

    async fn follow(&self, given: &Url, blobs: &Blobs) -> Result<Source, FetchError> {
        let mut url = given.clone();
        for _ in 0..=self.config.redirects_max {
            match self.hop(&url).await? {
                Hop::Redirect(next) => url = next,
                Hop::Content(answer, connection) => {
                    let answer = Answer { answer, connection };
                    let mut source =
                        read(&url, answer, blobs, self.config.cap_bytes, self.config.timeouts.idle).await?;
                    source.url = Some(given.to_string());
                    return Ok(source);
                }
            }
        }
        Err(FetchError::Failed(format!("more than {} redirects", self.config.redirects_max)))
    }

    /// Asks one URL, with every rule applied to it first.
    async fn hop(&self, url: &Url) -> Result<Hop, FetchError> {
        let FetchConfig { ports, allow, timeouts, .. } = self.config.as_ref();
        url_rules::check_parsed(url, ports, allow)?;
        let port = url.port_or_known_default().unwrap_or(80);
        let addresses = self.checked_addresses(url, port).await?;
        let stream = connect(&addresses, port, timeouts.connect).await?;
        let stream = secure(url, stream, &self.tls, timeouts.connect).await?;
        let asked = timeout(timeouts.head, self.ask(url, TokioIo::new(stream))).await;
        let (answer, connection) = match asked {
            Ok(answered) => answered?,
            Err(_) => return Err(FetchError::Timeout { what: "the answer", seconds: timeouts.head.as_secs() }),
        };
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(Hop::Content(answer, connection));
        }
        match redirect(url, &answer) {
            Some(next) => next.map(Hop::Redirect),
            None => Err(FetchError::Status { host: host_of(url), status: status.as_u16() }),
        }
    }

    /// Resolves once; a single address that is not anybody's refuses them all,
    /// because an honest name has no reason to mix them.
    async fn checked_addresses(&self, url: &Url, port: u16) -> Result<Vec<IpAddr>, FetchError> {
        let addresses = match url.host() {
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            Some(Host::Domain(name)) => self.resolve(name).await?,
            None => return Err(FetchError::refused("the URL has no host")),
        };
        let own = own::addresses()
            .map_err(|error| FetchError::Failed(format!("this host's own addresses cannot be listed: {error}")))?;
        for address in &addresses {
            url_rules::check_address(*address, port, &self.config.ports, &self.config.allow)?;
            let pair = SocketAddr::new(*address, port);
            if own.contains(address) && !self.config.allow.exempts(pair) {
                return Err(url_rules::address_refused(pair, "an address of this host's own"));
            }
        }
        Ok(addresses)
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, FetchError> {
        let limit = self.config.timeouts.resolve;
        match timeout(limit, self.config.resolver.resolve(name)).await {
            Err(_) => Err(FetchError::Timeout { what: "looking the name up", seconds: limit.as_secs() }),
            Ok(Err(error)) => Err(FetchError::Failed(format!("`{name}` cannot be looked up: {error}"))),
            Ok(Ok(addresses)) if addresses.is_empty() => Err(FetchError::Failed(format!("`{name}` has no address"))),
            Ok(Ok(addresses)) => Ok(addresses),
        }
    }

    /// Sends the request. The returned set holds the connection's own task, which
    /// ends with it.
    async fn ask<S>(&self, url: &Url, stream: TokioIo<S>) -> Result<(Response<Incoming>, Connection), FetchError>
    where
        S: crate::connect::Stream + 'static,
    {
        let broken = |error: hyper::Error| FetchError::Failed(format!("no answer that could be read: {error}"));
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(stream)
            .await
            .map_err(broken)?;
        let mut task = JoinSet::new();
        // An error is told by the answer or its body.
        task.spawn(async move { connection.without_shutdown().await.is_ok_and(is_more_there) });
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let request = Request::builder()
            .method(Method::GET)
            .uri(target)
            .header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(header::USER_AGENT, &self.config.user_agent)
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| FetchError::refused(format!("the URL makes no request: {error}")))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        Ok((answer, task))
    }
}

/// Whether bytes that belong to no answer have arrived on a connection.
fn is_more_there<S: AsyncRead + Unpin>(parts: http1::Parts<TokioIo<S>>) -> bool {
    let mut byte = [0];
    let mut stream = parts.io.into_inner();
    let read = stream.read(&mut byte).now_or_never();
    !parts.read_buf.is_empty() || matches!(read, Some(Ok(1)))
}

fn host_of(url: &Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

/// Where an answer sends us, if it does; every rule is applied to it on its turn.
fn redirect(url: &Url, answer: &Response<Incoming>) -> Option<Result<Url, FetchError>> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let next = match url.join(location) {
        Ok(next) if next.as_str().len() > url_rules::URL_BYTES_MAX => {
            return Some(Err(FetchError::refused("a redirect to a URL that is too long")));
        }
        Ok(next) => next,
        Err(error) => return Some(Err(FetchError::refused(format!("a redirect to what is no URL: {error}")))),
    };
    if url.scheme() == "https" && next.scheme() != "https" {
        return Some(Err(FetchError::refused("a redirect from https to something less")));
    }
    Some(Ok(next))
}

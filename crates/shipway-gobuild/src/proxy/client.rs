//! Asking a list of proxies.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use shipway_dial::Connector;
use tokio::time::Instant;

use super::body::{Body, Source};
use super::error::{Failure, ProxyError, Tried};
use super::file;
use super::http::{HttpClient, Part, ask, range};
use super::limits::ProxyLimits;
use super::list::{Entry, ProxyList, redacted};
use super::question::Question;
use crate::module::{ModulePath, Version};

/// Idle connections are closed after this long.
const KEPT_IDLE: Duration = Duration::from_secs(30);

/// How proxies are asked.
#[derive(Debug, Clone)]
pub struct ProxiesConfig {
    /// Whom.
    pub list: ProxyList,
    /// CA certificates to trust instead of the host's bundle.
    pub ca_file: Option<PathBuf>,
    /// Bounds.
    pub limits: ProxyLimits,
}

/// A list of proxies to ask. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Proxies {
    list: ProxyList,
    limits: ProxyLimits,
    client: HttpClient,
}

/// What `.info` and `@latest` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The canonical version.
    pub version: Version,
    /// When it was made, RFC 3339, if the proxy says; not checked.
    pub time: Option<String>,
    /// The proxy that said so, without credentials.
    pub proxy: String,
}

impl Proxies {
    /// Prepares to ask; asks nothing yet.
    ///
    /// # Errors
    ///
    /// The CA file cannot be read.
    pub fn open(config: ProxiesConfig) -> io::Result<Self> {
        let tls = shipway_dial::trusting(config.ca_file.as_deref(), "module proxies")?;
        let connector = Connector::new(tls, config.limits.connect);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(KEPT_IDLE).pool_timer(TokioTimer::new()).pool_max_idle_per_host(8);
        Ok(Self { list: config.list, limits: config.limits, client: builder.build(connector) })
    }

    /// Asks each proxy in turn, as far as its answers let it go on.
    ///
    /// # Errors
    ///
    /// None answered; says what each said.
    pub async fn get(&self, question: &Question) -> Result<Body, ProxyError> {
        self.get_part(question, Part::Whole).await.map(|(body, _)| body)
    }

    /// The versions a module has, as listed: valid ones only, in their order. A proxy should
    /// leave out pseudo-versions; some do not.
    ///
    /// # Errors
    ///
    /// See [`ProxyError`].
    pub async fn list(&self, module: &ModulePath) -> Result<Vec<Version>, ProxyError> {
        let text = self.get(&Question::list(module)).await?.bytes().await?;
        let text = String::from_utf8_lossy(&text);
        let words = text.lines().filter_map(|line| line.split_whitespace().next());
        let mut versions: Vec<Version> = words.filter_map(|word| Version::parse(word).ok()).collect();
        versions.sort();
        versions.dedup();
        Ok(versions)
    }

    /// What a version, branch or commit is, written as [`crate::module::escape::query`] does.
    ///
    /// # Errors
    ///
    /// See [`ProxyError`].
    pub async fn info(&self, module: &ModulePath, escaped: &str) -> Result<Info, ProxyError> {
        self.info_of(&Question::info(module, escaped)).await
    }

    /// What the proxy takes for the latest version, where it has an opinion.
    ///
    /// # Errors
    ///
    /// See [`ProxyError`].
    pub async fn latest(&self, module: &ModulePath) -> Result<Info, ProxyError> {
        self.info_of(&Question::latest(module)).await
    }

    /// A version's `go.mod`.
    ///
    /// # Errors
    ///
    /// See [`ProxyError`].
    pub async fn go_mod(&self, module: &ModulePath, version: &Version) -> Result<Bytes, ProxyError> {
        self.get(&Question::go_mod(module, version)).await?.bytes().await
    }

    /// A part of a file: `(body, first byte, size of the whole)`. A proxy that knows no parts
    /// sends the whole, from byte 0.
    pub(crate) async fn last_bytes(&self, question: &Question, bytes: u64) -> Result<Piece, ProxyError> {
        self.get_part(question, Part::Last(bytes)).await.map(Piece::new)
    }

    /// As [`Self::last_bytes`], from `start` on.
    pub(crate) async fn some_bytes(&self, question: &Question, start: u64, bytes: u64) -> Result<Piece, ProxyError> {
        self.get_part(question, Part::From(start, bytes)).await.map(Piece::new)
    }

    async fn info_of(&self, question: &Question) -> Result<Info, ProxyError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            version: String,
            time: Option<String>,
        }
        let body = self.get(question).await?;
        let proxy = body.proxy().to_owned();
        let json = body.bytes().await?;
        let broken = |answer: String| ProxyError::broken(question, &proxy, answer);
        let answer: Answer = serde_json::from_slice(&json).map_err(|error| broken(format!("no such JSON: {error}")))?;
        let version = Version::parse(&answer.version).map_err(|error| broken(error.to_string()))?;
        Ok(Info { version, time: answer.time, proxy })
    }

    async fn get_part(&self, question: &Question, part: Part) -> Result<Found, ProxyError> {
        let mut tried = Vec::new();
        for entry in self.list.entries() {
            let (failure, answer) = match self.ask(entry, question, part).await {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            tried.push(Tried { proxy: redacted(&entry.url), failure, answer });
            if failure != Failure::NotFound && !entry.any_failure_goes_on {
                break;
            }
        }
        let failure = tried.iter().map(|tried| tried.failure).max().unwrap_or(Failure::NotFound);
        Err(ProxyError { asked: question.to_string(), failure, tried })
    }

    async fn ask(&self, entry: &Entry, question: &Question, part: Part) -> Result<Found, (Failure, String)> {
        match entry.url.to_file_path() {
            Ok(directory) if entry.url.scheme() == "file" => self.read(entry, &directory, question, part).await,
            _ => self.request(entry, question, part).await,
        }
    }

    async fn request(&self, entry: &Entry, question: &Question, part: Part) -> Result<Found, (Failure, String)> {
        let until = Instant::now() + self.limits.connect + self.limits.first_byte;
        let response = ask(&self.client, &entry.url, question.path(), part, until).await?;
        let (size, range) = (content_length(&response), range(response.headers()));
        let body = self.body(entry, question, Source::Http(Box::new(response.into_body())), size);
        checked(body).map(|body| (body, range))
    }

    async fn read(
        &self,
        entry: &Entry,
        directory: &Path,
        question: &Question,
        part: Part,
    ) -> Result<Found, (Failure, String)> {
        let (file, size) = file::open(directory, question.path()).await?;
        let mut body = self.body(entry, question, Source::File { file, left: u64::MAX }, Some(size));
        let (start, bytes) = match part {
            Part::Whole => return checked(body).map(|body| (body, None)),
            Part::Last(bytes) => (size.saturating_sub(bytes), bytes),
            Part::From(start, bytes) => (start, bytes),
        };
        let bytes = bytes.min(size.saturating_sub(start));
        let sought = body.seek(start, bytes).await;
        sought.map_err(|error| (Failure::Unavailable, format!("cannot be read: {error}")))?;
        Ok((body, Some((start, size))))
    }

    fn body(&self, entry: &Entry, question: &Question, source: Source, size: Option<u64>) -> Body {
        let limit = self.limits.bytes(question);
        Body {
            source,
            asked: question.to_string(),
            proxy: redacted(&entry.url),
            left: limit,
            limit,
            idle: self.limits.idle,
            until: Instant::now() + self.limits.total(question),
            size,
        }
    }
}

/// An answer; and of a part, its first byte and the size of the whole.
type Found = (Body, Option<(u64, u64)>);

/// A part of a file on its way.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) body: Body,
    /// Where it begins.
    pub(crate) start: u64,
}

impl Piece {
    fn new((body, range): (Body, Option<(u64, u64)>)) -> Self {
        Self { body, start: range.map_or(0, |(start, _)| start) }
    }
}

fn content_length<B: hyper::body::Body>(response: &http::Response<B>) -> Option<u64> {
    response.body().size_hint().exact()
}

/// What says beforehand that it is too large need not be read.
fn checked(body: Body) -> Result<Body, (Failure, String)> {
    match body.size {
        Some(size) if size > body.limit => {
            Err((Failure::Broken, format!("the answer is larger than {} bytes", body.limit)))
        }
        _ => Ok(body),
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("list", &self.list).finish_non_exhaustive()
    }
}

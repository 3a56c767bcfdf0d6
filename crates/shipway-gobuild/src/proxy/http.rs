//! A proxy that speaks HTTP: one request, its redirects, and what a status means.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, LOCATION, RANGE, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use shipway_dial::Connector;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::error::{Failure, quoted};

/// Most redirects followed: what Go's own client follows.
const REDIRECTS_MAX: usize = 10;
/// Most bytes of a refusal that are read for its words.
const WORDS_BYTES_MAX: usize = 4 << 10;
/// How long is waited for those words.
const WORDS_TIME: Duration = Duration::from_secs(5);

pub(super) type HttpClient = Client<Connector, Empty<Bytes>>;

/// Part of a file: from a byte on, so many.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// The last bytes.
    Last(u64),
    /// So many bytes from there.
    From(u64, u64),
}

/// Asks one proxy. Only a 200, or a 206 where a part was asked for, is an answer.
pub(super) async fn ask(
    client: &HttpClient,
    base: &Url,
    question: &str,
    part: Part,
    until: Instant,
) -> Result<Response<Incoming>, (Failure, String)> {
    let broken = |text: &str| (Failure::Broken, text.to_owned());
    let mut url = joined(base, question).ok_or_else(|| broken("its address cannot be extended"))?;
    for _ in 0..=REDIRECTS_MAX {
        let request = request(base, &url, part).ok_or_else(|| broken("its address is no URL"))?;
        let response = match timeout_at(until, client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err((Failure::Unavailable, chain(&error))),
            Err(_) => return Err((Failure::Unavailable, "no answer in time".to_owned())),
        };
        match response.status() {
            StatusCode::OK => return Ok(response),
            StatusCode::PARTIAL_CONTENT if !matches!(part, Part::Whole) => return Ok(response),
            status if status.is_redirection() => url = redirected(&url, response.headers()).map_err(broken)?,
            _ => return Err(refusal(response).await),
        }
    }
    Err(broken("too many redirects"))
}

/// The proxy's address with the question behind its path.
fn joined(base: &Url, question: &str) -> Option<Url> {
    let mut url = base.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(question.split('/'));
    Some(url)
}

fn request(base: &Url, url: &Url, part: Part) -> Option<Request<Empty<Bytes>>> {
    let mut plain = url.clone();
    plain.set_fragment(None);
    plain.set_username("").ok()?;
    plain.set_password(None).ok()?;
    let mut request = Request::builder().method(Method::GET).uri(plain.as_str());
    // Nothing but the bytes as they are: an archive's digest is over them.
    request = request.header(USER_AGENT, "shipway").header(ACCEPT_ENCODING, "identity");
    match part {
        Part::Whole => {}
        Part::Last(bytes) => request = request.header(RANGE, format!("bytes=-{bytes}")),
        Part::From(start, bytes) => {
            request = request.header(RANGE, format!("bytes={start}-{}", start.saturating_add(bytes.saturating_sub(1))));
        }
    }
    // Credentials are for the proxy they were configured for, and for nobody it points to.
    if base.origin() == url.origin() && (!base.username().is_empty() || base.password().is_some()) {
        request = request.header(AUTHORIZATION, basic(base));
    }
    request.body(Empty::new()).ok()
}

fn basic(base: &Url) -> String {
    let decoded = |text: &str| percent_decoded(text);
    let pair = format!("{}:{}", decoded(base.username()), decoded(base.password().unwrap_or_default()));
    format!("Basic {}", STANDARD.encode(pair))
}

/// The URL type keeps both percent-encoded.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = text.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(pair.unwrap_or(byte));
        at += if pair.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, &'static str> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or("a redirect to nowhere")?;
    let to = from.join(location).map_err(|_| "a redirect to no URL")?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(to),
        _ => Err("a redirect to another scheme"),
    }
}

/// What a status other than success means, with the proxy's own words.
async fn refusal(response: Response<Incoming>) -> (Failure, String) {
    let status = response.status();
    let failure = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Failure::NotFound,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Failure::Unavailable,
        status if status.is_client_error() => Failure::Refused,
        status if status.is_server_error() => Failure::Unavailable,
        _ => Failure::Broken,
    };
    let words = words(response.into_body()).await;
    let answer = if words.is_empty() { status.to_string() } else { format!("{status}: {words}") };
    (failure, answer)
}

async fn words(mut body: Incoming) -> String {
    let until = Instant::now() + WORDS_TIME;
    let mut kept = Vec::new();
    while kept.len() < WORDS_BYTES_MAX {
        let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await else { break };
        if let Some(piece) = frame.data_ref() {
            let room = WORDS_BYTES_MAX - kept.len();
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }
    quoted(&kept)
}

/// The first byte and the whole's size, from `Content-Range: bytes 5-9/10`.
pub(super) fn range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, size) = text.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

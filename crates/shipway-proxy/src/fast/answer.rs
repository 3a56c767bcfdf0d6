//! From a request of the plain kind to its answer: which service, which connection
//! to it, and what to say when there is none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::exchange::{Exchange, NoAnswer};
use super::line::Line;
use super::request::{self, Method, Plain, Seen};
use super::response::{self, Answer, Asked};
use crate::access::{self, Record};
use crate::answer::Failure;
use crate::client::Client;
use crate::exchange::FRESH;
use crate::forward;
use crate::headers;
use crate::host::{self, Named};
use crate::patience::{Wait, find, first_byte};
use crate::request_id;
use crate::table::{Lease, Service};
use crate::upstream::ConnectError;
use crate::wire::Protocol;

/// More memory for words than this is given back after a request.
const WORDS_KEPT: usize = 4 * 1024;

/// The host that the connection's last request was for. Most connections ask for
/// one host only.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// As the visitor wrote it.
    host: Vec<u8>,
    label: String,
    /// What the service is told about every request, up to the id.
    forwarding: Vec<u8>,
}

/// What is said about one request; kept only to spare allocations.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The request's head for the service.
    request: Vec<u8>,
    /// The answer's head for the visitor.
    answer: Vec<u8>,
    id: Vec<u8>,
}

/// A request whose head was read, but is taken from the input only when it is clear that
/// the request stays on this path.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    is_last: bool,
    has_body: bool,
    started: Instant,
    record: Option<Box<Record>>,
}

/// What a connection's input begins with.
#[derive(Debug)]
pub(super) enum Next {
    More,
    Elsewhere,
    Request(Request),
}

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request may come.
    Next,
    /// It ends after this answer.
    Close,
    /// It is of no more use.
    Gone,
    /// Nothing of the request was used: it is one for the general path.
    Elsewhere,
}

/// Reads the next request from the input, if it is one for this path.
pub(super) fn next(
    client: &Client,
    line: &mut Line,
    known: &mut Known,
    words: &mut Words,
    searched: &mut usize,
) -> Next {
    let plain = match request::look(line.input.bytes(), searched, &mut words.request) {
        Seen::More => return Next::More,
        Seen::Elsewhere => return Next::Elsewhere,
        Seen::Plain(plain) => plain,
    };
    if plain.body > client.proxy.limits.body_bytes || !known.learn(client, plain.host) {
        return Next::Elsewhere;
    }
    words.id.clear();
    match plain.id.filter(|id| request_id::is_sane(id)) {
        Some(id) => words.id.extend_from_slice(id),
        None => words.id.extend_from_slice(&request_id::mint_text()),
    }
    for part in [&known.forwarding[..], &words.id, b"\r\n\r\n"] {
        words.request.extend_from_slice(part);
    }
    let request = Request {
        method: plain.method,
        is_last: plain.is_last,
        has_body: plain.body > 0,
        started: Instant::now(),
        record: access::is_logged().then(|| Box::new(record_of(&plain))),
    };
    (line.head, line.unread) = (plain.length, plain.body);
    Next::Request(request)
}

fn record_of(plain: &Plain<'_>) -> Record {
    Record::new(plain.method.name(), &String::from_utf8_lossy(plain.host), plain.path)
}

impl Known {
    /// Learns what `host` names; `false`: no service of this listener's.
    fn learn(&mut self, client: &Client, host: &[u8]) -> bool {
        if !self.host.is_empty() && self.host == host {
            return true;
        }
        let (Ok(name), Ok(written)) = (host::parse(host), HeaderValue::from_bytes(host)) else {
            return false;
        };
        let label = match client.proxy.hosts.name(&name) {
            Named::Service(label) if client.serves.services() => label,
            _ => return false,
        };
        self.forwarding.clear();
        for (name, value) in &headers::forwarding(&client.from, &written, label) {
            response::push(&mut self.forwarding, name.as_str().as_bytes(), value.as_bytes());
        }
        self.forwarding.extend_from_slice(b"x-request-id: ");
        label.clone_into(&mut self.label);
        self.host = host.to_vec();
        true
    }
}

/// Answers a request.
pub(super) async fn answer(
    client: &Arc<Client>,
    line: &mut Line,
    known: &Known,
    words: &mut Words,
    mut request: Request,
) -> After {
    let mut counts = Counts::default();
    let result = forward(client, line, known, words, &mut request, &mut counts).await;
    let after = match result {
        Ok(after) => after,
        Err(Unanswered::Gone) => After::Gone,
        Err(Unanswered::Elsewhere) => return After::Elsewhere,
        Err(Unanswered::Failed(failure)) => refuse(client, line, words, &mut request, &failure, &mut counts).await,
    };
    let metrics = &client.proxy.metrics;
    metrics.fast.add(1);
    metrics.response_bytes.add(counts.answer);
    metrics.request_bytes.add(counts.request);
    if let Some(record) = &mut request.record {
        record.id = String::from_utf8_lossy(&words.id).into_owned();
        record.log(client.peer, counts.answer, request.started.elapsed());
    }
    words.tidy();
    after
}

impl Words {
    fn tidy(&mut self) {
        for words in [&mut self.request, &mut self.answer] {
            if words.capacity() > WORDS_KEPT {
                *words = Vec::new();
            }
        }
    }
}

/// Bytes of bodies.
#[derive(Debug, Default)]
struct Counts {
    request: u64,
    answer: u64,
}

/// Why a request got no service's answer.
enum Unanswered {
    Failed(Failure),
    Gone,
    Elsewhere,
}

async fn forward(
    client: &Arc<Client>,
    line: &mut Line,
    known: &Known,
    words: &mut Words,
    request: &mut Request,
    counts: &mut Counts,
) -> Result<After, Unanswered> {
    let proxy = &client.proxy;
    let mut wait = Wait::new(proxy);
    loop {
        let failure = match find(proxy, &known.label) {
            Err(failure) => failure,
            Ok((_, lease)) if lease.upstream().protocol() != Protocol::Http1 => {
                if line.head > 0 {
                    return Err(Unanswered::Elsewhere);
                }
                // Tried as HTTP/1.1 before, it cannot be handed over any more.
                return Err(Unanswered::Failed(Failure::Starting));
            }
            Ok((service, lease)) => {
                request.notes(&service);
                line.take_head();
                let first_byte = first_byte(proxy, &service, false);
                match attempt(client, line, words, request, &lease, first_byte, counts).await {
                    Attempt::Answered(after) => return Ok(after),
                    Attempt::Failed(failure) => return Err(Unanswered::Failed(failure)),
                    Attempt::Nobody(error) => Failure::Unreachable(error),
                    Attempt::Gone => return Err(Unanswered::Gone),
                }
            }
        };
        line.input.park();
        tokio::select! {
            waited = wait.after(failure) => waited.map_err(Unanswered::Failed)?,
            () = line.gone() => return Err(Unanswered::Gone),
        }
    }
}

impl Request {
    fn notes(&mut self, service: &Service) {
        if let Some(record) = &mut self.record {
            service.name().clone_into(&mut record.service);
        }
    }

    fn answered(&mut self, client: &Client, status: http::StatusCode) {
        client.proxy.metrics.answer(status, self.started.elapsed());
        if let Some(record) = &mut self.record {
            record.status = status;
        }
    }

    /// Whether it may go out twice; see [`crate::exchange`].
    const fn is_repeatable(&self) -> bool {
        !self.has_body && self.method.is_idempotent()
    }
}

enum Attempt {
    Answered(After),
    Failed(Failure),
    /// Nobody took the request.
    Nobody(ConnectError),
    Gone,
}

/// Sends a request to an endpoint: on a pooled connection if there is one that
/// still works, else on a new one.
async fn attempt(
    client: &Client,
    line: &mut Line,
    words: &mut Words,
    request: &mut Request,
    lease: &Lease,
    first_byte: Duration,
    counts: &mut Counts,
) -> Attempt {
    let (proxy, upstream) = (&client.proxy, lease.upstream());
    let (limits, metrics) = (&proxy.limits, &proxy.metrics);
    let idle_max =
        if request.is_repeatable() { limits.idle_upstream_time } else { FRESH.min(limits.idle_upstream_time) };
    loop {
        let pooled = upstream.take_plain(idle_max);
        let is_pooled = pooled.is_some();
        let io = match pooled {
            Some(io) => io,
            None => {
                metrics.upstream_connects.add(1);
                match Box::pin(upstream.connect_plain()).await {
                    Ok(io) => io,
                    Err(error) => return Attempt::Nobody(error),
                }
            }
        };
        let Words { request: outgoing, answer: incoming, id } = &mut *words;
        let asked = Asked { is_head: request.method == Method::Head, is_last: request.is_last, id };
        let mut exchange = Exchange::new(&mut *line, io, outgoing, proxy);
        let head = exchange.head(asked, first_byte, incoming).await;
        counts.request = exchange.uploaded();
        let is_unsent = exchange.is_unsent() && !request.has_body;
        match head {
            Ok(answer) => {
                request.answered(client, answer.status);
                return Attempt::Answered(pass_on(client, exchange, answer, incoming, lease, counts).await);
            }
            Err(NoAnswer::Gone) => return Attempt::Gone,
            Err(NoAnswer::Failed(failure)) => return Attempt::Failed(failure),
            Err(NoAnswer::Closed) if is_pooled && (is_unsent || request.is_repeatable()) => {
                metrics.upstream_retries.add(1);
            }
            Err(NoAnswer::Closed) if is_unsent => {
                return Attempt::Nobody(ConnectError::Absent(std::io::ErrorKind::ConnectionReset.into()));
            }
            Err(NoAnswer::Closed) => return Attempt::Failed(Failure::ClosedEarly),
        }
    }
}

/// Passes the answer on, and keeps the connections that can be kept.
async fn pass_on(
    client: &Client,
    mut exchange: Exchange<'_>,
    answer: Answer,
    head: &mut Vec<u8>,
    lease: &Lease,
    counts: &mut Counts,
) -> After {
    let relayed = exchange.relay(answer, head).await;
    (counts.request, counts.answer) = (exchange.uploaded(), exchange.sent);
    if relayed.is_err() {
        return After::Gone;
    }
    let finished = exchange.finish(answer);
    if let Some(io) = finished.reusable {
        lease.upstream().put_plain(io, client.proxy.limits.idle_upstream);
    }
    if finished.is_whole && !answer.is_last { After::Next } else { After::Close }
}

/// Says why there is no answer.
async fn refuse(
    client: &Client,
    line: &mut Line,
    words: &mut Words,
    request: &mut Request,
    failure: &Failure,
    counts: &mut Counts,
) -> After {
    forward::note(client, failure);
    request.answered(client, failure.status());
    line.take_head();
    // A body that is here already is skipped; one that is still to come is not
    // waited for.
    let here = usize::try_from(line.unread).unwrap_or(usize::MAX).min(line.input.len());
    line.input.consume(here);
    line.unread -= here as u64;
    let is_last = request.is_last || line.unread > 0 || client.proxy.drain.is_cancelled();
    let id = HeaderValue::from_bytes(&words.id).unwrap_or_else(|_| HeaderValue::from_static("0"));
    let text = failure.text(&id);
    response::begin(&mut words.answer, failure.status());
    for (name, value) in &failure.headers(&id) {
        response::push(&mut words.answer, name.as_str().as_bytes(), value.as_bytes());
    }
    response::push(&mut words.answer, b"content-length", response::decimal(text.len() as u64, &mut [0; 20]));
    response::end(&mut words.answer, false, is_last);
    if request.method != Method::Head {
        words.answer.extend_from_slice(text.as_bytes());
        counts.answer = text.len() as u64;
    }
    let limits = &client.proxy.limits;
    match line.write(&words.answer, limits.response_idle).await {
        Err(_) => After::Gone,
        Ok(()) if is_last => After::Close,
        Ok(()) => After::Next,
    }
}

//! From a visitor's request to a response for it.
//!
//! ```text
//! refused? ─► which host? ─► API: the visitor's own connection to it
//!                       └──► service: find ─► lease ─► connection ─► answer
//!                               ▲                │ nobody there (it just crashed,
//!                               └── wait a bit ──┘ or a new release takes over)
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::answer::Failure;
use crate::body::{Back, Body, RequestBody, ResponseBody};
use crate::client::Client;
use crate::exchange::{Outgoing, Sent, send};
use crate::guard::{FIELDS_MAX, Refusal};
use crate::headers::{self, Way};
use crate::host::{self, Named};
use crate::patience::{Wait, find, first_byte};
use crate::request_id;
use crate::splice;
use crate::table::Lease;
use crate::ticket::Ticket;
use crate::upstream::ConnectError;

/// Answers one request of a visitor's. Never fails: failures are answers too.
pub(crate) async fn answer(client: Arc<Client>, request: Request<Incoming>) -> Response<Body> {
    let mut ticket = Ticket::new(&client, &request);
    let is_grpc = is_grpc(&request);
    let id =
        request.headers().get(headers::X_REQUEST_ID).and_then(request_id::take_over).unwrap_or_else(request_id::mint);
    let number = ticket.number();
    let result = route(&client, request, &id, &mut ticket).await;
    let response = match result {
        Ok(answered) => answered.into_response(&client, &id, ticket),
        Err(failure) => {
            note(&client, &failure);
            ticket.answered(failure.status(), &id);
            if is_grpc { failure.grpc_response(&id, ticket) } else { failure.response(&id, ticket) }
        }
    };
    let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    client.gate.decide(number, is_switch);
    response
}

pub(crate) fn note(client: &Client, failure: &Failure) {
    let metrics = &client.proxy.metrics;
    if let Some(limit) = failure.limit() {
        metrics.limit(limit);
    }
    if matches!(failure, Failure::Refused(_)) {
        metrics.refused.add(1);
    }
    if failure.is_upstream() {
        metrics.upstream_failures.add(1);
    }
}

/// A service's (or the API's) response with all that belongs to it.
struct Answered {
    response: Response<Incoming>,
    back: Back,
    upload: Option<Arc<crate::body::Upload>>,
    visitor: Option<OnUpgrade>,
}

impl Answered {
    fn into_response(mut self, client: &Arc<Client>, id: &HeaderValue, mut ticket: Ticket) -> Response<Body> {
        ticket.answered(self.response.status(), id);
        if self.response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(visitor) = self.visitor.take()
        {
            return self.switch(client, visitor, id, ticket);
        }
        let (mut parts, incoming) = self.response.into_parts();
        headers::for_visitor(&mut parts.headers, id);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let limits = &client.proxy.limits;
        let pause_max = if is_stream(&parts.headers) { limits.stream_idle } else { limits.response_idle };
        ticket.may_pause(pause_max);
        let body = ResponseBody::new(incoming, self.back, self.upload, pause_max);
        Response::from_parts(parts, Body::stream(body, ticket))
    }

    fn switch(mut self, client: &Arc<Client>, visitor: OnUpgrade, id: &HeaderValue, ticket: Ticket) -> Response<Body> {
        let service = hyper::upgrade::on(&mut self.response);
        splice::spawn(Arc::clone(client), visitor, service, self.back);
        let mut response = Response::new(Body::empty(ticket));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = std::mem::take(self.response.headers_mut());
        headers::for_switch(response.headers_mut(), id);
        response
    }
}

/// Whether a request is a call of gRPC, whose two bodies are streams of messages: either
/// may be silent for long, and the answer's head may wait for the first one. The caller
/// says how long it waits, and the service hears it (`grpc-timeout`).
fn is_grpc(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_2 && is_kind(request.headers(), |kind| starts_with(kind, "application/grpc"))
}

fn is_stream(headers: &HeaderMap) -> bool {
    is_kind(headers, is_stream_kind)
}

fn is_kind(headers: &HeaderMap, is: impl FnOnce(&[u8]) -> bool) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| is(kind.as_bytes()))
}

fn starts_with(kind: &[u8], start: &str) -> bool {
    kind.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start.as_bytes()))
}

/// Responses that may be quiet for long without being stuck.
pub(crate) fn is_stream_kind(kind: &[u8]) -> bool {
    const KINDS: [&str; 4] =
        ["text/event-stream", "application/x-ndjson", "application/grpc", "multipart/x-mixed-replace"];
    KINDS.iter().any(|one| starts_with(kind, one))
}

async fn route(
    client: &Arc<Client>,
    request: Request<Incoming>,
    id: &HeaderValue,
    ticket: &mut Ticket,
) -> Result<Answered, Failure> {
    if let Some(refusal) = client.gate.refusal(ticket.number()) {
        return Err(Failure::Refused(refusal));
    }
    let (parts, body) = request.into_parts();
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(Failure::Method);
    }
    if parts.uri.path() == "*" && parts.method != Method::OPTIONS {
        return Err(Failure::Refused(Refusal::Malformed));
    }
    if parts.headers.len() > FIELDS_MAX {
        return Err(Failure::TooManyFields);
    }
    let host = host::of_request(&parts).map_err(Failure::Host)?;
    let request = Request::from_parts(parts, body);
    match client.proxy.hosts.name(&host) {
        Named::Api if client.serves.api() => to_api(client, request, id, ticket).await,
        Named::Service(label) if client.serves.services() => to_service(client, request, label, id, ticket).await,
        _ => Err(Failure::NoSuchService),
    }
}

/// Turns a visitor's request into one for a service or the API.
fn outgoing(
    client: &Client,
    mut request: Request<Incoming>,
    label: Option<&str>,
    id: &HeaderValue,
    number: u64,
    first_byte: Duration,
) -> (Box<Outgoing>, Option<OnUpgrade>) {
    let limits = &client.proxy.limits;
    let pause_max = if is_grpc(&request) { limits.stream_idle } else { limits.body_idle };
    let upgrade = if client.gate.asks_upgrade(number) { request.headers().get(UPGRADE).cloned() } else { None };
    let visitor = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut parts, incoming) = request.into_parts();
    let host = written_host(&parts);
    let way = Way { from: &client.from, host: &host, label, request_id: id, upgrade };
    headers::for_service(&mut parts.headers, &way);
    let (body, upload) = RequestBody::new(incoming, pause_max, limits.body_bytes);
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = origin_form(&parts.uri);
    *request.headers_mut() = parts.headers;
    let outgoing = Outgoing { request, upload, is_upgrade: visitor.is_some(), first_byte };
    (Box::new(outgoing), visitor)
}

/// The host as the visitor wrote it, port included.
fn written_host(parts: &http::request::Parts) -> HeaderValue {
    let field = parts.headers.get(http::header::HOST).cloned();
    let of_target = || HeaderValue::from_str(parts.uri.authority()?.as_str()).ok();
    field.or_else(of_target).unwrap_or_else(|| HeaderValue::from_static(""))
}

fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

async fn to_api(
    client: &Arc<Client>,
    request: Request<Incoming>,
    id: &HeaderValue,
    ticket: &mut Ticket,
) -> Result<Answered, Failure> {
    // The API holds long polls and streams; it has limits of its own.
    let first_byte = client.proxy.limits.stream_idle;
    let (mut outgoing, visitor) = outgoing(client, request, None, id, ticket.number(), first_byte);
    let upload = outgoing.upload.clone();
    ticket.uploads(upload.as_ref());
    loop {
        let pooled = if outgoing.is_upgrade { None } else { client.api.take() };
        let is_pooled = pooled.is_some();
        let sender = match pooled {
            Some(sender) => sender,
            None => client.api.connect().await.map_err(|_| Failure::ApiAway)?,
        };
        match send(sender, outgoing, is_pooled).await {
            Sent::Answered(response, sender) => {
                let link = Arc::clone(&client.api);
                let back = Back::Api { sender, link };
                return Ok(Answered { response, back, upload, visitor });
            }
            Sent::Again(again) if is_pooled => outgoing = again,
            Sent::Again(_) => return Err(Failure::ApiAway),
            Sent::Failed(failure) => return Err(failure),
        }
    }
}

async fn to_service(
    client: &Arc<Client>,
    request: Request<Incoming>,
    label: &str,
    id: &HeaderValue,
    ticket: &mut Ticket,
) -> Result<Answered, Failure> {
    let proxy = &client.proxy;
    let service = proxy.table.find(label).ok_or(Failure::NoSuchService)?;
    ticket.names(service.name());
    let first_byte = first_byte(proxy, &service, is_grpc(&request));
    let number = ticket.number();
    let (mut outgoing, visitor) = outgoing(client, request, Some(label), id, number, first_byte);
    let upload = outgoing.upload.clone();
    ticket.uploads(upload.as_ref());
    let mut wait = Wait::new(proxy);
    loop {
        // The first attempt needs no `Wait`, and almost every request has just one.
        let failure = match find(proxy, label) {
            Err(failure) => failure,
            Ok((_, lease)) => match attempt(client, &lease, outgoing).await {
                Attempt::Answered(response, sender) => {
                    let idle_max = proxy.limits.idle_upstream;
                    let back = Back::Service { sender, lease, idle_max };
                    return Ok(Answered { response, back, upload, visitor });
                }
                Attempt::Failed(failure) => return Err(failure),
                Attempt::Nobody(back, error) => {
                    outgoing = back;
                    Failure::Unreachable(error)
                }
            },
        };
        wait.after(failure).await?;
    }
}

enum Attempt {
    Answered(Response<Incoming>, crate::upstream::Sender),
    Failed(Failure),
    /// Nobody took the request; here it is again.
    Nobody(Box<Outgoing>, ConnectError),
}

/// Sends a request to an endpoint: on a pooled connection if there is one that
/// still works, else on a new one.
async fn attempt(client: &Client, lease: &Lease, mut outgoing: Box<Outgoing>) -> Attempt {
    let (upstream, metrics) = (lease.upstream(), &client.proxy.metrics);
    outgoing.speak(upstream.protocol());
    let idle_max = outgoing.idle_max(client.proxy.limits.idle_upstream_time);
    while let Some(sender) = upstream.take(idle_max) {
        match send(sender, outgoing, true).await {
            Sent::Answered(response, sender) => return Attempt::Answered(response, sender),
            Sent::Failed(failure) => return Attempt::Failed(failure),
            Sent::Again(again) => outgoing = again,
        }
        metrics.upstream_retries.add(1);
    }
    metrics.upstream_connects.add(1);
    let sender = match upstream.connect().await {
        Ok(sender) => sender,
        Err(error) => return Attempt::Nobody(outgoing, error),
    };
    match send(sender, outgoing, false).await {
        Sent::Answered(response, sender) => Attempt::Answered(response, sender),
        Sent::Failed(failure) => Attempt::Failed(failure),
        Sent::Again(again) => {
            let closed = std::io::ErrorKind::ConnectionReset.into();
            Attempt::Nobody(again, ConnectError::Absent(closed))
        }
    }
}

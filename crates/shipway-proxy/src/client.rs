//! One visitor's connection, from its first byte to its last answer.
//!
//! The first bytes say which protocol it speaks. HTTP/1 goes through the guard;
//! HTTP/2 (with prior knowledge) has framing that leaves nothing to guess.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::api_link::ApiLink;
use crate::config::Serves;
use crate::forward;
use crate::guard::stream::{Gate, Guarded, Patience};
use crate::guard::{FIELDS_MAX, HEAD_BYTES_MAX};
use crate::metrics::Limit;
use crate::server::{Place, Proxy};
use crate::streams::{Rewound, Visitor};

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// HTTP/2: streams at a time, and bytes a visitor may send ahead of its reader or
/// we ahead of the visitor. Together they bound one connection's memory to some 10 MiB.
const STREAMS_MAX: u32 = 100;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const STREAM_SEND_BUFFER: usize = 64 * 1024;

/// HTTP/2: how often a quiet peer is asked whether it is there, and how long it may take.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// A visitor's connection, as every request on it sees it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) peer: SocketAddr,
    pub(crate) serves: Serves,
    pub(crate) gate: Arc<Gate>,
    pub(crate) api: Arc<ApiLink>,
    /// Owns tasks that outlive the connection's own.
    pub(crate) tasks: TaskTracker,
    requests: AtomicU64,
    active: AtomicU64,
    _place: Place,
}

/// A connection just accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) serves: Serves,
    pub(crate) place: Place,
    pub(crate) tasks: TaskTracker,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(proxy: Arc<Proxy>, accepted: Accepted) {
    let socket = Arc::new(accepted.socket);
    // Small answers must not wait for the acknowledgement of earlier ones.
    drop(socket.set_nodelay(true));
    let first = tokio::time::timeout(proxy.limits.header_time, first_bytes(&socket));
    let (prefix, is_http2) = tokio::select! {
        first = first => match first {
            Ok(Some(first)) => first,
            Ok(None) => return,
            Err(_) => return proxy.metrics.limit(Limit::HeaderTime),
        },
        () = proxy.drain.cancelled() => return,
    };
    let api_socket = proxy.api_socket.clone();
    let client = Arc::new(Client {
        peer: accepted.peer,
        serves: accepted.serves,
        gate: Arc::default(),
        api: Arc::new(ApiLink::new(api_socket, Arc::clone(&socket))),
        tasks: accepted.tasks,
        requests: AtomicU64::new(0),
        active: AtomicU64::new(0),
        _place: accepted.place,
        proxy,
    });
    let stream = Rewound::new(prefix, Visitor(socket));
    if is_http2 {
        serve_http2(client, stream).await;
    } else {
        serve_http1(client, stream).await;
    }
}

/// Reads until it is clear which protocol is spoken; `None`: the visitor left.
async fn first_bytes(socket: &Arc<TcpStream>) -> Option<(Bytes, bool)> {
    let mut visitor = Visitor(Arc::clone(socket));
    let mut bytes = BytesMut::with_capacity(4096);
    loop {
        if visitor.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let compared = bytes.len().min(PREFACE.len());
        if bytes[..compared] != PREFACE[..compared] {
            return Some((bytes.freeze(), false));
        }
        if compared == PREFACE.len() {
            return Some((bytes.freeze(), true));
        }
    }
}

async fn serve_http1(client: Arc<Client>, stream: Rewound<Visitor>) {
    let limits = &client.proxy.limits;
    let patience = Patience {
        header: limits.header_time,
        idle: limits.idle,
        write: limits.response_idle,
    };
    let guarded = Guarded::new(stream, Arc::clone(&client.gate), patience);
    let drain = client.proxy.drain.clone();
    let serving = service_fn(|request| respond(Arc::clone(&client), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The guard keeps this time, because it also answers when it is up.
        .header_read_timeout(None)
        .max_headers(FIELDS_MAX)
        .max_buf_size(2 * HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(guarded), serving)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    note_end(&client, ended);
}

async fn serve_http2(client: Arc<Client>, stream: Rewound<Visitor>) {
    let serving = service_fn(|request| respond(Arc::clone(&client), request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .serve_connection(TokioIo::new(stream), serving);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = until_unwanted(&client) => {
            connection.as_mut().graceful_shutdown();
            // With nothing in flight there is nothing to be graceful about for long.
            let limit = client.proxy.limits.header_time;
            loop {
                if let Ok(ended) = tokio::time::timeout(limit, connection.as_mut()).await {
                    break ended;
                }
                if client.active.load(Ordering::Acquire) == 0 {
                    break Ok(());
                }
            }
        }
    };
    note_end(&client, ended);
}

/// Waits until the proxy drains or the connection has been without requests for
/// too long. HTTP/1 leaves this to the guard, which sees the bytes.
async fn until_unwanted(client: &Client) {
    let quiet = async {
        let mut limit = client.proxy.limits.header_time;
        let mut before = 0;
        loop {
            tokio::time::sleep(limit).await;
            let requests = client.requests.load(Ordering::Acquire);
            if requests == before && client.active.load(Ordering::Acquire) == 0 {
                return;
            }
            before = requests;
            limit = client.proxy.limits.idle;
        }
    };
    tokio::select! {
        () = quiet => {}
        () = client.proxy.drain.cancelled() => {}
    }
}

fn note_end(client: &Client, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        // Visitors leave in the middle all the time; it is their right.
        tracing::trace!(peer = %client.peer, %error, "a visitor's connection broke");
    }
}

async fn respond(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<http::Response<crate::body::Body>, Infallible> {
    Ok(Box::pin(forward::answer(client, request)).await)
}

/// One request on its way through the proxy; dropped when its answer is over.
#[derive(Debug)]
pub(crate) struct Ticket {
    client: Arc<Client>,
    number: u64,
    started: Instant,
    bytes: u64,
    record: Option<Box<Record>>,
}

/// What the access log says; collected only when somebody listens.
#[derive(Debug)]
struct Record {
    method: http::Method,
    host: String,
    path: String,
    service: String,
    status: StatusCode,
    id: String,
}

impl Ticket {
    /// Counts a request in.
    pub(crate) fn new(client: &Arc<Client>, request: &Request<Incoming>) -> Self {
        client.active.fetch_add(1, Ordering::AcqRel);
        Self {
            number: client.requests.fetch_add(1, Ordering::AcqRel) + 1,
            client: Arc::clone(client),
            started: Instant::now(),
            bytes: 0,
            record: tracing::enabled!(tracing::Level::DEBUG).then(|| Box::new(Record::new(request))),
        }
    }

    /// Its number on its connection, counted from 1.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The proxy it goes through.
    pub(crate) fn proxy(&self) -> &Proxy {
        &self.client.proxy
    }

    /// Notes which service it means.
    pub(crate) fn names(&mut self, service: &str) {
        if let Some(record) = &mut self.record {
            service.clone_into(&mut record.service);
        }
    }

    /// Notes the head of its answer.
    pub(crate) fn answered(&mut self, status: StatusCode, id: &HeaderValue) {
        self.proxy().metrics.answer(status, self.started.elapsed());
        if let Some(record) = &mut self.record {
            record.status = status;
            id.to_str().unwrap_or_default().clone_into(&mut record.id);
        }
    }

    /// Notes bytes of its answer's body.
    pub(crate) const fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Record {
    fn new(request: &Request<Incoming>) -> Self {
        let field = request.headers().get(http::header::HOST);
        let field = field.and_then(|host| host.to_str().ok());
        let host = field.or_else(|| request.uri().host()).unwrap_or_default();
        Self {
            method: request.method().clone(),
            host: host.to_owned(),
            // Queries carry secrets too often.
            path: request.uri().path().to_owned(),
            service: String::new(),
            status: StatusCode::default(),
            id: String::new(),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.client.gate.answered();
        self.client.active.fetch_sub(1, Ordering::AcqRel);
        self.proxy().metrics.response_bytes.add(self.bytes);
        let Some(record) = &self.record else {
            return;
        };
        let duration_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(
            request.id = %record.id,
            peer = %self.client.peer,
            method = %record.method,
            host = %record.host,
            path = %record.path,
            service.name = %record.service,
            status = record.status.as_u16(),
            bytes = self.bytes,
            duration_us,
            "request"
        );
    }
}

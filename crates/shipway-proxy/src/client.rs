//! One visitor's connection, from its first byte to its last answer.
//!
//! The first bytes say which protocol it speaks. HTTP/1 begins on the fast path and
//! goes through the guard to hyper when it asks for more than that knows; HTTP/2 (with prior knowledge) has framing that leaves nothing to guess.

mod http2;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::api_link::ApiLink;
use crate::config::Serves;
use crate::fast::{self, HandOver};
use crate::forward;
use crate::guard::stream::{Guarded, Patience};
use crate::guard::{FIELDS_MAX, Gate, HEAD_BYTES_MAX};
use crate::headers::VisitorAddress;
use crate::metrics::Limit;
use crate::server::{Place, Proxy};
use crate::streams::{Rewound, Visitor};

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A visitor's connection, as every request on it sees it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) peer: SocketAddr,
    pub(crate) from: VisitorAddress,
    pub(crate) serves: Serves,
    pub(crate) gate: Arc<Gate>,
    pub(crate) api: Arc<ApiLink>,
    /// Owns tasks that outlive the connection's own.
    pub(crate) tasks: TaskTracker,
    /// Requests so far.
    pub(crate) requests: AtomicU64,
    /// Requests whose answer is not over.
    pub(crate) active: AtomicU64,
    /// HTTP/2: answers of which the visitor was offered a piece it has not taken
    /// yet, and until when it may take it. (HTTP/1 has one answer at a time, and the guard's clock.)
    unread: Option<Mutex<HashMap<u64, std::time::Instant>>>,
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
    // Small answers must not wait for the acknowledgement of earlier ones.
    drop(accepted.socket.set_nodelay(true));
    let (read, write) = accepted.socket.into_split();
    let mut visitor = Visitor { read, write: Arc::new(write) };
    let first = tokio::time::timeout(proxy.limits.header_time, first_bytes(&mut visitor));
    let (prefix, is_http2) = tokio::select! {
        first = first => match first {
            Ok(Some(first)) => first,
            Ok(None) => return,
            Err(_) => return proxy.metrics.limit(Limit::HeaderTime),
        },
        () = proxy.drained() => return,
    };
    let api_socket = proxy.api_socket.clone();
    let client = Arc::new(Client {
        peer: accepted.peer,
        from: VisitorAddress::new(accepted.peer.ip()),
        serves: accepted.serves,
        gate: Arc::default(),
        api: Arc::new(ApiLink::new(api_socket, Arc::clone(&visitor.write))),
        tasks: accepted.tasks,
        requests: AtomicU64::new(0),
        active: AtomicU64::new(0),
        unread: is_http2.then(Mutex::default),
        _place: accepted.place,
        proxy,
    });
    if is_http2 {
        return Box::pin(http2::serve(client, Rewound::new(prefix, visitor))).await;
    }
    let rest = if client.proxy.is_fast {
        fast::serve(&client, visitor, prefix).await
    } else {
        Some(HandOver { visitor, bytes: prefix, head_since: Instant::now() })
    };
    if let Some(HandOver { visitor, bytes, head_since }) = rest {
        // Boxed: while a connection is on the fast path, its task stays small.
        Box::pin(serve_http1(client, Rewound::new(bytes, visitor), head_since)).await;
    }
}

/// Reads until it is clear which protocol is spoken; `None`: the visitor left.
async fn first_bytes(visitor: &mut Visitor) -> Option<(Bytes, bool)> {
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

async fn serve_http1(client: Arc<Client>, stream: Rewound<Visitor>, head_since: Instant) {
    let limits = &client.proxy.limits;
    let patience = Patience { header: limits.header_time, idle: limits.idle, write: limits.response_idle };
    let guarded = Guarded::new(stream, Arc::clone(&client.gate), patience, head_since);
    let serving = service_fn(|request| respond_last(Arc::clone(&client), request));
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
        () = client.proxy.drained() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if client.gate.is_unread() {
        client.proxy.metrics.limit(Limit::ResponseIdle);
    }
    note_end(&client, ended);
}

/// While the proxy drains, every answer of HTTP/1 is its connection's last. (HTTP/2
/// has a message of its own for that.)
async fn respond_last(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<http::Response<crate::body::Body>, Infallible> {
    let proxy = Arc::clone(&client.proxy);
    let mut response = respond(client, request).await?;
    if proxy.drain.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
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

//! A visitor that speaks HTTP/2.
//!
//! Its framing leaves nothing to guess, but gives a visitor more ways to hold on to
//! things: silent connections, and answers it asked for and does not read.

use std::collections::HashMap;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{Client, note_end, respond};
use crate::guard::HEAD_BYTES_MAX;
use crate::metrics::Limit;
use crate::streams::{Rewound, Visitor};

/// Streams at a time, and bytes a visitor may send ahead of its reader or
/// we ahead of the visitor. Together they bound one connection's memory to some 15 MiB.
const STREAMS_MAX: u32 = 100;
const STREAM_WINDOW: u32 = 128 * 1024;
/// It also decides how many small frames may wait for their reader (see
/// `upstream::h2c`): some 17,000, so that a call that streams messages of a few bytes to a
/// slow service is slowed down, not ended.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const STREAM_SEND_BUFFER: usize = 64 * 1024;

/// How often a quiet peer is asked whether it is there, and how long it may take.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// Serves a connection until it ends.
pub(super) async fn serve(client: Arc<Client>, stream: Rewound<Visitor>) {
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
        end = watch(&client) => match end {
            End::Now => Ok(()),
            End::Gracefully => {
                connection.as_mut().graceful_shutdown();
                finish(&client, connection).await
            }
        }
    };
    if ended.as_ref().is_err_and(is_flood) {
        client.proxy.metrics.limit(Limit::Flood);
    }
    note_end(&client, ended);
}

/// Whether the connection was ended because its frames were too many: resets,
/// continuations, settings, empty ones.
fn is_flood(error: &hyper::Error) -> bool {
    let of_protocol = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    of_protocol.is_some_and(|error| error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

/// How an HTTP/2 connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its requests are still answered.
    Gracefully,
    /// It has earned nothing more.
    Now,
}

/// Waits until the proxy drains, the connection has been without requests for too
/// long, or its visitor does not read what it asked for. HTTP/1 leaves this to the
/// guard, which sees the bytes.
async fn watch(client: &Client) -> End {
    let limits = &client.proxy.limits;
    let round = limits.header_time.min(limits.idle).min(limits.response_idle);
    let (mut quiet, mut before) = (Instant::now(), 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(round) => {}
            () = client.proxy.drain.cancelled() => return End::Gracefully,
        }
        if client.is_unread() {
            client.proxy.metrics.limit(Limit::ResponseIdle);
            return End::Now;
        }
        let requests = client.requests.load(Ordering::Acquire);
        if requests != before || client.active.load(Ordering::Acquire) > 0 {
            (quiet, before) = (Instant::now(), requests);
        }
        let limit = if requests == 0 { limits.header_time } else { limits.idle };
        if quiet.elapsed() >= limit {
            return End::Gracefully;
        }
    }
}

/// Lets requests in flight finish. A visitor that only holds the connection open
/// after them is not waited for.
async fn finish<C>(client: &Client, mut connection: Pin<&mut C>) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let limits = &client.proxy.limits;
    loop {
        if let Ok(ended) = tokio::time::timeout(limits.header_time, connection.as_mut()).await {
            return ended;
        }
        let is_done = client.active.load(Ordering::Acquire) == 0;
        if is_done || client.is_unread() {
            return Ok(());
        }
    }
}

impl Client {
    pub(crate) fn unread(&self) -> Option<MutexGuard<'_, HashMap<u64, Instant>>> {
        let unread = self.unread.as_ref()?;
        Some(unread.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_unread(&self) -> bool {
        let now = Instant::now();
        self.unread().is_some_and(|unread| unread.values().any(|until| *until <= now))
    }
}

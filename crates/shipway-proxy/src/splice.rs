//! Two connections that speak another protocol from now on.
//!
//! Started only after the 101. Bytes are carried both ways until both sides have
//! ended, one breaks, or nothing has moved for long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use crate::body::Back;
use crate::client::Client;

/// Bytes carried at a time, each way.
const BUFFER: usize = 16 * 1024;

/// Carries bytes between a visitor and a service, in a task that holds on to
/// everything that counts this connection: its place among the visitors and, in
/// `back`, its request at the endpoint.
pub(crate) fn spawn(client: Arc<Client>, visitor: OnUpgrade, service: OnUpgrade, back: Back) {
    client.proxy.metrics.upgrades.add(1);
    let tracker = client.tasks.clone();
    tracker.spawn(async move {
        if let Err(error) = run(&client, visitor, service).await {
            tracing::debug!(%error, peer = %client.peer, "a switched connection broke");
        }
        drop(back);
    });
}

async fn run(client: &Client, visitor: OnUpgrade, service: OnUpgrade) -> io::Result<()> {
    let both = async { tokio::try_join!(visitor, service) };
    let limits = &client.proxy.limits;
    let (visitor, service) = tokio::time::timeout(limits.header_time, both).await?.map_err(io::Error::other)?;
    let moved = AtomicU64::new(0);
    let mut visitor = Counted { io: TokioIo::new(visitor), moved: &moved };
    let mut service = Counted { io: TokioIo::new(service), moved: &moved };
    let carrying = copy_bidirectional_with_sizes(&mut visitor, &mut service, BUFFER, BUFFER);
    tokio::pin!(carrying);
    loop {
        let before = moved.load(Ordering::Relaxed);
        if let Ok(end) = tokio::time::timeout(limits.stream_idle, &mut carrying).await {
            return end.map(drop);
        }
        if moved.load(Ordering::Relaxed) == before {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Counts what is read: the sign that a connection is alive.
struct Counted<'a> {
    io: TokioIo<Upgraded>,
    moved: &'a AtomicU64,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let count = buffer.filled().len() - before;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

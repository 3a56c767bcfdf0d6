//! HTTP/2 without TLS to a service that said it speaks it (RFC 9113 §3.3).
//!
//! One request at a time, like every connection to a service: a stream whose visitor
//! does not read fills the window of its own connection only, and giving a request
//! up ends its connection, which a service sees as it would see a reset.

use std::io;

use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::ConnectError;
use super::sender::{RESPONSE_HEAD_MAX, Sender};
use crate::streams::Inner;

/// What a service may send ahead of its visitor, and we ahead of the service.
const STREAM_WINDOW: u32 = 64 * 1024;
const SEND_BUFFER: usize = 64 * 1024;

/// One request has the connection to itself, so its own window is what counts. But h2
/// ends a connection on which too many small frames wait for their reader, and takes
/// the measure from this window: half of it, at 256 bytes less its own for each frame.
/// A server that streams messages of one byte to a slow visitor must not meet that.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Runs what hyper spawns, until the connection's [`Sender`] is dropped.
#[derive(Debug, Clone)]
struct Tasks(CancellationToken);

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let end = self.0.clone();
        tokio::spawn(async move { end.run_until_cancelled_owned(task).await });
    }
}

/// Starts HTTP/2 on a connection.
pub(super) async fn handshake(io: Inner) -> Result<Sender, ConnectError> {
    let tasks = Tasks(CancellationToken::new());
    let guard = tasks.0.clone().drop_guard();
    let (requests, connection) = http2::Builder::new(tasks.clone())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(RESPONSE_HEAD_MAX).unwrap_or(u32::MAX))
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| ConnectError::Failed(io::Error::other(error)))?;
    tasks.execute(async move {
        // Its errors reach whoever waits for the response.
        if let Err(error) = connection.await {
            tracing::trace!(%error, "a connection to an endpoint ended");
        }
    });
    Ok(Sender::h2c(requests, guard))
}

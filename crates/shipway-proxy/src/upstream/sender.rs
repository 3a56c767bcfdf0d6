//! A connection as its requests see it, whichever protocol it speaks.
//!
//! HTTP/1.1 is started here, HTTP/2 in [`super::h2c`]. Dropping a [`Sender`] ends its
//! connection at once. hyper alone would first send what it has of a body to a
//! service that may never read it, and hold on to the visitor whose body that is.

use std::io;

use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio_util::sync::DropGuard;

use super::ConnectError;
use crate::body::RequestBody;
use crate::streams::Inner;

/// Longest response head a container may send, in bytes, and most fields in it.
pub(super) const RESPONSE_HEAD_MAX: usize = 256 * 1024;
const RESPONSE_FIELDS_MAX: usize = 256;

/// A connection that can carry one request at a time.
#[derive(Debug)]
pub(crate) struct Sender(Kind);

#[derive(Debug)]
enum Kind {
    Http1 { requests: http1::SendRequest<RequestBody>, driver: AbortHandle },
    H2c { requests: http2::SendRequest<RequestBody>, _tasks: DropGuard },
}

impl Sender {
    /// Of HTTP/2; `tasks` ends all that drives it.
    pub(super) const fn h2c(requests: http2::SendRequest<RequestBody>, tasks: DropGuard) -> Self {
        Self(Kind::H2c { requests, _tasks: tasks })
    }

    /// Whether a request may go out on it.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.0 {
            Kind::Http1 { requests, .. } => requests.is_ready(),
            Kind::H2c { requests, .. } => requests.is_ready(),
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.0 {
            Kind::Http1 { requests, .. } => requests.is_closed(),
            Kind::H2c { requests, .. } => requests.is_closed(),
        }
    }

    /// Sends a request.
    pub(crate) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<> {
        match &mut self.0 {
            Kind::Http1 { requests, .. } => Either::Left(requests.try_send_request(request)),
            Kind::H2c { requests, .. } => Either::Right(requests.try_send_request(request)),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Kind::Http1 { driver, .. } = &self.0 {
            driver.abort();
        }
    }
}

/// Starts HTTP/1.1 on a connection.
pub(crate) async fn handshake(io: Inner) -> Result<Sender, ConnectError> {
    let (requests, connection) = http1::Builder::new()
        .max_headers(RESPONSE_FIELDS_MAX)
        .max_buf_size(RESPONSE_HEAD_MAX)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| ConnectError::Failed(io::Error::other(error)))?;
    let driver = tokio::spawn(async move {
        // Its errors reach whoever waits for the response.
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "a connection to an endpoint ended");
        }
    });
    Ok(Sender(Kind::Http1 { requests, driver: driver.abort_handle() }))
}

//! One request over one connection, and when it may be sent again.
//!
//! A request goes out twice only if the first time cannot have had an effect:
//! hyper gave it back unsent, or it is idempotent, has no body, and the pooled
//! connection it went out on closed without an answer. Nothing of a body is ever
//! sent twice.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::answer::Failure;
use crate::body::{RequestBody, Upload, UploadEnd};
use crate::headers;
use crate::speech;
use crate::upstream::Sender;
use crate::wire::Protocol;

/// A request ready for a service.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) request: Request<RequestBody>,
    /// There is one where there is a body.
    pub(crate) upload: Option<Arc<Upload>>,
    /// Whether it asks for another protocol.
    pub(crate) is_upgrade: bool,
    /// See `Limits::first_byte`.
    pub(crate) first_byte: Duration,
}

/// A connection idle for longer than this is not given a request that could not
/// be sent again: its service may be closing it right now.
pub(crate) const FRESH: Duration = Duration::from_secs(1);

impl Outgoing {
    /// Whether it could be sent again after a connection closed without an answer.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.upload.is_none() && self.request.method().is_idempotent()
    }

    /// Puts it into the words of `protocol`. HTTP/2 cannot be switched to another one, and
    /// a service may always answer without switching.
    pub(crate) fn speak(&mut self, protocol: Protocol) {
        speech::put_into(protocol, &mut self.request);
        self.is_upgrade &= protocol == Protocol::Http1;
    }

    /// How long the connection it goes out on may have been idle.
    pub(crate) fn idle_max(&self, usual: Duration) -> Duration {
        if self.is_upgrade {
            Duration::ZERO
        } else if self.is_repeatable() {
            usual
        } else {
            FRESH.min(usual)
        }
    }
}

/// What came of sending.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The response's head, and the connection its body comes on.
    Answered(Response<Incoming>, Sender),
    /// Nothing was sent, or nothing happened; try another connection.
    Again(Box<Outgoing>),
    /// It is over.
    Failed(Failure),
}

/// Sends `outgoing` and waits for the head of its response.
pub(crate) async fn send(mut sender: Sender, outgoing: Box<Outgoing>, is_pooled: bool) -> Sent {
    let copy = (is_pooled && outgoing.is_repeatable()).then(|| copy_of(&outgoing.request));
    let Outgoing { request, upload, is_upgrade, first_byte } = *outgoing;
    let asked = request.method().clone();
    let sending = sender.send(request);
    let Some(sent) = within(sending, upload.as_deref(), first_byte).await else {
        return Sent::Failed(Failure::FirstByte);
    };
    let again = |request| {
        let upload = upload.clone();
        Sent::Again(Box::new(Outgoing { request, upload, is_upgrade, first_byte }))
    };
    match sent {
        Ok(response) => check(response, sender, is_upgrade, &asked),
        Err(mut error) => match (error.take_message(), copy) {
            (Some(unsent), _) => again(unsent),
            (None, Some(parts)) if !is_answer(error.error()) => {
                again(Request::from_parts(parts, RequestBody::default()))
            }
            _ => Sent::Failed(failure(error.error(), upload.as_deref())),
        },
    }
}

/// Whether a service has said something, if not what it should.
fn is_answer(error: &hyper::Error) -> bool {
    let of_stream = of_h2(error).is_some_and(|error| {
        error.is_library() || (error.is_reset() && error.reason() != Some(h2::Reason::REFUSED_STREAM))
    });
    error.is_parse() || of_stream
}

fn of_h2(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref())
}

fn copy_of(request: &Request<RequestBody>) -> Parts {
    let mut parts = Request::new(()).into_parts().0;
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.headers = request.headers().clone();
    parts
}

/// A 101 that nobody asked for switches nothing, and two lengths are none.
fn check(mut response: Response<Incoming>, sender: Sender, is_upgrade: bool, asked: &Method) -> Sent {
    let is_switch = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
    if is_switch && (!is_upgrade || *asked == Method::HEAD) {
        return Sent::Failed(Failure::BadAnswer);
    }
    // With a body, hyper has looked.
    if *asked == Method::HEAD && !headers::has_one_length(response.headers_mut()) {
        return Sent::Failed(Failure::BadAnswer);
    }
    Sent::Answered(response, sender)
}

/// Waits for `sending`, as long as the upload moves or, once that is over, `limit`.
async fn within<F: Future>(sending: F, upload: Option<&Upload>, limit: Duration) -> Option<F::Output> {
    let Some(upload) = upload else {
        return timeout(limit, sending).await.ok();
    };
    tokio::pin!(sending);
    loop {
        let before = (upload.bytes(), upload.end());
        if let Ok(sent) = timeout(limit, &mut sending).await {
            return Some(sent);
        }
        if (upload.bytes(), upload.end()) == before {
            return None;
        }
    }
}

fn failure(error: &hyper::Error, upload: Option<&Upload>) -> Failure {
    match upload.map(Upload::end) {
        Some(UploadEnd::TooLarge) => Failure::BodyTooLarge,
        Some(UploadEnd::Late) => Failure::BodyLate,
        Some(UploadEnd::Broken) => Failure::BodyBroken,
        _ if error.is_parse() || of_h2(error).is_some_and(h2::Error::is_library) => Failure::BadAnswer,
        _ => Failure::ClosedEarly,
    }
}

//! A response's body on its way to a visitor.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::pace::Pace;
use super::request::{Upload, UploadEnd};
use crate::api_link::ApiLink;
use crate::headers;
use crate::metrics::Limit;
use crate::table::Lease;
use crate::ticket::Ticket;
use crate::upstream::Sender;

/// What a visitor is sent; ends its [`Ticket`] when it is over.
#[derive(Debug)]
pub(crate) struct Body {
    kind: Kind,
    ticket: Ticket,
}

#[derive(Debug)]
enum Kind {
    Empty,
    Text(Bytes),
    Stream(Box<ResponseBody>),
}

impl Body {
    /// Nothing.
    pub(crate) const fn empty(ticket: Ticket) -> Self {
        let kind = Kind::Empty;
        Self { kind, ticket }
    }

    /// Something of our own.
    pub(crate) const fn text(text: Bytes, ticket: Ticket) -> Self {
        let kind = Kind::Text(text);
        Self { kind, ticket }
    }

    /// A service's, passed on as it comes.
    pub(crate) fn stream(body: ResponseBody, ticket: Ticket) -> Self {
        let kind = Kind::Stream(Box::new(body));
        Self { kind, ticket }
    }
}

/// Where a connection goes when its response has ended properly.
#[derive(Debug)]
pub(crate) enum Back {
    /// To the endpoint's pool.
    Service {
        /// The connection.
        sender: Sender,
        /// The request's count at the endpoint.
        lease: Lease,
        /// See `Limits::idle_upstream`.
        idle_max: usize,
    },
    /// To the same visitor's next request.
    Api {
        /// The connection.
        sender: Sender,
        /// The visitor's own connections to the API.
        link: Arc<ApiLink>,
    },
}

impl Back {
    fn put(self) {
        match self {
            Self::Service { sender, lease, idle_max } => lease.upstream().put(sender, idle_max),
            Self::Api { sender, link } => link.put(sender),
        }
    }
}

/// A service's body.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    back: Option<Back>,
    upload: Option<Arc<Upload>>,
    pace: Pace,
}

impl ResponseBody {
    /// `back` is where the connection goes in the end.
    pub(crate) const fn new(incoming: Incoming, back: Back, upload: Option<Arc<Upload>>, pause_max: Duration) -> Self {
        Self { incoming, back: Some(back), upload, pace: Pace::new(pause_max) }
    }

    fn poll(&mut self, cx: &mut Context<'_>, ticket: &mut Ticket) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.pace.moved();
                if let Some(trailers) = frame.trailers_mut() {
                    headers::clean_trailers(trailers);
                }
                ticket.sent(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.give_up();
                ticket.proxy().metrics.upstream_failures.add(1);
                // An HTTP/2 visitor gets the reason of an HTTP/2 service: hyper looks for
                // it among the causes.
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            Poll::Pending => {
                ready!(self.pace.poll_late(cx));
                self.give_up();
                ticket.proxy().metrics.limit(Limit::ResponseIdle);
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
        }
    }

    /// The response is complete: the connection can carry another request, unless
    /// this one's body is still under way. Then nobody wants the rest of it.
    fn finish(&mut self) {
        let is_uploading = |upload: &Arc<Upload>| upload.end() != UploadEnd::Done;
        if self.upload.as_ref().is_some_and(is_uploading) {
            return self.give_up();
        }
        if let Some(back) = self.back.take() {
            back.put();
        }
    }

    /// Closes the connection with all that is still on it.
    fn give_up(&mut self) {
        self.back = None;
        if let Some(upload) = &self.upload {
            upload.cancel();
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // A body with a known length is over before its end was asked for.
        if self.back.is_some() {
            if self.incoming.is_end_stream() {
                self.finish();
            } else {
                self.give_up();
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        this.ticket.wanted();
        match &mut this.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Stream(body) => body.poll(cx, &mut this.ticket),
            Kind::Text(text) => {
                let text = std::mem::take(text);
                this.kind = Kind::Empty;
                this.ticket.sent(text.len());
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Text(_) => false,
            Kind::Stream(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Text(text) => SizeHint::with_exact(text.len() as u64),
            Kind::Stream(body) => body.incoming.size_hint(),
        }
    }
}

//! One request, from its head to the end of its answer: counted, timed, logged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;

use crate::access::{self, Record};
use crate::body::Upload;
use crate::client::Client;
use crate::server::Proxy;

/// One request on its way through the proxy; dropped when its answer is over.
#[derive(Debug)]
pub(crate) struct Ticket {
    client: Arc<Client>,
    number: u64,
    started: Instant,
    bytes: u64,
    /// How long the visitor may take nothing of its answer.
    pause_max: Duration,
    upload: Option<Arc<Upload>>,
    record: Option<Box<Record>>,
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
            pause_max: client.proxy.limits.response_idle,
            upload: None,
            record: access::is_logged().then(|| Box::new(record_of(request))),
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

    /// Notes that it has a body.
    pub(crate) fn uploads(&mut self, upload: Option<&Arc<Upload>>) {
        self.upload = upload.cloned();
    }

    /// Notes how long the visitor may take nothing of its answer.
    pub(crate) const fn may_pause(&mut self, pause_max: Duration) {
        self.pause_max = pause_max;
    }

    /// Notes the head of its answer.
    pub(crate) fn answered(&mut self, status: StatusCode, id: &HeaderValue) {
        self.proxy().metrics.answer(status, self.started.elapsed());
        if let Some(record) = &mut self.record {
            record.status = status;
            id.to_str().unwrap_or_default().clone_into(&mut record.id);
        }
    }

    /// Notes bytes of its answer's body, offered to the visitor.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some(mut unread) = self.client.unread() {
            unread.insert(self.number, Instant::now() + self.pause_max);
        }
    }

    /// Notes that the visitor wants more: it has taken what it was offered.
    pub(crate) fn wanted(&self) {
        if let Some(mut unread) = self.client.unread() {
            unread.remove(&self.number);
        }
    }
}

fn record_of(request: &Request<Incoming>) -> Record {
    let field = request.headers().get(http::header::HOST);
    let field = field.and_then(|host| host.to_str().ok());
    let host = field.or_else(|| request.uri().host()).unwrap_or_default();
    Record::new(request.method().as_str(), host, request.uri().path())
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.client.gate.answered();
        self.wanted();
        self.client.active.fetch_sub(1, Ordering::AcqRel);
        let metrics = &self.proxy().metrics;
        metrics.response_bytes.add(self.bytes);
        metrics.request_bytes.add(self.upload.as_ref().map_or(0, |upload| upload.bytes()));
        let Some(record) = &self.record else {
            return;
        };
        record.log(self.client.peer, self.bytes, self.started.elapsed());
    }
}

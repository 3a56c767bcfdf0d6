//! The access log: one line a request, written when its answer is over.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

/// Whether somebody listens.
pub(crate) fn is_logged() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// What the line says; collected only when somebody listens.
#[derive(Debug)]
pub(crate) struct Record {
    method: String,
    host: String,
    path: String,
    pub(crate) service: String,
    pub(crate) status: StatusCode,
    pub(crate) id: String,
}

impl Record {
    /// `path` has no query: queries carry secrets too often.
    pub(crate) fn new(method: &str, host: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            service: String::new(),
            status: StatusCode::default(),
            id: String::new(),
        }
    }

    /// Writes the line.
    pub(crate) fn log(&self, peer: SocketAddr, bytes: u64, took: Duration) {
        let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(
            request.id = %self.id,
            peer = %peer,
            method = %self.method,
            host = %self.host,
            path = %self.path,
            service.name = %self.service,
            status = self.status.as_u16(),
            bytes,
            duration_us,
            "request"
        );
    }
}

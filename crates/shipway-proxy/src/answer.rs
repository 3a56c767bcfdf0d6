//! What a visitor is told when there is no service's answer to pass on.
//!
//! Small and plain: one line with the reason, one with the request's id. The API's
//! callers get `problem+json` instead, because that is what they parse, and gRPC's a
//! status of its own.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::guard::Refusal;
use crate::headers::X_REQUEST_ID;
use crate::host::HostError;
use crate::metrics::Limit;
use crate::ticket::Ticket;
use crate::upstream::ConnectError;

/// When to come back after a 503 that passes by itself.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// When to come back after a 503 that somebody must mend.
const RETRY_LATER: Duration = Duration::from_secs(10);

/// What gRPC calls its fields.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Why a request was not answered by a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Host(HostError),
    #[error("this method is not supported")]
    Method,
    #[error("the request has more than 100 headers")]
    TooManyFields,
    #[error("no such service")]
    NoSuchService,
    #[error("the service has too many requests in flight")]
    Busy,
    #[error("too many requests wait for services that are not ready")]
    HeldFull,
    #[error("the service is starting")]
    Starting,
    #[error("the service is stopped")]
    Stopped,
    #[error("the service is unavailable: {0}")]
    Unavailable(Box<str>),
    #[error("the service is unavailable: {0}")]
    Unreachable(ConnectError),
    #[error("the service's answer is not valid HTTP")]
    BadAnswer,
    #[error("the service closed the connection before it answered")]
    ClosedEarly,
    #[error("the service did not answer in time")]
    FirstByte,
    #[error("the request's body is too large")]
    BodyTooLarge,
    #[error("the request's body did not arrive in time")]
    BodyLate,
    #[error("the request's body is broken")]
    BodyBroken,
    #[error("the API is not available right now")]
    ApiAway,
}

impl Failure {
    /// The status it is answered with.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Host(_) | Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoSuchService => StatusCode::NOT_FOUND,
            Self::BadAnswer | Self::ClosedEarly => StatusCode::BAD_GATEWAY,
            Self::FirstByte => StatusCode::GATEWAY_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyLate => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// When another try makes sense.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy | Self::HeldFull | Self::Starting | Self::Unreachable(_) | Self::ApiAway => Some(RETRY_SOON),
            Self::Unavailable(_) => Some(RETRY_LATER),
            _ => None,
        }
    }

    /// The limit that it is a hit of.
    pub(crate) const fn limit(&self) -> Option<Limit> {
        match self {
            Self::Refused(Refusal::HeadTimeout) => Some(Limit::HeaderTime),
            Self::Refused(Refusal::HeadTooLarge | Refusal::TooManyFields) | Self::TooManyFields => {
                Some(Limit::HeadSize)
            }
            Self::Busy => Some(Limit::Concurrency),
            Self::HeldFull => Some(Limit::Held),
            Self::FirstByte => Some(Limit::FirstByte),
            Self::BodyTooLarge => Some(Limit::BodySize),
            Self::BodyLate => Some(Limit::BodyIdle),
            _ => None,
        }
    }

    /// Whether the endpoint is to blame.
    pub(crate) const fn is_upstream(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::BadAnswer | Self::ClosedEarly | Self::FirstByte)
    }

    /// The answer itself.
    pub(crate) fn response(&self, request_id: &HeaderValue, ticket: Ticket) -> Response<Body> {
        let mut response = Response::new(Body::text(Bytes::from(self.text(request_id)), ticket));
        *response.status_mut() = self.status();
        *response.headers_mut() = self.headers(request_id);
        response
    }

    /// The answer for a call of gRPC, which looks for its status in the answer's fields
    /// (and, because nothing follows, in the first ones).
    pub(crate) fn grpc_response(&self, request_id: &HeaderValue, ticket: Ticket) -> Response<Body> {
        let mut response = Response::new(Body::empty(ticket));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(X_REQUEST_ID, request_id.clone());
        headers.insert(GRPC_STATUS, HeaderValue::from(self.grpc_status()));
        let words = percent_encoded(&self.to_string());
        headers.insert(GRPC_MESSAGE, HeaderValue::from_str(&words).unwrap_or(HeaderValue::from_static("")));
        response
    }

    /// As gRPC's own table of statuses of HTTP has it, and where that only says
    /// *unavailable*, what is known better.
    const fn grpc_status(&self) -> u16 {
        const INTERNAL: u16 = 13;
        const UNAVAILABLE: u16 = 14;
        match self {
            Self::NoSuchService => 12,
            Self::FirstByte | Self::BodyLate => 4,
            Self::BodyTooLarge | Self::Busy | Self::HeldFull => 8,
            Self::Refused(_) | Self::Host(_) | Self::Method | Self::TooManyFields => INTERNAL,
            Self::BodyBroken => 1,
            _ => UNAVAILABLE,
        }
    }

    /// The answer's headers, but for those that frame it.
    pub(crate) fn headers(&self, request_id: &HeaderValue) -> HeaderMap {
        let is_api = matches!(self, Self::ApiAway);
        let kind = if is_api { "application/problem+json" } else { "text/plain; charset=utf-8" };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_REQUEST_ID, request_id.clone());
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if self.status() == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        headers
    }

    /// The answer's body.
    pub(crate) fn text(&self, request_id: &HeaderValue) -> String {
        let id = request_id.to_str().unwrap_or_default();
        if matches!(self, Self::ApiAway) { self.problem(id) } else { format!("{self}\nrequest id: {id}\n") }
    }

    /// RFC 9457, with the fields that the API's own problems have, and those in which the `caddy`
    /// command looks for a reason.
    fn problem(&self, id: &str) -> String {
        let status = self.status();
        let detail = format!("{self}; services are not affected, try again in a second");
        serde_json::json!({
            "type": "about:blank",
            "title": "API unavailable",
            "status": status.as_u16(),
            "code": "api_unavailable",
            "detail": detail,
            "request_id": id,
            "status_code": status.as_u16(),
            "error": { "message": detail, "id": id },
        })
        .to_string()
    }
}

/// As gRPC writes its messages: what is not plain ASCII in percent encoding.
fn percent_encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'%' => "%25".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

//! The one place where something that went wrong becomes an answer.
//!
//! Route code returns a [`Reject`]; it carries a [`Problem`] and a few headers.
//! The outermost layer renders it, because only there are the request id, the
//! path and the wished-for form known.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use shipway_api_types::problem::PROBLEM_JSON;
use shipway_api_types::{Problem, ProblemCode};
use shipway_model::{Failure, FailureCode};
use shipway_store::StoreError;

use crate::access::Denied;
use crate::live::LiveError;

/// A request that was not done, on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Reject {
    pub(crate) problem: Box<Problem>,
    pub(crate) headers: HeaderMap,
}

/// How problems on a route look to a client that does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorStyle {
    /// RFC 9457.
    ProblemJson,
    /// The bare code and a newline, as the URL deploy API had it.
    BareCode,
}

impl Reject {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { problem: Box::new(Problem::new(code, detail)), headers: HeaderMap::new() }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    pub(crate) fn field(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        *self.problem = (*self.problem).with_field(pointer, detail);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Our bug: what happened goes to the log, not to the client.
    pub(crate) fn internal(what: impl std::fmt::Display) -> Self {
        tracing::error!(error = %what, "a request met a bug");
        Self::new(ProblemCode::Internal, "")
            .hint("this is a bug: report it with the request id, the log has more under it")
    }

    /// There is no such thing, or it is not to be seen.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("there is no such {what}"))
    }

    /// A wrong parameter of the query, or a wrong header.
    pub(crate) fn parameter(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        Self::new(ProblemCode::InvalidParameter, format!("{pointer}: {detail}")).field(pointer, detail)
    }

    /// Too much at once.
    pub(crate) fn overloaded(what: &str) -> Self {
        Self::new(ProblemCode::Overloaded, format!("too many {what} at once"))
            .hint("try again in a second")
            .header(header::RETRY_AFTER, "1")
    }
}

impl IntoResponse for Reject {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.headers_mut().extend(self.headers);
        response.extensions_mut().insert(self.problem);
        response
    }
}

/// Renders a rejected response's problem.
pub(crate) fn render(response: Response, problem: &Problem, style: ErrorStyle) -> Response {
    let (mut parts, _) = response.into_parts();
    let (media, body) = match style {
        ErrorStyle::ProblemJson => {
            (HeaderValue::from_static(PROBLEM_JSON), serde_json::to_string(problem).unwrap_or_default())
        }
        ErrorStyle::BareCode => (HeaderValue::from_static("text/plain; charset=utf-8"), format!("{}\n", problem.code)),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, media);
    let no_store = HeaderValue::from_static("no-store");
    parts.headers.insert(header::CACHE_CONTROL, no_store);
    Response::from_parts(parts, body.into())
}

impl From<Denied> for Reject {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated => Self::new(ProblemCode::Unauthorized, "")
                .hint("send `Authorization: Bearer <token>`; `shipway token create` makes one")
                .header(header::WWW_AUTHENTICATE, "Bearer realm=\"shipway\""),
            Denied::Forbidden => Self::new(ProblemCode::Forbidden, ""),
            Denied::Hidden => Self::not_found("thing"),
        }
    }
}

impl From<StoreError> for Reject {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound("image") => Self::new(ProblemCode::NoSuchImage, "there is no such image"),
            StoreError::NotFound(what) => Self::not_found(what),
            StoreError::ImageInUse { service } => {
                Self::new(ProblemCode::ImageInUse, format!("service `{service}` has a release on this image"))
                    .hint("delete the service first, or keep the image: a rollback may need it")
            }
            StoreError::VersionMismatch { now } => Self::new(
                ProblemCode::PreconditionFailed,
                format!("the service has changed: its version is \"v{now}\" now"),
            )
            .hint("read it again, then decide again"),
            StoreError::Deleting => Self::new(ProblemCode::Deleting, "the service is being deleted")
                .hint("wait until it is gone, then make it anew"),
            StoreError::Illegal { from, to } => Self::new(
                ProblemCode::Conflict,
                format!("the service is {}: it cannot become {}", from.word(), to.word()),
            ),
            StoreError::Unavailable { reason, source } => {
                tracing::warn!(error = ?source, reason, "the store cannot be used");
                Self::new(ProblemCode::StoreUnavailable, reason)
                    .hint("try again: it recovers by itself when the cause goes")
                    .header(header::RETRY_AFTER, "2")
            }
            StoreError::Stale | StoreError::Corrupt(_) => Self::internal(error),
        }
    }
}

impl From<Failure> for Reject {
    fn from(failure: Failure) -> Self {
        let mut problem = Problem::new(problem_code(failure.code), failure.detail);
        problem.hint = failure.hint;
        problem.log_tail = failure.log_tail;
        let mut reject = Self { problem: Box::new(problem), headers: HeaderMap::new() };
        if reject.problem.status == 503 {
            reject = reject.header(header::RETRY_AFTER, "2");
        }
        reject
    }
}

/// The problem that a failed change is answered with.
const fn problem_code(code: FailureCode) -> ProblemCode {
    match code {
        FailureCode::FetchRefused => ProblemCode::FetchRefused,
        FailureCode::FetchStatus => ProblemCode::FetchStatus,
        FailureCode::FetchFailed => ProblemCode::FetchFailed,
        FailureCode::FetchTimeout => ProblemCode::FetchTimeout,
        FailureCode::FetchTooLarge => ProblemCode::FetchTooLarge,
        FailureCode::ReleaseNotReady => ProblemCode::ReleaseNotReady,
        FailureCode::NoSuchRelease => ProblemCode::NoSuchRelease,
        FailureCode::NoSuchImage => ProblemCode::NoSuchImage,
        FailureCode::NothingToStart => ProblemCode::NothingToStart,
        FailureCode::StorageUnavailable => ProblemCode::StorageUnavailable,
        FailureCode::EngineUnavailable => ProblemCode::EngineUnavailable,
        FailureCode::ModuleRefused => ProblemCode::ModuleRefused,
        FailureCode::ChecksumMismatch => ProblemCode::ChecksumMismatch,
        FailureCode::CompileFailed => ProblemCode::CompileFailed,
        FailureCode::BuildUnusable => ProblemCode::BuildUnusable,
        FailureCode::BuildTimeout => ProblemCode::BuildTimeout,
        FailureCode::BuildTooLarge => ProblemCode::BuildTooLarge,
        FailureCode::Cancelled => ProblemCode::Cancelled,
        FailureCode::Internal => ProblemCode::Internal,
    }
}

impl From<LiveError> for Reject {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::NotRunning => Self::new(ProblemCode::NotRunning, error.to_string())
                .hint("start it, or see its events for why it does not run"),
            LiveError::BadCursor => Self::parameter("query:cursor", error.to_string()),
            LiveError::NoProgram { missing: true, detail } => Self::new(ProblemCode::NoSuchProgram, detail),
            LiveError::NoProgram { missing: false, detail } => Self::new(ProblemCode::NotExecutable, detail),
            LiveError::Refused(detail) => Self::new(ProblemCode::Conflict, detail),
            LiveError::Unavailable(detail) => {
                Self::new(ProblemCode::EngineUnavailable, detail).header(header::RETRY_AFTER, "2")
            }
            LiveError::Internal(detail) => Self::internal(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: [FailureCode; 19] = [
        FailureCode::FetchRefused,
        FailureCode::FetchStatus,
        FailureCode::FetchFailed,
        FailureCode::FetchTimeout,
        FailureCode::FetchTooLarge,
        FailureCode::ReleaseNotReady,
        FailureCode::NoSuchRelease,
        FailureCode::NoSuchImage,
        FailureCode::NothingToStart,
        FailureCode::StorageUnavailable,
        FailureCode::EngineUnavailable,
        FailureCode::ModuleRefused,
        FailureCode::ChecksumMismatch,
        FailureCode::CompileFailed,
        FailureCode::BuildUnusable,
        FailureCode::BuildTimeout,
        FailureCode::BuildTooLarge,
        FailureCode::Cancelled,
        FailureCode::Internal,
    ];

    #[test]
    fn a_failure_keeps_its_word_as_a_problem() {
        for code in CODES {
            assert_eq!(problem_code(code).word(), code.word());
        }
    }
}

//! Asking for a change, and waiting for it as long as the client wants.
//!
//! The API never makes a change itself: it writes down what is wanted and answers
//! from the store when a worker has done it. A client that goes away changes
//! nothing about that.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use shipway_api_types::ProblemCode;
use shipway_model::{ContentKind, Outcome, Service, ServiceId};
use shipway_store::Request;

use crate::app::App;
use crate::present;
use crate::query::Query;
use crate::reply::Reject;
use crate::whereabouts::Whereabouts;

/// Tells whether a change changed anything: a deploy of what is live does not.
const CHANGED: HeaderName = HeaderName::from_static("shipway-changed");
/// How long a change is waited for unless told.
const WAIT_DEFAULT: u64 = 60;
/// The longest `?wait=`.
pub(crate) const WAIT_MAX: u64 = 300;

/// How far a change came while we waited.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Done, as asked.
    Done {
        /// Whether the service was made by this request.
        created: bool,
        /// False when nothing had to change.
        changed: bool,
        /// Which.
        id: ServiceId,
    },
    /// Accepted, and not yet done.
    AtWork(Service),
}

/// How long this request wants to wait.
pub(crate) fn wait_of(query: &Query) -> Duration {
    Duration::from_secs(query.number("wait").unwrap_or(WAIT_DEFAULT).min(WAIT_MAX))
}

/// Asks for a change and waits for it. A change that failed is an `Err`.
pub(crate) async fn ask(app: &App, request: Request, wait: Duration) -> Result<Progress, Reject> {
    let store = &app.parts.store;
    let accepted = store.request(request).await?;
    let mut shutdown = app.parts.shutdown.clone();
    let outcome = tokio::select! {
        outcome = store.wait_task(accepted.task, wait) => outcome?,
        () = shutdown.requested() => None,
    };
    match outcome {
        Some(Outcome::Done { changed, .. }) => {
            // Who is told that it is live must find it live.
            app.parts.live.reachable(accepted.service.id).await;
            Ok(Progress::Done { created: accepted.created, changed, id: accepted.service.id })
        }
        Some(Outcome::Failed(failure)) => Err(Reject::from(failure)),
        None => Ok(Progress::AtWork(accepted.service)),
    }
}

/// Answers with the service: 200 or 201 when done, 202 when not yet.
pub(crate) async fn answer(app: &App, progress: Progress) -> Result<Response, Reject> {
    match progress {
        Progress::Done { created, changed, id } => {
            let service = app.parts.store.find_service_by_id(id).await?;
            let service = service.ok_or_else(|| Reject::not_found("service"))?;
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            let mut response = show(app, status, &service).await?;
            let word = HeaderValue::from_static(if changed { "true" } else { "false" });
            response.headers_mut().insert(CHANGED, word);
            Ok(response)
        }
        Progress::AtWork(service) => {
            let mut response = show(app, StatusCode::ACCEPTED, &service).await?;
            locate(&mut response, &service);
            Ok(response)
        }
    }
}

/// Answers with a service as it is.
pub(crate) async fn show(app: &App, status: StatusCode, service: &Service) -> Result<Response, Reject> {
    let kind = kind_of(app, service).await?;
    let worker = Whereabouts::of(app, service).await?.worker(service);
    let body = present::service(&app.config, service, kind, worker);
    let etag = HeaderValue::from_str(&body.etag).map_err(Reject::internal)?;
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::ETAG, etag);
    if status == StatusCode::CREATED {
        locate(&mut response, service);
    }
    Ok(response)
}

/// The kind of the live release's content, if there is one.
pub(crate) async fn kind_of(app: &App, service: &Service) -> Result<Option<ContentKind>, Reject> {
    let Some(number) = service.state.live_release() else {
        return Ok(None);
    };
    let release = app.parts.store.find_release(service.id, number).await?;
    Ok(release.and_then(|release| release.spec.kind()))
}

fn locate(response: &mut Response, service: &Service) {
    // An id has nothing in it that a header could not carry.
    if let Ok(value) = HeaderValue::from_str(&format!("/v1/services/{}", service.id)) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

/// What `If-Match` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Nothing.
    Absent,
    /// `*`: that the service exists.
    Any,
    /// That it is of this version.
    Version(u64),
}

impl IfMatch {
    /// Reads the header.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Reject> {
        let mut values = headers.get_all(header::IF_MATCH).iter();
        let Some(value) = values.next() else {
            return Ok(Self::Absent);
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let version = version(text).filter(|_| values.next().is_none());
        version.map(Self::Version).ok_or_else(|| {
            Reject::parameter("header:If-Match", "expected one ETag as a service's answer gives it, like \"v7\", or *")
        })
    }

    /// For the store.
    pub(crate) const fn version(self) -> Option<u64> {
        match self {
            Self::Version(version) => Some(version),
            Self::Absent | Self::Any => None,
        }
    }
}

/// Reads an `ETag` of ours.
pub(crate) fn version(etag: &str) -> Option<u64> {
    etag.strip_prefix("\"v")?.strip_suffix('"')?.parse().ok()
}

/// `If-Match` on what does not exist.
pub(crate) fn nothing_to_match() -> Reject {
    Reject::new(ProblemCode::PreconditionFailed, "If-Match was given, and there is no such service")
}

//! Around every request: its id, its span, its metrics, and the last word on how
//! an error looks.
//!
//! This is the outermost layer. A panic in a route ends here, as a 500 that says
//! nothing and a log line that says everything.

use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use shipway_api_types::Problem;
use shipway_api_types::problem::PROBLEM_JSON;
use tokio::time::Instant;
use tracing::Instrument;

use crate::app::App;
use crate::origin;
use crate::reply::{ErrorStyle, Reject, render};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
/// Probes come every few seconds and would drown what people do.
const UNCOUNTED: [&str; 6] = ["/livez", "/readyz", "/readyz/{check}", "/health", "/healthz", "/metrics"];

/// The outermost layer.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let wants_problem = wants_problem(request.headers());
    let id = request_id(request.headers());
    let span = tracing::info_span!(
        "request",
        request.id = %id,
        method = %method,
        route,
        actor = tracing::field::Empty,
        trace.id = trace_id(request.headers()),
    );
    let counted = !UNCOUNTED.contains(&route.as_str());
    let in_flight = counted.then(InFlight::begin);
    let response = pass(app, request, next).instrument(span.clone()).await;
    let response = span.in_scope(|| finish(response, &id, &path, wants_problem));
    let status = response.status().as_u16();
    drop(in_flight);
    if counted {
        count(&method, &route, status, began);
    }
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status, duration_ms, "request answered"));
    response
}

/// Counts a request while it is at work, also when its client goes away.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        metrics::gauge!("http_requests_in_flight").increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!("http_requests_in_flight").decrement(1.0);
    }
}

async fn pass(app: App, request: Request, next: Next) -> Response {
    if let Err(reject) = origin::check_host(request.headers(), &app.config.api_hosts) {
        return reject.into_response();
    }
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => Reject::internal("a route panicked; the panic is in the log").into_response(),
    }
}

fn finish(mut response: Response, id: &str, path: &str, wants_problem: bool) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Box<Problem>>() {
        let own = response.extensions().get::<ErrorStyle>().copied();
        let style = match own {
            Some(style) if !wants_problem => style,
            _ => ErrorStyle::ProblemJson,
        };
        let mut problem = *problem;
        id.clone_into(&mut problem.request_id);
        path.clone_into(&mut problem.instance);
        response = render(response, &problem, style);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    response
}

fn count(method: &http::Method, route: &str, status: u16, began: Instant) {
    let labels = [("method", method_label(method).to_owned()), ("route", route.to_owned())];
    metrics::histogram!("http_request_duration_seconds", &labels).record(began.elapsed().as_secs_f64());
    let [method, route] = labels;
    let labels = [method, route, ("status", status.to_string())];
    metrics::counter!("http_requests_total", &labels).increment(1);
}

/// A method's name, unless somebody made it up: labels must stay few.
const fn method_label(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::PUT => "PUT",
        http::Method::POST => "POST",
        http::Method::DELETE => "DELETE",
        http::Method::HEAD => "HEAD",
        http::Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn wants_problem(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(PROBLEM_JSON))
}

/// The caller's id for this request if it is a sane one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if is_sane(id) => id.to_owned(),
        _ => uuid::Uuid::new_v4().as_simple().to_string(),
    }
}

fn is_sane(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The trace id of a W3C `traceparent` (version 00, §3.2), or nothing.
fn trace_id(headers: &HeaderMap) -> &str {
    let given = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut fields = given.split('-');
    let (Some(version), Some(id)) = (fields.next(), fields.next()) else {
        return "";
    };
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let valid = version.len() == 2 && hex(version) && id.len() == 32 && hex(id);
    if valid && id.bytes().any(|byte| byte != b'0') { id } else { "" }
}

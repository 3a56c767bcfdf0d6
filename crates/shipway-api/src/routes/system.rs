//! The platform itself: index, documentation, probes, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http::{Extensions, HeaderName, HeaderValue, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::access::{Access, Action, Resource, authorize};
use crate::app::{App, READY_KEPT};
use crate::endpoint::{Answer, Content, Doc, Endpoint, Form, Pace, Parameter, Rules, Verb};
use crate::flow::accepts;
use crate::guard;
use crate::params::InPath;
use crate::query::Query;
use crate::ready::{self, Readiness};
use crate::reply::{ErrorStyle, Reject};

const PLAIN: Content = Content::plain(&["text/plain"]);
const OBJECT: Content = Content::plain(&["application/json"]);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(&INDEX, index),
        Endpoint::new(&OPENAPI, openapi),
        Endpoint::new(&DOCS, docs),
        Endpoint::new(&HEALTH, health),
        Endpoint::new(&HEALTHZ, health),
        Endpoint::new(&LIVEZ, livez),
        Endpoint::new(&READYZ, readyz),
        Endpoint::new(&READYZ_ONE, readyz_one),
        Endpoint::new(&METRICS, metrics),
    ]
}

const fn public(path: &'static str, doc: Doc) -> Rules {
    Rules { verb: Verb::Get, path, access: Access::Public, pace: Pace::Instant, errors: ErrorStyle::ProblemJson, doc }
}

const fn doc(id: &'static str, summary: &'static str, answers: &'static [Answer]) -> Doc {
    Doc { id, tag: "system", summary, description: "", parameters: &[], request: None, answers, problems: &[] }
}

const READY_ANSWERS: &[Answer] = &[
    Answer { status: 200, doc: "Ready.", content: Some(PLAIN) },
    Answer { status: 503, doc: "Not ready.", content: Some(PLAIN) },
];

static INDEX: Rules = public(
    "/",
    doc(
        "index",
        "What there is",
        &[
            Answer { status: 200, doc: "Name, version and endpoints.", content: Some(OBJECT) },
            Answer { status: 303, doc: "A browser is sent to the documentation.", content: None },
        ],
    ),
);

static OPENAPI: Rules = public(
    "/openapi.json",
    doc("openapi", "This document", &[Answer { status: 200, doc: "OpenAPI 3.1.", content: Some(OBJECT) }]),
);

static DOCS: Rules = public(
    "/docs",
    doc(
        "docs",
        "This document, for people",
        &[Answer { status: 200, doc: "A page without scripts.", content: Some(Content::plain(&["text/html"])) }],
    ),
);

const HEALTH_ANSWERS: &[Answer] = &[
    Answer { status: 200, doc: "Healthy.", content: Some(Content::json("Health")) },
    Answer { status: 503, doc: "Not healthy.", content: Some(Content::json("Health")) },
];

static HEALTH: Rules = public("/health", doc("health", "Is all well?", HEALTH_ANSWERS));

static HEALTHZ: Rules = public("/healthz", doc("healthz", "The same as /health", HEALTH_ANSWERS));

static LIVEZ: Rules = public(
    "/livez",
    doc("livez", "Does the process answer?", &[Answer { status: 200, doc: "It does.", content: Some(PLAIN) }]),
);

static READYZ: Rules = public(
    "/readyz",
    Doc {
        id: "readyz",
        tag: "system",
        summary: "Is everything there that requests need?",
        description: "`verbose` lists the checks, and with a token also what is missing.",
        parameters: &[Parameter::query("verbose", Form::Flag, "List the checks.")],
        request: None,
        answers: READY_ANSWERS,
        problems: &[],
    },
);

static READYZ_ONE: Rules = public(
    "/readyz/{check}",
    Doc {
        id: "readyz_check",
        tag: "system",
        summary: "Is this one there?",
        description: "",
        parameters: &[Parameter::path("check", "Name of the check, as `store`.")],
        request: None,
        answers: READY_ANSWERS,
        problems: &[shipway_api_types::ProblemCode::NotFound],
    },
);

static METRICS: Rules = Rules {
    verb: Verb::Get,
    path: "/metrics",
    access: Access::Needs(Action::Observe),
    pace: Pace::Instant,
    errors: ErrorStyle::ProblemJson,
    doc: doc(
        "metrics",
        "Figures for Prometheus",
        &[Answer { status: 200, doc: "Text format 0.0.4.", content: Some(PLAIN) }],
    ),
};

async fn index(State(app): State<App>, headers: HeaderMap) -> Response {
    if accepts(&headers, "text/html") {
        let to = [(header::LOCATION, "/docs")];
        return (StatusCode::SEE_OTHER, to).into_response();
    }
    let endpoints: Vec<String> = super::native()
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.rules.verb.method(), endpoint.rules.path))
        .collect();
    Json(json!({
        "service": "shipway",
        "version": app.config.version,
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "endpoints": endpoints,
    }))
    .into_response()
}

async fn openapi(State(app): State<App>) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], app.document.clone()).into_response()
}

const REFERRER: HeaderName = HeaderName::from_static("referrer-policy");

async fn docs(State(app): State<App>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, app.docs.policy.clone()),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER, HeaderValue::from_static("no-referrer")),
    ];
    (headers, app.docs.html.clone()).into_response()
}

async fn health(State(app): State<App>) -> Response {
    let missing = readiness(&app).await.missing();
    let word = missing.map_or("healthy", |_| "unhealthy");
    let mut body = json!({
        "status": word,
        // What the image builder's clients look for; the other two do not read it.
        "service": "docker-image-builder",
        "success": missing.is_none(),
        "message": missing.map_or("Service is healthy", |_| "Service is unhealthy"),
        "data": {
            "status": word,
            "version": app.config.version,
            "uptime": uptime(app.started.elapsed()),
        },
    });
    let status = match missing {
        None => StatusCode::OK,
        Some(name) => {
            body["error"] = Value::from(format!("{name} is not ready"));
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    (status, Json(body)).into_response()
}

/// As `1h30m45s`.
fn uptime(since: Duration) -> String {
    let seconds = since.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(app): State<App>, query: Query, headers: HeaderMap, extensions: Extensions) -> Response {
    let found = readiness(&app).await;
    let mut text = String::new();
    if query.flag("verbose") {
        let open = may_observe(&app, &headers, guard::is_trusted(&extensions)).await;
        text.push_str(&found.lines(open));
    }
    text.push_str(found.verdict());
    (ready_status(found.is_ready()), text).into_response()
}

async fn readyz_one(State(app): State<App>, InPath(check): InPath<String>) -> Result<Response, Reject> {
    let is_ready = readiness(&app).await.of(&check).ok_or_else(|| Reject::not_found("check"))?;
    Ok((ready_status(is_ready), ready::verdict(is_ready)).into_response())
}

const fn ready_status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn may_observe(app: &App, headers: &HeaderMap, trusted: bool) -> bool {
    match guard::identify(app, headers, trusted).await {
        Ok(actor) => authorize(&actor, Action::Observe, Resource::Platform).is_ok(),
        Err(_) => false,
    }
}

/// Asks every check, or says what was found a moment ago.
async fn readiness(app: &App) -> Arc<Readiness> {
    if let Some(found) = recent(app) {
        return found;
    }
    let found = Arc::new(Readiness::look(&app.parts.store, &app.parts.checks).await);
    let kept = Some((Instant::now(), Arc::clone(&found)));
    *app.ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = kept;
    found
}

fn recent(app: &App) -> Option<Arc<Readiness>> {
    let kept = app.ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (at, found) = kept.as_ref()?;
    (at.elapsed() < READY_KEPT).then(|| Arc::clone(found))
}

async fn metrics(State(app): State<App>) -> Response {
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, media)], (app.parts.metrics)()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_like_the_old_systems() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m1s"), (5445, "1h30m45s")] {
            assert_eq!(uptime(Duration::from_secs(seconds)), text);
        }
    }
}

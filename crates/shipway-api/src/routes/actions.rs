//! `POST /v1/services/{service}/start|stop|restart|rollback`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use shipway_api_types::{ProblemCode, Rollback};
use shipway_model::{ReleaseState, Service, TaskPayload};
use shipway_store::{Request, Target};

use super::services::{CHANGE_PROBLEMS, IDEMPOTENCY_KEY, IF_MATCH, SERVICE, WAIT};
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::body::Strict;
use crate::change::{self, IfMatch};
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};

/// Releases looked through for the one that was live before.
const LOOK_BACK: u32 = 200;

const ANSWERS: &[Answer] = &[
    Answer { status: 200, doc: "Done.", content: Some(Content::json("Service")) },
    Answer {
        status: 202,
        doc: "Not done yet; `Location` says where to look.",
        content: Some(Content::json("Service")),
    },
];

const RESTART_KEY: Parameter = Parameter::header(
    "Idempotency-Key",
    "Accepted and not kept: a repeated restart is another restart. Use If-Match to make it once.",
);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(&START, start),
        Endpoint::new(&STOP, stop),
        Endpoint::new(&RESTART, restart),
        Endpoint::new(&ROLLBACK, rollback),
    ]
}

const fn rules(path: &'static str, doc: Doc) -> Rules {
    Rules {
        verb: Verb::Post,
        path,
        access: Access::Needs(Action::Change),
        pace: Pace::Waits,
        errors: ErrorStyle::ProblemJson,
        doc,
    }
}

static START: Rules = rules(
    "/v1/services/{service}/start",
    Doc {
        id: "start_service",
        tag: "services",
        summary: "Start a stopped service",
        description: "Brings its last live release back, with no new download.",
        parameters: &[SERVICE, WAIT, IF_MATCH, IDEMPOTENCY_KEY],
        request: None,
        answers: ANSWERS,
        problems: CHANGE_PROBLEMS,
    },
);

static STOP: Rules = rules(
    "/v1/services/{service}/stop",
    Doc {
        id: "stop_service",
        tag: "services",
        summary: "Stop a service",
        description: "Visitors get a 503 until it is started again; its releases are kept.",
        parameters: &[SERVICE, WAIT, IF_MATCH, IDEMPOTENCY_KEY],
        request: None,
        answers: ANSWERS,
        problems: CHANGE_PROBLEMS,
    },
);

static RESTART: Rules = rules(
    "/v1/services/{service}/restart",
    Doc {
        id: "restart_service",
        tag: "services",
        summary: "Restart a service",
        description: "Replaces its container by a new one of the same release, without an empty moment.",
        parameters: &[SERVICE, WAIT, IF_MATCH, RESTART_KEY],
        request: None,
        answers: ANSWERS,
        problems: CHANGE_PROBLEMS,
    },
);

static ROLLBACK: Rules = rules(
    "/v1/services/{service}/rollback",
    Doc {
        id: "rollback_service",
        tag: "services",
        summary: "Go back to an older release",
        description: "Runs that release again as it was, with no new download. Without a number: the last \
            one that was live before.",
        parameters: &[SERVICE, WAIT, IF_MATCH, IDEMPOTENCY_KEY],
        request: Some(Content::json("Rollback")),
        answers: ANSWERS,
        problems: CHANGE_PROBLEMS,
    },
);

async fn start(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    act(&app, &caller, &reference, &query, &headers, TaskPayload::Start).await
}

async fn stop(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    act(&app, &caller, &reference, &query, &headers, TaskPayload::Stop).await
}

async fn restart(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    act(&app, &caller, &reference, &query, &headers, TaskPayload::Restart).await
}

async fn rollback(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
    Strict(body): Strict<Rollback>,
) -> Result<Response, Reject> {
    let service = app.service(&caller, Action::Change, &reference).await?;
    let release = match body.release {
        Some(number) => number,
        None => release_before(&app, &service).await?,
    };
    if app.parts.store.find_release(service.id, release).await?.is_none() {
        return Err(no_such_release(release));
    }
    let payload = TaskPayload::Rollback { release };
    act(&app, &caller, &reference, &query, &headers, payload).await
}

fn no_such_release(number: u32) -> Reject {
    Reject::new(ProblemCode::NoSuchRelease, format!("the service has no release {number}"))
        .hint("its releases are at …/releases, or `shipway releases NAME`")
}

/// The newest release below the live one that was live once.
async fn release_before(app: &App, service: &Service) -> Result<u32, Reject> {
    let store = &app.parts.store;
    let live = service.state.live_release();
    let releases = store.list_releases(service.id, live, LOOK_BACK).await?;
    releases
        .iter()
        .find(|release| release.state == ReleaseState::Retired)
        .map(|release| release.number)
        .ok_or_else(|| Reject::new(ProblemCode::NoSuchRelease, "no release was live before this one"))
}

async fn act(
    app: &App,
    caller: &Caller,
    reference: &str,
    query: &Query,
    headers: &HeaderMap,
    payload: TaskPayload,
) -> Result<Response, Reject> {
    let if_match = IfMatch::of(headers)?;
    let service = app.service(caller, Action::Change, reference).await?;
    let request = Request {
        project: service.project,
        target: Target::Existing(service.id),
        payload,
        actor: caller.0.word(),
        if_version: if_match.version(),
    };
    let progress = change::ask(app, request, change::wait_of(query)).await?;
    change::answer(app, progress).await
}

//! `/v1/services`: deploy, list, read, delete.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use shipway_api_types::{ProblemCode, ServicePut};
use shipway_model::{Service, ServiceId, ServiceName, TaskPayload};
use shipway_store::{Request, Target};

use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::body::Strict;
use crate::change::{self, IfMatch, Progress};
use crate::cursor;
use crate::deploy;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Form, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::present;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};
use crate::whereabouts::Whereabouts;

/// Rows read at most for one page of a filtered list: what is rare is found page
/// by page rather than by reading everything for one request.
const SCAN_MAX: u32 = 5_000;

pub(crate) const SERVICE: Parameter = Parameter::path("service", "The service's id or name.");
pub(crate) const WAIT: Parameter = Parameter::query(
    "wait",
    Form::Integer { least: 0, most: change::WAIT_MAX },
    "Seconds to wait until it is done; 60 unless told. The answer is 202 when they were not enough.",
);
pub(crate) const IF_MATCH: Parameter =
    Parameter::header("If-Match", "Only if the service's ETag is still this one (412 otherwise).");
pub(crate) const IDEMPOTENCY_KEY: Parameter = Parameter::header(
    "Idempotency-Key",
    "Accepted and not needed: repeating this request has no further effect, so keys are not kept.",
);
const STATE: Parameter = Parameter::query(
    "state",
    Form::OneOf(&["starting", "live", "unhealthy", "stopped", "failed"]),
    "Only services in this state.",
);

/// What most changes may end with.
pub(crate) const CHANGE_PROBLEMS: &[ProblemCode] = &[
    ProblemCode::NotFound,
    ProblemCode::Conflict,
    ProblemCode::Deleting,
    ProblemCode::PreconditionFailed,
    ProblemCode::ReleaseNotReady,
    ProblemCode::NoSuchRelease,
    ProblemCode::NothingToStart,
    ProblemCode::StorageUnavailable,
    ProblemCode::EngineUnavailable,
];

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(&PUT, put),
        Endpoint::new(&PUT_NOTHING, put_nothing),
        Endpoint::new(&LIST, list),
        Endpoint::new(&GET, get),
        Endpoint::new(&DELETE, delete),
    ]
}

static PUT: Rules = Rules {
    verb: Verb::Put,
    path: "/v1/services/{service}",
    access: Access::Needs(Action::Change),
    pace: Pace::Waits,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "deploy",
        tag: "services",
        summary: "Deploy a service",
        description: "Makes the service, or a new release of it. The content is always fetched; when it and \
            all else equal the live release, nothing changes and `Shipway-Changed` is false. The answer comes when the new release is \
            live. If it does not become ready, the release that was live before stays live.",
        parameters: &[Parameter::path("service", "The service's name: a DNS label."), WAIT, IF_MATCH, IDEMPOTENCY_KEY],
        request: Some(Content::json("ServicePut")),
        answers: &[
            Answer { status: 200, doc: "Live: the service was there before.", content: Some(Content::json("Service")) },
            Answer { status: 201, doc: "Live: the service is new.", content: Some(Content::json("Service")) },
            Answer {
                status: 202,
                doc: "Not done yet; `Location` says where to look.",
                content: Some(Content::json("Service")),
            },
        ],
        problems: &[
            ProblemCode::InvalidName,
            ProblemCode::FetchRefused,
            ProblemCode::NoSuchImage,
            ProblemCode::Conflict,
            ProblemCode::Deleting,
            ProblemCode::PreconditionFailed,
            ProblemCode::ReleaseNotReady,
            ProblemCode::FetchStatus,
            ProblemCode::FetchFailed,
            ProblemCode::FetchTooLarge,
            ProblemCode::FetchTimeout,
            ProblemCode::StorageUnavailable,
            ProblemCode::EngineUnavailable,
        ],
    },
};

async fn put(
    State(app): State<App>,
    caller: Caller,
    InPath(name): InPath<String>,
    query: Query,
    headers: HeaderMap,
    Strict(body): Strict<ServicePut>,
) -> Result<Response, Reject> {
    let name = deploy::name(&app.config, &name)?;
    let if_match = IfMatch::of(&headers)?;
    let project = caller.0.project();
    caller.may(Action::Change, &project)?;
    let deploy = deploy::read(&app, &project, body).await?;
    let request = Request {
        target: target(&app, &caller, name, if_match).await?,
        project,
        payload: TaskPayload::Deploy(deploy),
        actor: caller.0.word(),
        if_version: if_match.version(),
    };
    let progress = change::ask(&app, request, change::wait_of(&query)).await?;
    change::answer(&app, progress).await
}

/// With `If-Match` the service must exist, so it is meant by its id: were it
/// deleted meanwhile, a name would make a new one.
async fn target(app: &App, caller: &Caller, name: ServiceName, if_match: IfMatch) -> Result<Target, Reject> {
    if if_match == IfMatch::Absent {
        return Ok(Target::NamedOrNew(name, ServiceId(uuid::Uuid::new_v4())));
    }
    let store = &app.parts.store;
    let found = store.find_service(&caller.0.project(), &name).await?;
    found.map(|service| Target::Existing(service.id)).ok_or_else(change::nothing_to_match)
}

static PUT_NOTHING: Rules = Rules {
    verb: Verb::Put,
    path: "/v1/services/",
    access: Access::Needs(Action::Change),
    pace: Pace::Quick,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "deploy_nameless",
        tag: "services",
        summary: "A deploy without a name",
        description: "Always refused: a service needs a name.",
        parameters: &[WAIT],
        request: None,
        answers: &[],
        problems: &[ProblemCode::InvalidName],
    },
};

async fn put_nothing(State(app): State<App>) -> Result<Response, Reject> {
    deploy::name(&app.config, "").map(|_| StatusCode::BAD_REQUEST.into_response())
}

static LIST: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/services",
    access: Access::Needs(Action::Read),
    pace: Pace::Quick,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "list_services",
        tag: "services",
        summary: "List services",
        description: "In the order of their names. With `state`, a page may have fewer items than asked \
            for, or none, and still have a next one.",
        parameters: &[STATE, cursor::LIMIT, cursor::CURSOR],
        request: None,
        answers: &[Answer { status: 200, doc: "A page.", content: Some(Content::json("Page_Service")) }],
        problems: &[],
    },
};

async fn list(State(app): State<App>, caller: Caller, query: Query, uri: Uri) -> Result<Response, Reject> {
    let (rows, next) = scan(&app, &caller, &query).await?;
    let whereabouts = Whereabouts::read(&app).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let kind = change::kind_of(&app, row).await?;
        items.push(present::service(&app.config, row, kind, whereabouts.worker(row)));
    }
    Ok(cursor::page(&uri, items, next.map(cursor::seal)))
}

/// Reads rows until a page is full, the list ends, or enough was read.
async fn scan(app: &App, caller: &Caller, query: &Query) -> Result<(Vec<Service>, Option<ServiceName>), Reject> {
    let limit = cursor::limit(query);
    let project = caller.0.project();
    let state = query.text("state");
    let mut after: Option<ServiceName> = cursor::open(query)?;
    let (mut found, mut read) = (Vec::new(), 0);
    loop {
        let wanted = limit - u32::try_from(found.len()).unwrap_or(limit);
        let store = &app.parts.store;
        let rows = store.list_services(&project, after.as_ref(), wanted + 1).await?;
        let more = rows.len() > wanted as usize;
        let rows = rows.into_iter().take(wanted as usize);
        read += wanted;
        for row in rows {
            after = Some(row.name.clone());
            if state.is_none_or(|state| state == row.state.word()) {
                found.push(row);
            }
        }
        if !more {
            return Ok((found, None));
        }
        if found.len() >= limit as usize || read >= SCAN_MAX {
            return Ok((found, after));
        }
    }
}

static GET: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/services/{service}",
    access: Access::Needs(Action::Read),
    pace: Pace::Waits,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "get_service",
        tag: "services",
        summary: "Read a service",
        description: "With `If-None-Match` and `wait`, the answer comes as soon as the service has \
            changed, or is 304 when it has not.",
        parameters: &[
            SERVICE,
            Parameter::query(
                "wait",
                Form::Integer { least: 0, most: change::WAIT_MAX },
                "Seconds to wait for a change of what `If-None-Match` names; none unless told.",
            ),
            Parameter::header("If-None-Match", "The ETag of the answer you have."),
        ],
        request: None,
        answers: &[
            Answer { status: 200, doc: "The service.", content: Some(Content::json("Service")) },
            Answer { status: 304, doc: "It has not changed.", content: None },
        ],
        problems: &[ProblemCode::NotFound],
    },
};

async fn get(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| change::version(value.to_str().ok()?.trim()));
    let wait = Duration::from_secs(query.number("wait").unwrap_or(0));
    let service = changed(&app, &caller, &reference, known, wait).await?;
    if known == Some(service.version) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        if let Ok(etag) = HeaderValue::from_str(&present::etag(service.version)) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        return Ok(response);
    }
    change::show(&app, StatusCode::OK, &service).await
}

/// Reads the service, again and again while it is of the known version and there is time.
async fn changed(
    app: &App,
    caller: &Caller,
    reference: &str,
    known: Option<u64>,
    wait: Duration,
) -> Result<Service, Reject> {
    let mut notices = app.parts.store.notices();
    let mut shutdown = app.parts.shutdown.clone();
    let until = tokio::time::sleep(wait);
    tokio::pin!(until);
    loop {
        notices.mark_unchanged();
        let service = app.service(caller, Action::Read, reference).await?;
        if known != Some(service.version) || wait.is_zero() {
            return Ok(service);
        }
        tokio::select! {
            changed = notices.changed() => {
                if changed.is_err() {
                    return Ok(service);
                }
            }
            () = shutdown.requested() => return Ok(service),
            () = &mut until => return Ok(service),
        }
    }
}

static DELETE: Rules = Rules {
    verb: Verb::Delete,
    path: "/v1/services/{service}",
    access: Access::Needs(Action::Delete),
    pace: Pace::Waits,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "delete_service",
        tag: "services",
        summary: "Delete a service",
        description: "Stops it and forgets it with all its releases. Its events remain, under its id.",
        parameters: &[SERVICE, WAIT, IF_MATCH, IDEMPOTENCY_KEY],
        request: None,
        answers: &[
            Answer { status: 204, doc: "It is gone.", content: None },
            Answer {
                status: 202,
                doc: "Not done yet; `Location` says where to look.",
                content: Some(Content::json("Service")),
            },
        ],
        problems: CHANGE_PROBLEMS,
    },
};

async fn delete(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let if_match = IfMatch::of(&headers)?;
    let service = app.service(&caller, Action::Delete, &reference).await?;
    let request = Request {
        project: service.project,
        target: Target::Existing(service.id),
        payload: TaskPayload::Delete,
        actor: caller.0.word(),
        if_version: if_match.version(),
    };
    match change::ask(&app, request, change::wait_of(&query)).await? {
        Progress::Done { .. } => Ok(StatusCode::NO_CONTENT.into_response()),
        waiting @ Progress::AtWork(_) => change::answer(&app, waiting).await,
    }
}

//! `/v1/services/{service}/releases`: what ran, what runs, what differs.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use shipway_api_types::ProblemCode;
use shipway_model::{Release, Service};

use super::services::SERVICE;
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::cursor;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::params::{InPath, release_number};
use crate::present;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&LIST, list), Endpoint::new(&GET, get), Endpoint::new(&DIFF, diff)]
}

const fn rules(path: &'static str, doc: Doc) -> Rules {
    Rules {
        verb: Verb::Get,
        path,
        access: Access::Needs(Action::Read),
        pace: Pace::Quick,
        errors: ErrorStyle::ProblemJson,
        doc,
    }
}

static LIST: Rules = rules(
    "/v1/services/{service}/releases",
    Doc {
        id: "list_releases",
        tag: "releases",
        summary: "List a service's releases",
        description: "Newest first.",
        parameters: &[SERVICE, cursor::LIMIT, cursor::CURSOR],
        request: None,
        answers: &[Answer { status: 200, doc: "A page.", content: Some(Content::json("Page_Release")) }],
        problems: &[ProblemCode::NotFound],
    },
);

static GET: Rules = rules(
    "/v1/services/{service}/releases/{release}",
    Doc {
        id: "get_release",
        tag: "releases",
        summary: "Read a release",
        description: "Everything that decides how it runs.",
        parameters: &[SERVICE, Parameter::path("release", "Its number.")],
        request: None,
        answers: &[Answer { status: 200, doc: "The release.", content: Some(Content::json("Release")) }],
        problems: &[ProblemCode::InvalidParameter, ProblemCode::NotFound, ProblemCode::NoSuchRelease],
    },
);

static DIFF: Rules = rules(
    "/v1/services/{service}/releases/{release}/diff/{other}",
    Doc {
        id: "diff_releases",
        tag: "releases",
        summary: "Compare two releases",
        description: "Every field that decides how they run and differs.",
        parameters: &[
            SERVICE,
            Parameter::path("release", "The first one's number."),
            Parameter::path("other", "The second one's number."),
        ],
        request: None,
        answers: &[Answer { status: 200, doc: "What differs.", content: Some(Content::json("ReleaseDiff")) }],
        problems: &[ProblemCode::InvalidParameter, ProblemCode::NotFound, ProblemCode::NoSuchRelease],
    },
);

async fn list(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    uri: Uri,
) -> Result<Response, Reject> {
    let before: Option<u32> = cursor::open(&query)?;
    let limit = cursor::limit(&query);
    let service = app.service(&caller, Action::Read, &reference).await?;
    let store = &app.parts.store;
    let mut rows = store.list_releases(service.id, before, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more).map(|row| row.number);
    let items = rows.iter().map(present::release).collect();
    Ok(cursor::page(&uri, items, last.map(cursor::seal)))
}

async fn get(
    State(app): State<App>,
    caller: Caller,
    InPath((reference, number)): InPath<(String, String)>,
) -> Result<Response, Reject> {
    let service = app.service(&caller, Action::Read, &reference).await?;
    let release = find(&app, &service, &number).await?;
    Ok(Json(present::release(&release)).into_response())
}

async fn diff(
    State(app): State<App>,
    caller: Caller,
    InPath((reference, from, to)): InPath<(String, String, String)>,
) -> Result<Response, Reject> {
    let service = app.service(&caller, Action::Read, &reference).await?;
    let from = find(&app, &service, &from).await?;
    let to = find(&app, &service, &to).await?;
    Ok(Json(present::diff(&from, &to)).into_response())
}

async fn find(app: &App, service: &Service, number: &str) -> Result<Release, Reject> {
    let number = release_number(number)?;
    let found = app.parts.store.find_release(service.id, number).await?;
    found.ok_or_else(|| {
        let detail = format!("the service has no release {number}");
        Reject::new(ProblemCode::NoSuchRelease, detail)
    })
}

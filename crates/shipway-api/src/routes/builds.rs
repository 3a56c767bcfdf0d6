//! `/v1/builds`: ask, list, read, cancel, make anew; events, logs, and the artifact with what
//! belongs to it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use shipway_api_types::{BuildCreate, ProblemCode};
use shipway_gobuild::request::{parse_plugin, parse_replacement};
use shipway_gobuild::{Platform, Query as VersionQuery, Request, RequestError};
use shipway_model::{Build, BuildId};
use shipway_store::BuildFilter;

use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::body::Strict;
use crate::builds::ask::{self, Again};
use crate::builds::trouble::malformed;
use crate::builds::{parts, present};
use crate::change::WAIT_MAX;
use crate::cursor;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Form, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};

mod artifact;
mod output;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let own = vec![
        Endpoint::new(&CREATE, create),
        Endpoint::new(&LIST, list),
        Endpoint::new(&GET, get),
        Endpoint::new(&CANCEL, cancel),
        Endpoint::new(&REBUILD, rebuild),
    ];
    [own, output::endpoints(), artifact::endpoints()].into_iter().flatten().collect()
}

pub(super) const BUILD: Parameter = Parameter::path("build", "Its id.");
const WAIT: Parameter = Parameter::query(
    "wait",
    Form::Integer { least: 0, most: WAIT_MAX },
    "How many seconds to wait for its end; 0 unless told.",
);

const fn rules(verb: Verb, path: &'static str, action: Action, pace: Pace, doc: Doc) -> Rules {
    Rules { verb, path, access: Access::Needs(action), pace, errors: ErrorStyle::ProblemJson, doc }
}

const ANSWERS: &[Answer] = &[
    Answer { status: 200, doc: "It has ended: made, failed or cancelled.", content: Some(Content::json("Build")) },
    Answer { status: 202, doc: "It is on its way.", content: Some(Content::json("Build")) },
];

static CREATE: Rules = rules(
    Verb::Post,
    "/v1/builds",
    Action::Build,
    Pace::Waits,
    Doc {
        id: "create_build",
        tag: "builds",
        summary: "Ask for a build",
        description: "Versions are settled first; equal builds are one build, whoever asks for them. One that was made \
            is answered at once; one that failed for a reason that may have passed is begun anew, one that \
            failed for good only with `force`.",
        parameters: &[WAIT],
        request: Some(Content::json("BuildCreate")),
        answers: ANSWERS,
        problems: &[
            ProblemCode::InvalidBuild,
            ProblemCode::Unresolved,
            ProblemCode::GoTooOld,
            ProblemCode::ChecksumMismatch,
            ProblemCode::BuildsUnavailable,
            ProblemCode::ModuleProxyBroken,
            ProblemCode::ModuleProxyUnavailable,
            ProblemCode::NoBuilder,
        ],
    },
);

static LIST: Rules = rules(
    Verb::Get,
    "/v1/builds",
    Action::Read,
    Pace::Quick,
    Doc {
        id: "list_builds",
        tag: "builds",
        summary: "List builds",
        description: "What was asked for last comes first.",
        parameters: &[
            Parameter::query("recipe", Form::Text, "Only of this program."),
            Parameter::query(
                "state",
                Form::OneOf(&["pending", "building", "success", "failed", "cancelled"]),
                "Only builds that have come so far.",
            ),
            Parameter::query("digest", Form::Text, "Only the newest that made this artifact, `sha256:…`."),
            cursor::LIMIT,
            cursor::CURSOR,
        ],
        request: None,
        answers: &[Answer { status: 200, doc: "A page.", content: Some(Content::json("Page_Build")) }],
        problems: &[ProblemCode::InvalidParameter, ProblemCode::BuildsUnavailable],
    },
);

static GET: Rules = rules(
    Verb::Get,
    "/v1/builds/{build}",
    Action::Read,
    Pace::Waits,
    Doc {
        id: "get_build",
        tag: "builds",
        summary: "Read a build",
        description: "",
        parameters: &[BUILD, WAIT],
        request: None,
        answers: &[Answer { status: 200, doc: "The build.", content: Some(Content::json("Build")) }],
        problems: &[ProblemCode::NotFound, ProblemCode::BuildsUnavailable],
    },
);

static CANCEL: Rules = rules(
    Verb::Post,
    "/v1/builds/{build}/cancel",
    Action::Build,
    Pace::Quick,
    Doc {
        id: "cancel_build",
        tag: "builds",
        summary: "Cancel a build",
        description: "For all who wait for it. One that has ended stays as it is.",
        parameters: &[BUILD],
        request: None,
        answers: &[Answer { status: 200, doc: "The build.", content: Some(Content::json("Build")) }],
        problems: &[ProblemCode::NotFound, ProblemCode::BuildsUnavailable],
    },
);

static REBUILD: Rules = rules(
    Verb::Post,
    "/v1/builds/{build}/rebuild",
    Action::Build,
    Pace::Waits,
    Doc {
        id: "rebuild",
        tag: "builds",
        summary: "Make a build anew",
        description: "The same versions, by the same Go, as the next generation of its key. When a newer one is \
            there already, or this one has not ended, that is the answer.",
        parameters: &[BUILD, WAIT],
        request: None,
        answers: ANSWERS,
        problems: &[ProblemCode::NotFound, ProblemCode::BuildsUnavailable],
    },
);

async fn create(
    State(app): State<App>,
    caller: Caller,
    query: Query,
    Strict(body): Strict<BuildCreate>,
) -> Result<Response, Reject> {
    let request = request(&app, &body)?;
    let again = if body.force { Again::Always } else { Again::IfItMayHelp };
    let (build, _) = ask::ask(&app, &caller, request, again).await?;
    answer(&app, build, &query).await
}

/// Checks what is asked for; each mistake is told with its place.
fn request(app: &App, body: &BuildCreate) -> Result<Request, Reject> {
    let parts = parts(app)?;
    let recipe = ask::recipe(parts, &body.recipe)?;
    let arm = body.arm.map(|arm| arm.to_string());
    let platform = Platform::parse(&body.os, &body.arch, arm.as_deref());
    let platform = platform.map_err(|error| malformed(&error.clone().into(), field_of(&error)))?;
    let version = version(body.version.as_deref().unwrap_or_default())?;
    let plugins = each("plugins", &body.plugins, parse_plugin)?;
    let replacements = each("replacements", &body.replacements, parse_replacement)?;
    Request::new(recipe, version, plugins, replacements, platform, parts.plugins_max).map_err(|error| {
        let pointer = match &error {
            RequestError::TooMany { what, .. } => format!("#/{what}"),
            _ => "#/plugins".to_owned(),
        };
        malformed(&error, &pointer)
    })
}

fn version(text: &str) -> Result<VersionQuery, Reject> {
    VersionQuery::parse(text).map_err(|source| {
        let item = text.chars().take(200).collect();
        malformed(&RequestError::Malformed { item, source }, "#/version")
    })
}

const fn field_of(error: &shipway_gobuild::PlatformError) -> &'static str {
    use shipway_gobuild::PlatformError as E;
    match error {
        E::Os(_) => "#/os",
        E::Arch { .. } => "#/arch",
        E::Arm { .. } | E::ArmWithout { .. } => "#/arm",
    }
}

fn each<T>(field: &str, texts: &[String], read: fn(&str) -> Result<T, RequestError>) -> Result<Vec<T>, Reject> {
    let one = |(at, text): (usize, &String)| read(text).map_err(|error| malformed(&error, &format!("#/{field}/{at}")));
    texts.iter().enumerate().map(one).collect()
}

/// Waits as long as the client wants, then shows the build as it is.
async fn answer(app: &App, build: Build, query: &Query) -> Result<Response, Reject> {
    let build = waited(app, build, query).await?;
    let status = if build.state.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = show(app, status, &build).await?;
    // An id has nothing in it that a header could not carry.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/builds/{}", build.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn waited(app: &App, build: Build, query: &Query) -> Result<Build, Reject> {
    let wait = Duration::from_secs(query.number("wait").unwrap_or(0).min(WAIT_MAX));
    if wait.is_zero() || build.state.is_final() {
        return Ok(build);
    }
    let mut shutdown = app.parts.shutdown.clone();
    let ended = tokio::select! {
        ended = app.builds.waits.ended(&app.parts.store, build.id, wait) => ended?,
        () = shutdown.requested() => None,
    };
    match ended {
        Some(ended) => Ok(ended),
        None => Ok(app.parts.store.find_build(build.id).await?.unwrap_or(build)),
    }
}

async fn show(app: &App, status: StatusCode, build: &Build) -> Result<Response, Reject> {
    let work = app.parts.store.find_build_work(build.id).await?;
    Ok((status, Json(present::build(build, work.as_ref())?)).into_response())
}

/// The build a path means, if the caller may do `action` to it.
pub(super) async fn find(app: &App, caller: &Caller, action: Action, id: &str) -> Result<Build, Reject> {
    let missing = || Reject::not_found("build");
    parts(app)?;
    let id: BuildId = id.parse().map_err(|_| missing())?;
    let build = app.parts.store.find_build(id).await?.ok_or_else(missing)?;
    caller.may(action, &build.project).map_err(|_| missing())?;
    Ok(build)
}

async fn list(State(app): State<App>, caller: Caller, query: Query, uri: Uri) -> Result<Response, Reject> {
    parts(&app)?;
    let before: Option<u64> = cursor::open(&query)?;
    let limit = cursor::limit(&query);
    let (store, project) = (&app.parts.store, caller.0.project());
    if let Some(digest) = query.text("digest") {
        let digest = digest.parse().map_err(|_| {
            Reject::parameter("query:digest", "expected `sha256:` and 64 hexadecimal digits in lower case")
        })?;
        let found = store.find_build_of_artifact(&project, &digest).await?;
        let items: Result<Vec<_>, _> = found.iter().map(|build| present::build(build, None)).collect();
        return Ok(cursor::page(&uri, items?, None));
    }
    let filter =
        BuildFilter { recipe: query.text("recipe").map(str::to_owned), state: query.text("state").map(str::to_owned) };
    let mut rows = store.list_builds(&project, &filter, before, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|last| cursor::seal(last.number));
    let items: Result<Vec<_>, _> = rows.iter().map(|build| present::build(build, None)).collect();
    Ok(cursor::page(&uri, items?, next))
}

async fn get(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    query: Query,
) -> Result<Response, Reject> {
    let build = find(&app, &caller, Action::Read, &id).await?;
    let build = waited(&app, build, &query).await?;
    show(&app, StatusCode::OK, &build).await
}

async fn cancel(State(app): State<App>, caller: Caller, InPath(id): InPath<String>) -> Result<Response, Reject> {
    let build = find(&app, &caller, Action::Build, &id).await?;
    let build = app.parts.store.cancel_build(&build.project, build.id, &caller.0.word()).await?;
    show(&app, StatusCode::OK, &build).await
}

async fn rebuild(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    query: Query,
) -> Result<Response, Reject> {
    let build = find(&app, &caller, Action::Build, &id).await?;
    let (build, _) = ask::rebuild(&app, &caller, &build).await?;
    answer(&app, build, &query).await
}

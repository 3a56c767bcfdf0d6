//! `POST /api/build`, `GET /api/build/{key}`, `GET /api/download/{key}`: ask, look, fetch.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shipway_api_types::ProblemCode;
use shipway_model::{Build, BuildState, Document};
use shipway_stdx::clock::rfc3339;

pub(crate) use super::words::CaddyBuildState;
use super::words::{Words, failed};
use super::{multipart, words};
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::body;
use crate::builds::ask::{Again, ask};
use crate::builds::{download, present};
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::reply::{ErrorStyle, Reject, told};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&CREATE, create), Endpoint::new(&GET, get), Endpoint::new(&DOWNLOAD, fetch)]
}

const KEY: Parameter = Parameter::path("key", "`build_key` of the answer to `POST /api/build`.");

const fn rules(verb: Verb, path: &'static str, pace: Pace, doc: Doc) -> Rules {
    Rules { verb, path, access: Access::Needs(Action::BuildAnonymously), pace, errors: ErrorStyle::ErrorText, doc }
}

static CREATE: Rules = rules(
    Verb::Post,
    "/api/build",
    Pace::Waits,
    Doc {
        id: "caddy_build",
        tag: "caddy build server",
        summary: "Ask for a Caddy, as the Caddy build server did",
        description: "`latest`, prefixes and branches are settled before there is a key. Fields it does not know are \
            ignored. Errors are `{\"error\": …}`, unless `Accept` asks for application/problem+json.",
        parameters: &[],
        request: Some(Content::json("CaddyBuild")),
        answers: &[
            Answer { status: 200, doc: "Made.", content: Some(Content::json("CaddyBuildAnswer")) },
            Answer { status: 202, doc: "Being made.", content: Some(Content::json("CaddyBuildAnswer")) },
            Answer { status: 422, doc: "Failed for good.", content: Some(Content::json("CaddyBuildAnswer")) },
        ],
        problems: CREATE_PROBLEMS,
    },
);

/// Of every route that asks for a build.
pub(super) const CREATE_PROBLEMS: &[ProblemCode] = &[
    ProblemCode::InvalidBuild,
    ProblemCode::Unresolved,
    ProblemCode::GoTooOld,
    ProblemCode::ChecksumMismatch,
    ProblemCode::BuildsUnavailable,
    ProblemCode::ModuleProxyBroken,
    ProblemCode::ModuleProxyUnavailable,
    ProblemCode::NoBuilder,
    ProblemCode::StorageUnavailable,
    ProblemCode::EngineUnavailable,
    ProblemCode::CompileFailed,
    ProblemCode::BuildUnusable,
    ProblemCode::BuildTimeout,
    ProblemCode::BuildTooLarge,
    ProblemCode::ModuleRefused,
];

static GET: Rules = rules(
    Verb::Get,
    "/api/build/{key}",
    Pace::Quick,
    Doc {
        id: "caddy_build_status",
        tag: "caddy build server",
        summary: "How far a build has come",
        description: "In the words of the Caddy build server: a cancelled build is `failed` there.",
        parameters: &[KEY],
        request: None,
        answers: &[Answer { status: 200, doc: "The build.", content: Some(Content::plain(&["application/json"])) }],
        problems: &[ProblemCode::NotFound, ProblemCode::BuildsUnavailable],
    },
);

static DOWNLOAD: Rules = rules(
    Verb::Get,
    "/api/download/{key}",
    Pace::Downloads,
    Doc {
        id: "caddy_build_download",
        tag: "caddy build server",
        summary: "Fetch what a build made",
        description: "Ranges and conditions as RFC 9110 has them. Signature and binary in one body only when \
            `Accept` asks for multipart/form-data.",
        parameters: &[KEY],
        request: None,
        answers: &[
            Answer { status: 200, doc: "The binary.", content: Some(Content::plain(&["application/octet-stream"])) },
            Answer { status: 202, doc: "Being made.", content: Some(Content::plain(&["application/json"])) },
            Answer { status: 206, doc: "A part of it.", content: Some(Content::plain(&["application/octet-stream"])) },
        ],
        problems: &[
            ProblemCode::NotFound,
            ProblemCode::BuildsUnavailable,
            ProblemCode::StorageUnavailable,
            ProblemCode::CompileFailed,
        ],
    },
);

/// The old body. `null` is as good as nothing, as it was in Go.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(crate) struct CaddyBuild {
    /// Caddy's version, or `latest`.
    #[serde(default)]
    caddy_version: Option<String>,
    /// Packages to be imported.
    #[serde(default)]
    plugins: Option<Vec<CaddyPlugin>>,
    /// Modules to be replaced.
    #[serde(default)]
    replacements: Option<Vec<CaddyReplacement>>,
    /// As Go calls it.
    #[serde(default)]
    os: Option<String>,
    /// As Go calls it.
    #[serde(default)]
    arch: Option<String>,
    /// Which arm, for `arch` `arm`: a number or its text.
    #[serde(default)]
    arm: Option<serde_json::Value>,
    /// Make it anew.
    #[serde(default)]
    force: Option<bool>,
}

/// A plugin of the old body.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(crate) struct CaddyPlugin {
    /// The package.
    #[serde(default)]
    module: Option<String>,
    /// Its version; the latest unless told.
    #[serde(default)]
    version: Option<String>,
}

/// A replacement of the old body.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(crate) struct CaddyReplacement {
    /// What is replaced.
    #[serde(default)]
    old: Option<String>,
    /// By what.
    #[serde(default)]
    new: Option<String>,
    /// At which version.
    #[serde(default)]
    new_version: Option<String>,
}

/// The old answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CaddyBuildAnswer {
    /// Opaque; for `/api/build/{key}` and `/api/download/{key}`.
    build_key: String,
    /// How far it has come.
    status: CaddyBuildState,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl CaddyBuild {
    fn words(self) -> Result<Words, Reject> {
        Ok(Words {
            version: required("caddy_version", self.caddy_version)?,
            plugins: self.plugins.unwrap_or_default().into_iter().map(plugin).collect::<Result<_, _>>()?,
            replacements: self
                .replacements
                .unwrap_or_default()
                .into_iter()
                .map(replacement)
                .collect::<Result<_, _>>()?,
            os: required("os", self.os)?,
            arch: required("arch", self.arch)?,
            arm: self.arm.as_ref().and_then(arm),
        })
    }
}

fn plugin(plugin: CaddyPlugin) -> Result<String, Reject> {
    let module = required("plugins: module", plugin.module)?;
    Ok(match plugin.version.filter(|version| !version.is_empty()) {
        Some(version) => format!("{module}@{version}"),
        None => module,
    })
}

fn replacement(replacement: CaddyReplacement) -> Result<String, Reject> {
    let old = required("replacements: old", replacement.old)?;
    let new = required("replacements: new", replacement.new)?;
    let version = required("replacements: new_version", replacement.new_version)?;
    Ok(format!("{old}={new}@{version}"))
}

fn required(field: &str, value: Option<String>) -> Result<String, Reject> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        let detail = format!("{field} is required");
        Reject::new(ProblemCode::InvalidBuild, detail.clone()).field(format!("#/{field}"), detail)
    })
}

/// `7`, `"7"`; empty and 0 are as good as none.
fn arm(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Null => None,
        value if value == 0 => None,
        value => Some(value.to_string()),
    }
}

async fn create(State(app): State<App>, caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, Reject> {
    let bytes = body::read(&headers, body).await?;
    let asked: CaddyBuild = serde_json::from_slice(&bytes)
        .map_err(|error| Reject::new(ProblemCode::InvalidJson, format!("the body is not such JSON: {error}")))?;
    let again = if asked.force == Some(true) { Again::Always } else { Again::IfItMayHelp };
    let request = asked.words()?.request(&app)?;
    let (build, _) = ask(&app, &caller, request, again).await?;
    answer(&build, &headers)
}

fn answer(build: &Build, headers: &HeaderMap) -> Result<Response, Reject> {
    let mut body = CaddyBuildAnswer {
        build_key: build.key.clone(),
        status: CaddyBuildState::of(&build.state),
        message: None,
        error: None,
    };
    let status = match &build.state {
        BuildState::Pending | BuildState::Building => StatusCode::ACCEPTED,
        BuildState::Success(_) => {
            body.message = Some("build already exists".to_owned());
            StatusCode::OK
        }
        BuildState::Failed(_) | BuildState::Cancelled => {
            let reject = failed(build);
            if crate::flow::accepts(headers, shipway_api_types::problem::PROBLEM_JSON) {
                return Err(reject);
            }
            body.message = Some(told(&reject.problem));
            body.error.clone_from(&body.message);
            StatusCode::from_u16(reject.problem.status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY)
        }
    };
    Ok((status, Json(body)).into_response())
}

/// The newest build of a key, of the caller's project.
async fn find(app: &App, caller: &Caller, key: &str) -> Result<Build, Reject> {
    let missing = || Reject::new(ProblemCode::NotFound, "build not found");
    crate::builds::parts(app)?;
    let key = shipway_gobuild::BuildKey::parse(key).map_err(|_| missing())?;
    let found = app.parts.store.find_build_of_key(&caller.0.project(), key.as_str()).await?;
    found.filter(|build| build.recipe == words::RECIPE).ok_or_else(missing)
}

async fn get(State(app): State<App>, caller: Caller, InPath(key): InPath<String>) -> Result<Response, Reject> {
    let build = find(&app, &caller, &key).await?;
    let spec = present::spec(&build)?;
    let store = &app.parts.store;
    let work = store.find_build_work(build.id).await?;
    let signed = store.list_documents(build.id).await?.iter().any(|it| matches!(it, Document::Asc | Document::Minisig));
    let resolved = &spec.resolved;
    let settled = |plugin: &shipway_gobuild::resolved::SettledPlugin| format!("{}@{}", plugin.package, plugin.version);
    let mut told = json!({
        "build_key": build.key,
        "caddy_version": resolved.program.version.to_string(),
        "plugins": resolved.plugins.iter().map(settled).collect::<Vec<_>>(),
        "replacements": resolved.replacements.iter().map(present::replacement).collect::<Vec<_>>(),
        "os": resolved.platform.os(),
        "arch": resolved.platform.arch(),
        "status": CaddyBuildState::of(&build.state).word(),
        "has_signature": signed,
        "attempt": work.as_ref().map_or(0, |work| work.attempt),
        "max_attempts": work.as_ref().map_or(0, |work| work.attempts_max),
        "created_at": rfc3339(build.created_at),
        "updated_at": rfc3339(build.updated_at),
    });
    let mut add = |name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            told[name] = value;
        }
    };
    add("arm", resolved.platform.arm().map(Into::into));
    if matches!(build.state, BuildState::Building) {
        add("worker_id", work.as_ref().and_then(|work| work.worker.clone()).map(Into::into));
        add("locked_at", work.as_ref().and_then(|work| work.claimed_at).map(|at| rfc3339(at).into()));
    }
    match &build.state {
        BuildState::Success(artifact) => {
            add("storage_key", Some(artifact.digest.to_string().into()));
            add("completed_at", Some(rfc3339(artifact.made_at).into()));
        }
        BuildState::Failed(_) | BuildState::Cancelled => {
            add("error_message", Some(crate::reply::told(&failed(&build).problem).into()));
            add("completed_at", Some(rfc3339(build.updated_at).into()));
        }
        BuildState::Pending | BuildState::Building => {}
    }
    Ok(Json(told).into_response())
}

async fn fetch(
    State(app): State<App>,
    caller: Caller,
    InPath(key): InPath<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let build = find(&app, &caller, &key).await?;
    match &build.state {
        BuildState::Success(artifact) => match multipart::wanted(&headers) {
            true => multipart::respond(&app, &build, artifact, &method, &headers).await,
            false => download::respond(&app, &build, artifact, &method, &headers).await,
        },
        BuildState::Pending | BuildState::Building => {
            let word = CaddyBuildState::of(&build.state).word();
            let told = json!({ "error": format!("build in progress (status: {word})") });
            Ok((StatusCode::ACCEPTED, Json(told)).into_response())
        }
        BuildState::Failed(_) | BuildState::Cancelled => Err(failed(&build)),
    }
}

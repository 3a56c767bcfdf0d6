//! The URL deploy API's one endpoint, as its README has it: `PUT /services/{name}`.
//!
//! A thin adapter over a deploy of `/v1`. It keeps the old status codes and error
//! bodies (a bare code and a newline), and ignores fields it does not know. A
//! client that says `Accept: application/problem+json` gets the whole story under
//! the same code.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shipway_api_types::ProblemCode;
use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{ContentKind, Egress, HealthCheck, Limits, Runner, ServiceId, ServiceName, TaskPayload};
use shipway_store::{Request, Target};

use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::body;
use crate::change::{self, Progress};
use crate::deploy;
use crate::endpoint::{Answer, Content as Shape, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::present;
use crate::reply::{ErrorStyle, Reject};

/// The old system gave up after 7.5 s; ours says why, so it may take longer.
const WAIT: Duration = Duration::from_secs(60);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&PUT, put), Endpoint::new(&PUT_NOTHING, put_nothing)]
}

const fn rules(path: &'static str, doc: Doc) -> Rules {
    Rules {
        verb: Verb::Put,
        path,
        access: Access::Needs(Action::DeployAnonymously),
        pace: Pace::Waits,
        errors: ErrorStyle::BareCode,
        doc,
    }
}

static PUT: Rules = rules(
    "/services/{name}",
    Doc {
        id: "url_deploy",
        tag: "url deploy API",
        summary: "Deploy a URL, as the URL deploy API did",
        description: "Any name is made a DNS label; names with one label are one service. Errors are a \
            bare code in plain text, unless `Accept` asks for application/problem+json.",
        parameters: &[Parameter::path("name", "Any text that is not blank.")],
        request: Some(Shape::json("UrlDeploy")),
        answers: &[Answer { status: 200, doc: "Live.", content: Some(Shape::json("UrlDeployed")) }],
        problems: &[ProblemCode::InvalidName, ProblemCode::InvalidUrl, ProblemCode::FailedCreateJob],
    },
);

static PUT_NOTHING: Rules = rules(
    "/services/",
    Doc {
        id: "url_deploy_nameless",
        tag: "url deploy API",
        summary: "A deploy without a name",
        description: "Always refused.",
        parameters: &[],
        request: None,
        answers: &[],
        problems: &[ProblemCode::InvalidName],
    },
);

/// The old body. `null` is as good as nothing, as it was in Go.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(crate) struct UrlDeploy {
    /// Fetched now.
    #[serde(default)]
    url: Option<String>,
    /// Whether it is run on every request. False unless told.
    #[serde(default)]
    is_script: Option<bool>,
}

/// The old answer.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct UrlDeployed {
    /// `http://<id>.<host>`.
    url: String,
}

async fn put_nothing() -> Result<Response, Reject> {
    Err(invalid_name("a service needs a name"))
}

async fn put(
    State(app): State<App>,
    caller: Caller,
    InPath(name): InPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Reject> {
    // The order of the old checks: body, URL, name.
    let asked = read(&headers, body).await?;
    let url = asked.url.unwrap_or_default();
    let kind = match asked.is_script {
        Some(true) => ContentKind::Script,
        Some(false) | None => ContentKind::Static,
    };
    deploy::fetchable(&app, &url).map_err(old_words)?;
    let name = slug(&app, &name)?;
    let request = Request {
        project: caller.0.project(),
        target: Target::NamedOrNew(name, ServiceId(uuid::Uuid::new_v4())),
        payload: TaskPayload::Deploy(plain_deploy(url, kind)),
        actor: caller.0.word(),
        if_version: None,
    };
    match change::ask(&app, request, WAIT).await.map_err(old_words)? {
        Progress::Done { id, .. } => {
            let url = present::url(&app.config, &id.to_string());
            Ok(Json(UrlDeployed { url }).into_response())
        }
        Progress::AtWork(_) => {
            Err(Reject::new(ProblemCode::FailedCreateJob, format!("not live within {} s", WAIT.as_secs())))
        }
    }
}

fn plain_deploy(url: String, kind: ContentKind) -> Deploy {
    Deploy {
        program: DeployProgram::Content { content: Content::Url { url }, kind, runner: Runner::Native },
        env: BTreeMap::new(),
        limits: Limits::default(),
        health: HealthCheck::default(),
        egress: Egress::None,
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<UrlDeploy, Reject> {
    let bytes = body::read(headers, body).await?;
    let invalid = |detail: String| Reject::new(ProblemCode::InvalidJson, detail);
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if !value.is_object() {
        return Err(invalid("expected a JSON object".to_owned()));
    }
    serde_json::from_value(value).map_err(|error| invalid(error.to_string()))
}

fn slug(app: &App, text: &str) -> Result<ServiceName, Reject> {
    let name = ServiceName::slug(text).map_err(|error| invalid_name(&error.to_string()))?;
    if deploy::is_reserved(&app.config, &name) {
        return Err(invalid_name("this is the API's own host name"));
    }
    Ok(name)
}

fn invalid_name(detail: &str) -> Reject {
    Reject::new(ProblemCode::InvalidName, detail).field("path:name", detail)
}

/// What went wrong in the old system's words: a URL it would refuse is
/// `invalid_url`, everything else that kept the service from starting is
/// `failed_create_job`. What really happened stays in the detail.
fn old_words(mut reject: Reject) -> Reject {
    let code = match reject.problem.known_code() {
        Some(ProblemCode::FetchRefused) => ProblemCode::InvalidUrl,
        _ => ProblemCode::FailedCreateJob,
    };
    let renamed = shipway_api_types::Problem::new(code, "");
    reject.problem.kind = renamed.kind;
    reject.problem.title = renamed.title;
    reject.problem.status = renamed.status;
    reject.problem.code = renamed.code;
    reject
}

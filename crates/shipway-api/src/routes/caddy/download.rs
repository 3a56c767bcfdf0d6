//! `GET /api/compat` and `GET /api/download` without a key: ask, wait, and be given the binary,
//! in one request.
//!
//! The `caddy` command writes whatever comes with a status below 400 over itself, so `/api/download`
//! answers with the plain binary or with an error, never with anything else. The download page
//! sends `HEAD`, waits, and then goes to the `Location` of the answer, which is a 200 because a
//! browser would follow a redirect by itself.

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use http::{HeaderValue, header};
use shipway_api_types::ProblemCode;
use shipway_model::{Artifact, Build, BuildState};
use tokio::time::Instant;

use super::build::CREATE_PROBLEMS;
use super::multipart;
use super::words::{Words, failed};
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::builds::ask::{Again, ask};
use crate::builds::download;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Form, Pace, Parameter, Rules, Verb};
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&COMPAT, compat), Endpoint::new(&DOWNLOAD, page)]
}

const PARAMETERS: &[Parameter] = &[
    Parameter::query("os", Form::Text, "Operating system, as Go calls it."),
    Parameter::query("arch", Form::Text, "Architecture, as Go calls it."),
    Parameter::query("arm", Form::Text, "Which arm, for `arch=arm`; 6 unless told."),
    Parameter::query("p", Form::Text, "A plugin, `package[@version]`; may be repeated."),
    Parameter::query("r", Form::Text, "A replacement, `old=new@version`; may be repeated."),
    Parameter::query("version", Form::Text, "Caddy's version; the latest unless told."),
];

const BINARY: &[Answer] = &[
    Answer { status: 200, doc: "The binary.", content: Some(Content::plain(&["application/octet-stream"])) },
    Answer { status: 206, doc: "A part of it.", content: Some(Content::plain(&["application/octet-stream"])) },
];

const fn rules(path: &'static str, doc: Doc) -> Rules {
    Rules {
        verb: Verb::Get,
        path,
        access: Access::Needs(Action::BuildAnonymously),
        pace: Pace::Downloads,
        errors: ErrorStyle::ErrorObject,
        doc,
    }
}

static COMPAT: Rules = rules(
    "/api/compat",
    Doc {
        id: "caddy_compat",
        tag: "caddy build server",
        summary: "Build a Caddy and fetch it, in one request",
        description: "Answers when the build has ended, after at most 30 minutes. Whoever hangs up stops nothing. \
            Parameters it does not know are ignored. Errors have the form that the `caddy` command reads.",
        parameters: PARAMETERS,
        request: None,
        answers: BINARY,
        problems: CREATE_PROBLEMS,
    },
);

static DOWNLOAD: Rules = rules(
    "/api/download",
    Doc {
        id: "caddy_download",
        tag: "caddy build server",
        summary: "Build a Caddy and fetch it, for the `caddy` command",
        description: "What `caddy upgrade`, `add-package` and `remove-package` ask. As `/api/compat`, and always the \
            plain binary. `HEAD` waits for the build and names the binary's URL in `Location`.",
        parameters: PARAMETERS,
        request: None,
        answers: BINARY,
        problems: CREATE_PROBLEMS,
    },
);

async fn compat(
    State(app): State<App>,
    caller: Caller,
    query: Query,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    fetched(&app, &caller, &query, &method, &headers, multipart::wanted(&headers)).await
}

async fn page(
    State(app): State<App>,
    caller: Caller,
    query: Query,
    method: Method,
    mut headers: HeaderMap,
) -> Result<Response, Reject> {
    // A body that is not there would be written over the program, too.
    headers.remove(header::IF_NONE_MATCH);
    fetched(&app, &caller, &query, &method, &headers, false).await
}

/// What was made; once more if it was made long ago and is no longer kept.
async fn fetched(
    app: &App,
    caller: &Caller,
    query: &Query,
    method: &Method,
    headers: &HeaderMap,
    with_signature: bool,
) -> Result<Response, Reject> {
    let until = Instant::now() + app.config.build_wait;
    let mut is_again = false;
    loop {
        let (build, artifact) = made(app, caller, query, until).await?;
        let sent = match with_signature {
            true => multipart::respond(app, &build, &artifact, method, headers).await,
            false => send(app, &build, &artifact, method, headers).await,
        };
        if sent.is_ok() || is_again || !app.builds.gone.has(build.id) {
            return sent;
        }
        is_again = true;
    }
}

async fn send(
    app: &App,
    build: &Build,
    artifact: &Artifact,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Reject> {
    let mut response = download::respond(app, build, artifact, method, headers).await?;
    // Hexadecimal digits only.
    if let Ok(location) = HeaderValue::from_str(&format!("/api/download/{}", build.key)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Asks for the build and waits for its end.
async fn made(app: &App, caller: &Caller, query: &Query, until: Instant) -> Result<(Build, Artifact), Reject> {
    let request = Words::of(query).request(app)?;
    let (build, _) = ask(app, caller, request, Again::IfItMayHelp).await?;
    let build = ended(app, build, until).await?;
    match &build.state {
        BuildState::Success(artifact) => Ok((build.clone(), artifact.clone())),
        _ => Err(failed(&build)),
    }
}

async fn ended(app: &App, build: Build, until: Instant) -> Result<Build, Reject> {
    if build.state.is_final() {
        return Ok(build);
    }
    let left = until.saturating_duration_since(Instant::now());
    let mut shutdown = app.parts.shutdown.clone();
    let ended = tokio::select! {
        ended = app.builds.waits.ended(&app.parts.store, build.id, left) => ended?,
        () = shutdown.requested() => return Err(restarting()),
    };
    ended.ok_or_else(|| {
        let detail = "the build is not done yet; it goes on";
        Reject::new(ProblemCode::Timeout, detail).hint("ask for the same again: it is not begun anew")
    })
}

fn restarting() -> Reject {
    Reject::new(ProblemCode::Overloaded, "this server is being restarted; the build goes on")
        .hint("ask for the same again in a moment")
        .header(header::RETRY_AFTER, "5")
}

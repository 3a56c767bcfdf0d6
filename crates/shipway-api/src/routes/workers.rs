//! `/v1/workers`: who works on the queue, and taking one out of it.
//!
//! Workers are the platform's, no project's: whoever may operate the platform sees all.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use shipway_api_types::ProblemCode;
use shipway_store::WorkerState;

use crate::access::{Access, Action};
use crate::app::App;
use crate::cursor;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::queue;
use crate::reply::{ErrorStyle, Reject};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(&LIST, list),
        Endpoint::new(&CORDON, cordon),
        Endpoint::new(&UNCORDON, uncordon),
        Endpoint::new(&DRAIN, drain),
    ]
}

const fn rules(verb: Verb, path: &'static str, doc: Doc) -> Rules {
    Rules {
        verb,
        path,
        access: Access::Needs(Action::Workers),
        pace: Pace::Quick,
        errors: ErrorStyle::ProblemJson,
        doc,
    }
}

const WORKER: &[Parameter] = &[Parameter::path("worker", "Its name.")];
const CHANGED: &[Answer] = &[Answer { status: 200, doc: "The worker.", content: Some(Content::json("Worker")) }];

const fn change(path: &'static str, id: &'static str, summary: &'static str, description: &'static str) -> Rules {
    rules(
        Verb::Post,
        path,
        Doc {
            id,
            tag: "queue",
            summary,
            description,
            parameters: WORKER,
            request: None,
            answers: CHANGED,
            problems: &[ProblemCode::NotFound],
        },
    )
}

static LIST: Rules = rules(
    Verb::Get,
    "/v1/workers",
    Doc {
        id: "list_workers",
        tag: "queue",
        summary: "List workers",
        description: "All of them on one page. One that nobody has heard of for long is forgotten after a day.",
        parameters: &[],
        request: None,
        answers: &[Answer { status: 200, doc: "A page.", content: Some(Content::json("Page_Worker")) }],
        problems: &[],
    },
);

static CORDON: Rules = change(
    "/v1/workers/{worker}/cordon",
    "cordon_worker",
    "Give a worker no more tasks",
    "What it has it finishes; what it runs goes on. It stays so when it is started again.",
);

static UNCORDON: Rules = change(
    "/v1/workers/{worker}/uncordon",
    "uncordon_worker",
    "Give a worker tasks again",
    "Also one that was draining.",
);

static DRAIN: Rules = change(
    "/v1/workers/{worker}/drain",
    "drain_worker",
    "Have a worker finish or give back what it has, and take nothing more",
    "It takes tasks again when it is started again, or uncordoned.",
);

async fn list(State(app): State<App>, uri: Uri) -> Result<Response, Reject> {
    let workers = app.parts.store.list_workers().await?;
    let terms = queue::terms(&app.config);
    let items = workers.iter().map(|worker| queue::worker(worker, terms)).collect();
    Ok(cursor::page(&uri, items, None))
}

async fn cordon(State(app): State<App>, InPath(id): InPath<String>) -> Result<Response, Reject> {
    turn(&app, &id, WorkerState::Cordoned).await
}

async fn uncordon(State(app): State<App>, InPath(id): InPath<String>) -> Result<Response, Reject> {
    turn(&app, &id, WorkerState::Active).await
}

async fn drain(State(app): State<App>, InPath(id): InPath<String>) -> Result<Response, Reject> {
    turn(&app, &id, WorkerState::Draining).await
}

async fn turn(app: &App, id: &str, state: WorkerState) -> Result<Response, Reject> {
    app.parts.store.set_worker_state(id, state).await?;
    let workers = app.parts.store.list_workers().await?;
    let worker = workers.iter().find(|worker| worker.facts.id == id).ok_or_else(|| Reject::not_found("worker"))?;
    Ok(Json(queue::worker(worker, queue::terms(&app.config))).into_response())
}

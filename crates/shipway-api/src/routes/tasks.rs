//! `/v1/tasks`: what is in the queue, what it waits for, and having it done anew.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use shipway_api_types::{ProblemCode, TaskDetail};
use shipway_model::{ServiceId, TaskId};
use shipway_store::{QueuePage, Stage, StoreError, TaskFilter, TaskRecord};

use crate::access::{Access, Action, Actor, Caller};
use crate::app::App;
use crate::cursor;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Form, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::query::Query;
use crate::queue;
use crate::reply::{ErrorStyle, Reject};

/// Steps of a task's history that are shown; more than any task has that goes well.
const STEPS_MAX: u32 = 500;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&LIST, list), Endpoint::new(&GET, get), Endpoint::new(&REQUEUE, requeue)]
}

const fn rules(verb: Verb, path: &'static str, doc: Doc) -> Rules {
    Rules { verb, path, access: Access::Needs(Action::Queue), pace: Pace::Quick, errors: ErrorStyle::ProblemJson, doc }
}

const TASK: Parameter = Parameter::path("task", "Its id.");

static LIST: Rules = rules(
    Verb::Get,
    "/v1/tasks",
    Doc {
        id: "list_tasks",
        tag: "queue",
        summary: "List tasks",
        description: "What was asked for last comes first. A queued task says everything that is in its way; \
            one with nothing in its way is taken next. A token sees the tasks of its project.",
        parameters: &[
            Parameter::query(
                "state",
                Form::OneOf(&["queued", "running", "done", "failed", "given_up"]),
                "Only tasks that have come so far.",
            ),
            Parameter::query(
                "service",
                Form::Text,
                "Only tasks of this service, by name or id; of a deleted one by id.",
            ),
            Parameter::query(
                "kind",
                Form::OneOf(&["deploy", "rollback", "start", "stop", "restart", "delete", "repair"]),
                "Only tasks that do this.",
            ),
            Parameter::query("worker", Form::Text, "Only tasks that this worker had last."),
            cursor::LIMIT,
            cursor::CURSOR,
        ],
        request: None,
        answers: &[Answer { status: 200, doc: "A page.", content: Some(Content::json("Page_Task")) }],
        problems: &[ProblemCode::InvalidParameter, ProblemCode::NotFound],
    },
);

static GET: Rules = rules(
    Verb::Get,
    "/v1/tasks/{task}",
    Doc {
        id: "get_task",
        tag: "queue",
        summary: "Read a task",
        description: "With everything that happened to it. Ended tasks are forgotten after a while.",
        parameters: &[TASK],
        request: None,
        answers: &[Answer { status: 200, doc: "The task.", content: Some(Content::json("TaskDetail")) }],
        problems: &[ProblemCode::NotFound],
    },
);

static REQUEUE: Rules = rules(
    Verb::Post,
    "/v1/tasks/{task}/requeue",
    Doc {
        id: "requeue_task",
        tag: "queue",
        summary: "Have a task done anew that was given up",
        description: "Makes a new task of it, with all its attempts before it. The old one is then as any that failed.",
        parameters: &[TASK],
        request: None,
        answers: &[Answer { status: 201, doc: "The new task.", content: Some(Content::json("Task")) }],
        problems: &[ProblemCode::NotFound, ProblemCode::Conflict, ProblemCode::Deleting],
    },
);

async fn list(State(app): State<App>, caller: Caller, query: Query, uri: Uri) -> Result<Response, Reject> {
    let before: Option<u64> = cursor::open(&query)?;
    let limit = cursor::limit(&query);
    let stage = query.text("state").and_then(|word| Stage::ALL.into_iter().find(|stage| stage.word() == word));
    let service = match query.text("service") {
        Some(reference) => Some(service(&app, &caller, reference).await?),
        None => None,
    };
    let filter = TaskFilter {
        id: None,
        project: own_project(&caller),
        stage,
        service,
        kind: query.text("kind").map(str::to_owned),
        worker: query.text("worker").map(str::to_owned),
    };
    let mut page = app.parts.store.list_tasks(&filter, before, limit + 1).await?;
    let more = page.tasks.len() > limit as usize;
    page.tasks.truncate(limit as usize);
    let last = page.tasks.last().filter(|_| more).map(|task| cursor::seal(task.number));
    let terms = queue::terms(&app.config);
    let items = page.tasks.iter().map(|task| queue::task(&page, task, terms)).collect();
    Ok(cursor::page(&uri, items, last))
}

/// Whose tasks the caller sees: its project's, or everybody's for an operator of the host.
fn own_project(caller: &Caller) -> Option<shipway_model::ProjectName> {
    match caller.0.as_ref() {
        Actor::Local => None,
        actor => Some(actor.project()),
    }
}

/// The id of a service, also of one that was.
async fn service(app: &App, caller: &Caller, reference: &str) -> Result<ServiceId, Reject> {
    match (app.service(caller, Action::Queue, reference).await, reference.parse()) {
        (Ok(service), _) => Ok(service.id),
        (Err(reject), Ok(id)) if reject.problem.known_code() == Some(ProblemCode::NotFound) => Ok(id),
        (Err(reject), _) => Err(reject),
    }
}

async fn get(State(app): State<App>, caller: Caller, InPath(id): InPath<String>) -> Result<Response, Reject> {
    let (page, record) = find(&app, &caller, &id).await?;
    let task = queue::task(&page, &record, queue::terms(&app.config));
    let events = app.parts.store.list_events(&format!("task/{}", record.id), 0, STEPS_MAX).await?;
    let history = events.iter().filter_map(queue::step).collect();
    Ok(Json(TaskDetail { task, history }).into_response())
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<(QueuePage, TaskRecord), Reject> {
    let missing = || Reject::not_found("task");
    let id: TaskId = id.parse().map_err(|_| missing())?;
    let filter = TaskFilter { id: Some(id), ..TaskFilter::default() };
    let page = app.parts.store.list_tasks(&filter, None, 1).await?;
    let record = page.tasks.first().cloned().ok_or_else(missing)?;
    caller.may(Action::Queue, &record.project).map_err(|_| missing())?;
    Ok((page, record))
}

async fn requeue(State(app): State<App>, caller: Caller, InPath(id): InPath<String>) -> Result<Response, Reject> {
    let (_, old) = find(&app, &caller, &id).await?;
    let new = match app.parts.store.requeue(old.id, &caller.0.word()).await {
        Ok(new) => new,
        // It is there; so it is not, or no longer, one that was given up.
        Err(StoreError::NotFound("task")) => {
            let detail = format!("the task is {}: only one that was given up is done anew", old.stage.word());
            return Err(Reject::new(ProblemCode::Conflict, detail).hint("ask for the change itself again"));
        }
        Err(error) => return Err(error.into()),
    };
    let (page, record) = find(&app, &caller, &new.to_string()).await?;
    let task = queue::task(&page, &record, queue::terms(&app.config));
    Ok((StatusCode::CREATED, Json(task)).into_response())
}

//! `GET /v1/services/{service}/events`: what happened, for ever.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{StreamExt, TryStreamExt};
use shipway_api_types::ProblemCode;
use shipway_model::ServiceId;

use super::services::SERVICE;
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::cursor;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Rules, Verb};
use crate::flow::{self, Format};
use crate::params::InPath;
use crate::present;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};
use crate::timeline::{self, Until, check_kept};

/// Events read from the store at once.
const BATCH: u32 = 200;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&EVENTS, events)]
}

static EVENTS: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/services/{service}/events",
    access: Access::Needs(Action::Read),
    pace: Pace::Streams,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "list_events",
        tag: "services",
        summary: "Read what happened to a service",
        description: "Oldest first: a page, or with `follow` (or `Accept: text/event-stream`) a stream. \
            A deleted service's events remain for a while, under its id. Of very many events the oldest are \
            forgotten: a cursor that points before what is left is answered with `events_forgotten`.",
        parameters: &[SERVICE, cursor::LIMIT, cursor::CURSOR, flow::FOLLOW, flow::FORMAT, flow::RESUME],
        request: None,
        answers: &[Answer {
            status: 200,
            doc: "A page, or events as they come.",
            content: Some(Content {
                media: &["application/json", "application/x-ndjson", "text/event-stream"],
                schema: Some("Page_Event"),
            }),
        }],
        problems: &[ProblemCode::InvalidParameter, ProblemCode::NotFound, ProblemCode::EventsForgotten],
    },
};

async fn events(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Reject> {
    let subject = subject(&app, &caller, &reference).await?;
    let after = after(&query, &headers)?;
    let format = Format::of(&query, &headers);
    if query.flag("follow") || format == Format::Sse {
        check_kept(after, &app.parts.store.list_events(&subject, after, 1).await?)?;
        let events = timeline::read(app.parts.store.clone(), subject, after, BATCH, Until::ForEver);
        let events = events.map_ok(|event| present::event(&event)).boxed();
        return Ok(flow::respond(events, format, app.parts.shutdown.clone()));
    }
    timeline::page(&app.parts.store, &subject, after, &query, &uri).await
}

/// Where to go on: the number hidden in a cursor of ours.
pub(crate) fn after(query: &Query, headers: &HeaderMap) -> Result<u64, Reject> {
    let Some(cursor) = flow::resume(query, headers) else {
        return Ok(0);
    };
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Reject::parameter("query:cursor", "expected the id of another event"))
}

/// The subject whose events these are: of a service, or of one that was.
async fn subject(app: &App, caller: &Caller, reference: &str) -> Result<String, Reject> {
    let missing = match app.service(caller, Action::Read, reference).await {
        Ok(service) => return Ok(format!("service/{}", service.id)),
        Err(reject) => reject,
    };
    let Ok(id) = reference.parse::<ServiceId>() else {
        return Err(missing);
    };
    let subject = format!("service/{id}");
    let first = app.parts.store.list_events(&subject, 0, 1).await?;
    match first.first() {
        Some(event) if caller.may(Action::Read, &event.project).is_ok() => Ok(subject),
        _ => Err(missing),
    }
}

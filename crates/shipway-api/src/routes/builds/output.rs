//! What happens to a build, and what its steps say: as it happens, from its beginning on.
//!
//! Both are its events, so both can be read again after any break, and both end when the build
//! has. One that was given up and is then done anew goes on; so the end is where a build has
//! ended *and* nothing more was said, not at the first word of an end.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use shipway_api_types::{BuildLine, ProblemCode};
use shipway_model::{BuildId, Event, EventKind};
use shipway_stdx::clock::rfc3339;

use super::{BUILD, find};
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::cursor;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::flow::{self, Format};
use crate::params::InPath;
use crate::present;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};
use crate::routes::events::after;
use crate::timeline::{self, Until};

/// Events read from the store at once. One holds up to some hundred lines.
const BATCH: u32 = 100;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&EVENTS, events), Endpoint::new(&LOGS, logs)]
}

const fn rules(path: &'static str, doc: Doc) -> Rules {
    Rules {
        verb: Verb::Get,
        path,
        access: Access::Needs(Action::Read),
        pace: Pace::Streams,
        errors: ErrorStyle::ProblemJson,
        doc,
    }
}

static EVENTS: Rules = rules(
    "/v1/builds/{build}/events",
    Doc {
        id: "list_build_events",
        tag: "builds",
        summary: "Read what happened to a build",
        description: "Oldest first: a page, or with `follow` (or `Accept: text/event-stream`) a stream that ends \
            when the build has ended. `build_step` begins and ends a step, `build_output` has lines that it said.",
        parameters: &[BUILD, cursor::LIMIT, cursor::CURSOR, flow::FOLLOW, flow::FORMAT, flow::RESUME],
        request: None,
        answers: &[Answer {
            status: 200,
            doc: "A page, or events as they come.",
            content: Some(Content {
                media: &["application/json", "application/x-ndjson", "text/event-stream"],
                schema: Some("Page_Event"),
            }),
        }],
        problems: &[ProblemCode::NotFound, ProblemCode::EventsForgotten, ProblemCode::BuildsUnavailable],
    },
);

static LOGS: Rules = rules(
    "/v1/builds/{build}/logs",
    Doc {
        id: "build_logs",
        tag: "builds",
        summary: "Read what the steps of a build said",
        description: "Oldest line first; as plain text unless `format` or `Accept` says otherwise. With `follow` until the build has ended.",
        parameters: &[
            BUILD,
            flow::FOLLOW,
            Parameter::query("cursor", crate::endpoint::Form::Text, "Only lines after those with this cursor."),
            flow::FORMAT_OR_TEXT,
            flow::RESUME,
        ],
        request: None,
        answers: &[Answer {
            status: 200,
            doc: "Lines, as they come.",
            content: Some(Content {
                media: &["text/plain", "application/x-ndjson", "text/event-stream"],
                schema: Some("BuildLine"),
            }),
        }],
        problems: &[ProblemCode::NotFound, ProblemCode::EventsForgotten, ProblemCode::BuildsUnavailable],
    },
);

fn subject(id: BuildId) -> String {
    format!("build/{id}")
}

async fn events(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    query: Query,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Reject> {
    let build = find(&app, &caller, Action::Read, &id).await?;
    let (after, format) = (after(&query, &headers)?, Format::of(&query, &headers));
    let store = &app.parts.store;
    if query.flag("follow") || format == Format::Sse {
        let events = timeline::read(store.clone(), subject(build.id), after, BATCH, Until::Ended(build.id));
        let events = events.map_ok(|event| present::event(&event)).boxed();
        return Ok(flow::respond(events, format, app.parts.shutdown.clone()));
    }
    timeline::page(store, &subject(build.id), after, &query, &uri).await
}

async fn logs(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let build = find(&app, &caller, Action::Read, &id).await?;
    let after = after(&query, &headers)?;
    let until = if query.flag("follow") { Until::Ended(build.id) } else { Until::Now };
    let events = timeline::read(app.parts.store.clone(), subject(build.id), after, BATCH, until);
    let lines = events.map_ok(|event| stream::iter(lines(event).into_iter().map(Ok))).try_flatten().boxed();
    Ok(flow::respond(lines, Format::or_text(&query, &headers), app.parts.shutdown.clone()))
}

/// The lines of an event, if it has any.
fn lines(event: Event) -> Vec<BuildLine> {
    let EventKind::BuildOutput { step, lines } = event.kind else { return Vec::new() };
    let (at, cursor) = (rfc3339(event.at), cursor::seal(event.seq));
    let line = |text| BuildLine { at: at.clone(), step: step.clone(), text, cursor: cursor.clone() };
    lines.into_iter().map(line).collect()
}

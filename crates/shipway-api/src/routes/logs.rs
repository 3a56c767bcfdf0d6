//! `GET /v1/services/{service}/logs`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::StreamExt;
use shipway_api_types::{LogStream, ProblemCode};

use super::services::SERVICE;
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Form, Pace, Parameter, Rules, Verb};
use crate::flow::{self, Format};
use crate::live::LogQuery;
use crate::params::InPath;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};
use crate::time;

/// Most lines `?tail=` gives.
const TAIL_MAX: u64 = 100_000;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&LOGS, logs)]
}

static LOGS: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/services/{service}/logs",
    access: Access::Needs(Action::Read),
    pace: Pace::Streams,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "logs",
        tag: "services",
        summary: "Read a service's log",
        description: "What its container printed, oldest line first. When following, also of the \
            containers that come after it. A problem in the middle is an item of its own: \
            `{\"problem\": …}`, or an event named `problem`.",
        parameters: &[
            SERVICE,
            flow::FOLLOW,
            Parameter::query(
                "tail",
                Form::Integer { least: 0, most: TAIL_MAX },
                "Only the last so many lines of what is there.",
            ),
            Parameter::query(
                "since",
                Form::Text,
                "Only lines of this time (RFC 3339) or later, or so long ago, as `90s`, `15m`, `2h`, `1d`.",
            ),
            Parameter::query("cursor", Form::Text, "Only lines after the one with this cursor."),
            Parameter::query("stream", Form::OneOf(&["stdout", "stderr"]), "Only lines of this output."),
            flow::FORMAT,
            flow::RESUME,
        ],
        request: None,
        answers: &[Answer { status: 200, doc: "Lines, as they come.", content: Some(Content::stream("LogLine")) }],
        problems: &[ProblemCode::InvalidParameter, ProblemCode::NotFound, ProblemCode::EngineUnavailable],
    },
};

async fn logs(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let since = match query.text("since") {
        None => None,
        Some(text) => Some(time::since(text, app.parts.store.now().await?)?),
    };
    let asked = LogQuery {
        follow: query.flag("follow"),
        tail: query.number("tail").map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
        since,
        after: flow::resume(&query, &headers),
        stream: match query.text("stream") {
            Some("stdout") => Some(LogStream::Stdout),
            Some(_) => Some(LogStream::Stderr),
            None => None,
        },
    };
    let service = app.service(&caller, Action::Read, &reference).await?;
    let lines = app.parts.live.logs(service.id, asked).await?;
    let lines = lines.map(|line| line.map_err(Reject::from)).boxed();
    let shutdown = app.parts.shutdown.clone();
    Ok(flow::respond(lines, Format::of(&query, &headers), shutdown))
}

//! `GET /v1/services/{service}/stats`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use shipway_api_types::{ProblemCode, Stats};
use shipway_model::ServiceId;
use tokio::time::{Interval, MissedTickBehavior};

use super::services::SERVICE;
use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Rules, Verb};
use crate::flow::{self, Format};
use crate::live::Live;
use crate::params::InPath;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};

/// Between two items of a stream. The kernel's counters cost little, but not nothing.
const EVERY: Duration = Duration::from_secs(2);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&STATS, stats)]
}

static STATS: Rules = Rules {
    verb: Verb::Get,
    path: "/v1/services/{service}/stats",
    access: Access::Needs(Action::Read),
    pace: Pace::Streams,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "stats",
        tag: "services",
        summary: "Read what a service uses",
        description: "Once, or with `follow` (or `Accept: text/event-stream`) every two seconds.",
        parameters: &[SERVICE, flow::FOLLOW, flow::FORMAT],
        request: None,
        answers: &[Answer {
            status: 200,
            doc: "What its container uses.",
            content: Some(Content {
                media: &["application/json", "application/x-ndjson", "text/event-stream"],
                schema: Some("Stats"),
            }),
        }],
        problems: &[ProblemCode::NotFound, ProblemCode::NotRunning, ProblemCode::EngineUnavailable],
    },
};

async fn stats(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let service = app.service(&caller, Action::Read, &reference).await?;
    let format = Format::of(&query, &headers);
    if query.flag("follow") || format == Format::Sse {
        let items = watch(Arc::clone(&app.parts.live), service.id);
        return Ok(flow::respond(items, format, app.parts.shutdown.clone()));
    }
    let stats = app.parts.live.stats(service.id).await?;
    Ok(Json(stats).into_response())
}

fn watch(live: Arc<dyn Live>, service: ServiceId) -> BoxStream<'static, Result<Stats, Reject>> {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start: (Arc<dyn Live>, Interval) = (live, every);
    stream::try_unfold(start, move |(live, mut every)| async move {
        every.tick().await;
        let stats = live.stats(service).await.map_err(Reject::from)?;
        Ok(Some((stats, (live, every))))
    })
    .into_stream()
    .boxed()
}

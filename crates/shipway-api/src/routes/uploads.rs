//! `POST /v1/uploads`: content for a deploy without a URL.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use shipway_api_types::ProblemCode;

use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::content;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Rules, Verb};
use crate::reply::{ErrorStyle, Reject};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&UPLOAD, upload)]
}

static UPLOAD: Rules = Rules {
    verb: Verb::Post,
    path: "/v1/uploads",
    access: Access::Needs(Action::Change),
    pace: Pace::Uploads,
    errors: ErrorStyle::ProblemJson,
    doc: Doc {
        id: "upload",
        tag: "services",
        summary: "Upload content",
        description: "Keeps the body by its digest, for `upload` of a deploy. Content that no deploy uses \
            may be collected after an hour.",
        parameters: &[super::services::IDEMPOTENCY_KEY],
        request: Some(Content::plain(&["application/octet-stream"])),
        answers: &[Answer { status: 201, doc: "Kept.", content: Some(Content::json("Upload")) }],
        problems: &[ProblemCode::BodyTooLarge, ProblemCode::StorageUnavailable, ProblemCode::Timeout],
    },
};

async fn upload(State(app): State<App>, caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, Reject> {
    caller.may(Action::Change, &caller.0.project())?;
    let upload = content::keep(&app, &headers, body).await?;
    Ok((StatusCode::CREATED, Json(upload)).into_response())
}

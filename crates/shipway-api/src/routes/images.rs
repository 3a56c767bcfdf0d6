//! `/v1/images`: import, make, list, read, remove.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use shipway_api_types::{ImageBootstrap, ProblemCode};

use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::body::Strict;
use crate::cursor;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::images::{self, Origin};
use crate::params::InPath;
use crate::present;
use crate::query::Query;
use crate::reply::{ErrorStyle, Reject};

const IMAGE: Parameter =
    Parameter::path("image", "Its name, `repository` or `repository:tag`; a slash is written `%2F`.");

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(&IMPORT, import),
        Endpoint::new(&BOOTSTRAP, bootstrap),
        Endpoint::new(&LIST, list),
        Endpoint::new(&GET, get),
        Endpoint::new(&REMOVE, remove),
    ]
}

const fn rules(verb: Verb, path: &'static str, action: Action, pace: Pace, doc: Doc) -> Rules {
    Rules { verb, path, access: Access::Needs(action), pace, errors: ErrorStyle::ProblemJson, doc }
}

static IMPORT: Rules = rules(
    Verb::Put,
    "/v1/images/{image}",
    Action::Images,
    Pace::Uploads,
    Doc {
        id: "import_image",
        tag: "images",
        summary: "Import an image",
        description: "The body is a root file system as a tar archive, plain, in gzip or in Zstandard. Devices below \
            `dev/`, set-id bits and extended attributes are left out and counted; an archive that breaks a rule is \
            refused whole, and the answer names the rule. The image is known by the digest of its tree; a name that \
            meant another one means this one from now on, and releases keep what they were made with.",
        parameters: &[IMAGE],
        request: Some(Content::plain(&["application/octet-stream"])),
        answers: &[Answer { status: 201, doc: "Imported.", content: Some(Content::json("ImageImported")) }],
        problems: &[
            ProblemCode::InvalidName,
            ProblemCode::ArchiveRefused,
            ProblemCode::BodyTooLarge,
            ProblemCode::StorageUnavailable,
            ProblemCode::Timeout,
        ],
    },
);

async fn import(
    State(app): State<App>,
    caller: Caller,
    InPath(name): InPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Reject> {
    let (name, project) = (images::name(&name)?, caller.0.project());
    caller.may(Action::Images, &project)?;
    let archive = images::receive(&app, &headers, body).await?;
    let made = images::import(&app, project, &caller.0.word(), &name, Origin::Archive(archive)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

static BOOTSTRAP: Rules = rules(
    Verb::Post,
    "/v1/images/{image}/bootstrap",
    Action::Images,
    Pace::Uploads,
    Doc {
        id: "bootstrap_image",
        tag: "images",
        summary: "Make an image of a distribution's packages",
        description: "The server makes it with `mmdebstrap`, from the mirror its own packages come from. The answer \
            comes when it is done, after a minute or so.",
        parameters: &[IMAGE],
        request: Some(Content::json("ImageBootstrap")),
        answers: &[Answer { status: 201, doc: "Made.", content: Some(Content::json("ImageImported")) }],
        problems: &[
            ProblemCode::InvalidName,
            ProblemCode::BootstrapFailed,
            ProblemCode::BootstrapUnavailable,
            ProblemCode::ArchiveRefused,
            ProblemCode::StorageUnavailable,
        ],
    },
);

async fn bootstrap(
    State(app): State<App>,
    caller: Caller,
    InPath(name): InPath<String>,
    Strict(body): Strict<ImageBootstrap>,
) -> Result<Response, Reject> {
    let (name, project) = (images::name(&name)?, caller.0.project());
    caller.may(Action::Images, &project)?;
    let made = images::import(&app, project, &caller.0.word(), &name, Origin::Distribution(body.from)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

static LIST: Rules = rules(
    Verb::Get,
    "/v1/images",
    Action::Read,
    Pace::Quick,
    Doc {
        id: "list_images",
        tag: "images",
        summary: "List images",
        description: "In the order of their names.",
        parameters: &[cursor::LIMIT, cursor::CURSOR],
        request: None,
        answers: &[Answer { status: 200, doc: "A page.", content: Some(Content::json("Page_Image")) }],
        problems: &[],
    },
);

async fn list(State(app): State<App>, caller: Caller, query: Query, uri: Uri) -> Result<Response, Reject> {
    let limit = cursor::limit(&query);
    let after: Option<String> = cursor::open(&query)?;
    let project = caller.0.project();
    let store = &app.parts.store;
    let mut rows = store.list_images(&project, after.as_deref(), limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|last| cursor::seal(&last.name));
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(present::image(row, store.image_users(&row.digest).await?));
    }
    Ok(cursor::page(&uri, items, next))
}

static GET: Rules = rules(
    Verb::Get,
    "/v1/images/{image}",
    Action::Read,
    Pace::Quick,
    Doc {
        id: "get_image",
        tag: "images",
        summary: "Read an image",
        description: "",
        parameters: &[IMAGE],
        request: None,
        answers: &[Answer { status: 200, doc: "The image.", content: Some(Content::json("Image")) }],
        problems: &[ProblemCode::InvalidName, ProblemCode::NoSuchImage],
    },
);

async fn get(State(app): State<App>, caller: Caller, InPath(name): InPath<String>) -> Result<Response, Reject> {
    let name = images::name(&name)?;
    let store = &app.parts.store;
    let found = store.find_image(&caller.0.project(), name.as_str()).await?;
    let image = found.ok_or_else(|| Reject::new(ProblemCode::NoSuchImage, format!("there is no image `{name}`")))?;
    let users = store.image_users(&image.digest).await?;
    Ok(Json(present::image(&image, users)).into_response())
}

static REMOVE: Rules = rules(
    Verb::Delete,
    "/v1/images/{image}",
    Action::Images,
    Pace::Waits,
    Doc {
        id: "remove_image",
        tag: "images",
        summary: "Remove an image",
        description: "Forgets the name, and the tree when no other name means it. Refused while a service has a \
            release on it that can still run.",
        parameters: &[IMAGE],
        request: None,
        answers: &[Answer { status: 204, doc: "It is gone.", content: None }],
        problems: &[ProblemCode::InvalidName, ProblemCode::NoSuchImage, ProblemCode::ImageInUse],
    },
);

async fn remove(State(app): State<App>, caller: Caller, InPath(name): InPath<String>) -> Result<Response, Reject> {
    let (name, project) = (images::name(&name)?, caller.0.project());
    caller.may(Action::Images, &project)?;
    images::remove(&app, &project, &caller.0.word(), &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

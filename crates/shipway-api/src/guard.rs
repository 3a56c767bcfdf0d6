//! Before a route's own code runs: where the request comes from, who asks,
//! whether they may, and whether there is room.
//!
//! Order matters. The origin comes first, because a page of another origin must
//! not learn even whether its token is good; then authorisation, so that nobody
//! unknown gets a body parsed or a parameter judged; then the parameters.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, header};
use http_body_util::BodyExt;
use shipway_api_types::ProblemCode;
use tokio::sync::OwnedSemaphorePermit;

use crate::access::{Access, Action, Actor, Caller, Resource, Role, authorize};
use crate::app::App;
use crate::body;
use crate::config::Contract;
use crate::endpoint::{Pace, Rules};
use crate::origin;
use crate::peer::Peer;
use crate::query;
use crate::reply::{ErrorStyle, Reject};
use crate::secret::Secret;

/// Longest a route that does not wait may take.
const QUICK_LIMIT: Duration = Duration::from_secs(30);
/// Longest a route that waits may take: the longest `?wait=`, and then some.
const WAITS_LIMIT: Duration = Duration::from_secs(330);

/// The guard of one route.
pub(crate) async fn guard(State((app, rules)): State<(App, &'static Rules)>, request: Request, next: Next) -> Response {
    let mut response = match pass(&app, rules, request, next).await {
        Ok(response) => response,
        Err(reject) => reject.into_response(),
    };
    if rules.errors != ErrorStyle::ProblemJson {
        response.extensions_mut().insert(rules.errors);
    }
    response
}

/// Asks everything that can be asked before the body is read.
async fn examine(app: &App, rules: &Rules, parts: &Parts) -> Result<Actor, Reject> {
    // A GET that starts work must not be sent by somebody else's page either.
    let method = if rules.pace == Pace::Downloads { Method::POST } else { rules.verb.method() };
    origin::check(&method, &parts.headers)?;
    let trusted = is_trusted(&parts.extensions);
    let actor = admit(app, rules, &parts.headers, trusted).await?;
    tracing::Span::current().record("actor", actor.word());
    query::check(rules, &parts.uri)?;
    Ok(actor)
}

async fn pass(app: &App, rules: &'static Rules, request: Request, next: Next) -> Result<Response, Reject> {
    let (parts, body) = request.into_parts();
    let actor = match examine(app, rules, &parts).await {
        Ok(actor) => actor,
        Err(reject) => {
            body::discard(&parts.headers, body).await;
            return Err(reject);
        }
    };
    let mut request = Request::from_parts(parts, body);
    request.extensions_mut().insert(Caller(Arc::new(actor)));
    match rules.pace {
        Pace::Instant => Ok(next.run(request).await),
        Pace::Quick => in_time(app, QUICK_LIMIT, request, next).await,
        Pace::Waits => in_time(app, WAITS_LIMIT, request, next).await,
        Pace::Uploads => {
            let _place = App::place(&app.requests, "requests")?;
            Ok(next.run(request).await)
        }
        Pace::Streams => stream(app, request, next).await,
        Pace::Downloads => {
            let place = App::place(&app.downloads, "downloads")?;
            Ok(held(next.run(request).await, place))
        }
    }
}

async fn in_time(app: &App, limit: Duration, request: Request, next: Next) -> Result<Response, Reject> {
    let _place = App::place(&app.requests, "requests")?;
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| {
        let detail = format!("not done within {} s", limit.as_secs());
        Reject::new(ProblemCode::Timeout, detail)
    })
}

/// A stream keeps its place until its body is gone.
async fn stream(app: &App, request: Request, next: Next) -> Result<Response, Reject> {
    let place = App::place(&app.streams, "streams")?;
    let response = tokio::time::timeout(QUICK_LIMIT, next.run(request))
        .await
        .map_err(|_| Reject::new(ProblemCode::Timeout, "the stream did not begin in time"))?;
    Ok(held(response, place))
}

/// Keeps a place taken until the answer's body is gone.
fn held(response: Response, place: OwnedSemaphorePermit) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &place;
            frame
        }))
    })
}

/// Finds out who asks, and whether they may.
async fn admit(app: &App, rules: &Rules, headers: &HeaderMap, trusted: bool) -> Result<Actor, Reject> {
    let Access::Needs(action) = rules.access else {
        return Ok(Actor::Anonymous);
    };
    let action = match action {
        Action::DeployAnonymously if app.config.contracts.url_deploy != Contract::Anonymous => Action::Change,
        Action::BuildAnonymously if app.config.contracts.caddy_build != Contract::Anonymous => Action::Build,
        action => action,
    };
    let actor = identify(app, headers, trusted).await?;
    let resource = match action {
        Action::Observe | Action::Workers => Resource::Platform,
        _ => Resource::Project(&actor.project()),
    };
    authorize(&actor, action, resource)?;
    Ok(actor)
}

/// Who asks: the token's holder if there is one, else whom the kernel vouches for.
pub(crate) async fn identify(app: &App, headers: &HeaderMap, trusted: bool) -> Result<Actor, Reject> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else {
        return Ok(if trusted { Actor::Local } else { Actor::Anonymous });
    };
    let secret = (given.next().is_none())
        .then(|| value.to_str().ok())
        .flatten()
        .and_then(bearer)
        .and_then(Secret::parse)
        .ok_or_else(wrong_token)?;
    let token = app.parts.store.use_token(secret.sha256()).await?;
    let token = token.ok_or_else(wrong_token)?;
    Ok(Actor::Token { id: token.id, role: Role::from_word(&token.role), project: token.project })
}

/// Whether the kernel vouches for the other end of the connection.
pub(crate) fn is_trusted(extensions: &Extensions) -> bool {
    extensions.get::<Peer>().is_some_and(|peer| peer.trusted)
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim_matches(' '))
}

fn wrong_token() -> Reject {
    Reject::new(ProblemCode::Unauthorized, "")
        .hint("the token is not valid: it may be mistyped, expired or revoked")
        .header(header::WWW_AUTHENTICATE, "Bearer realm=\"shipway\", error=\"invalid_token\"")
}

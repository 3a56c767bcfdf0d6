//! `/v1/tokens`: make, list, revoke.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use shipway_api_types::{NewToken, ProblemCode, TokenCreate};
use shipway_model::TokenId;
use shipway_store::Token;

use crate::access::{Access, Action, Caller};
use crate::app::App;
use crate::body::{Strict, wrong};
use crate::cursor;
use crate::endpoint::{Answer, Content, Doc, Endpoint, Pace, Parameter, Rules, Verb};
use crate::params::InPath;
use crate::present;
use crate::reply::{ErrorStyle, Reject};
use crate::secret::Secret;

const NAME_LETTERS_MAX: usize = 100;
/// Ten years: longer is a typo, and would overflow somewhere.
const LIFE_SECONDS_MAX: u64 = 10 * 366 * 86_400;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::new(&CREATE, create), Endpoint::new(&LIST, list), Endpoint::new(&REVOKE, revoke)]
}

const fn rules(verb: Verb, path: &'static str, doc: Doc) -> Rules {
    Rules { verb, path, access: Access::Needs(Action::Tokens), pace: Pace::Quick, errors: ErrorStyle::ProblemJson, doc }
}

static CREATE: Rules = rules(
    Verb::Post,
    "/v1/tokens",
    Doc {
        id: "create_token",
        tag: "tokens",
        summary: "Make a token",
        description: "The secret is shown this once and kept nowhere. Repeating the request makes another \
            token; an Idempotency-Key is accepted and not kept, because that would mean to keep the secret.",
        parameters: &[Parameter::header("Idempotency-Key", "Accepted and not kept.")],
        request: Some(Content::json("TokenCreate")),
        answers: &[Answer { status: 201, doc: "Made.", content: Some(Content::json("NewToken")) }],
        problems: &[],
    },
);

static LIST: Rules = rules(
    Verb::Get,
    "/v1/tokens",
    Doc {
        id: "list_tokens",
        tag: "tokens",
        summary: "List tokens",
        description: "Without their secrets, which nobody has. All of them on one page.",
        parameters: &[],
        request: None,
        answers: &[Answer { status: 200, doc: "A page.", content: Some(Content::json("Page_Token")) }],
        problems: &[],
    },
);

static REVOKE: Rules = rules(
    Verb::Delete,
    "/v1/tokens/{token}",
    Doc {
        id: "revoke_token",
        tag: "tokens",
        summary: "Revoke a token",
        description: "It stops working at once.",
        parameters: &[Parameter::path("token", "Its id.")],
        request: None,
        answers: &[Answer { status: 204, doc: "It is gone.", content: None }],
        problems: &[ProblemCode::NotFound],
    },
);

async fn create(State(app): State<App>, caller: Caller, Strict(body): Strict<TokenCreate>) -> Result<Response, Reject> {
    let letters = body.name.chars().count();
    if letters == 0 || letters > NAME_LETTERS_MAX || body.name.chars().any(char::is_control) {
        let detail = format!("expected 1 to {NAME_LETTERS_MAX} characters, none of them control");
        return Err(wrong("#/name", detail));
    }
    let life = body.expires_in_seconds;
    if life.is_some_and(|life| life == 0 || life > LIFE_SECONDS_MAX) {
        let detail = format!("expected 1 to {LIFE_SECONDS_MAX} seconds");
        return Err(wrong("#/expires_in_seconds", detail));
    }
    let project = caller.0.project();
    caller.may(Action::Tokens, &project)?;
    let now = app.parts.store.now().await?;
    let token = Token {
        id: TokenId(uuid::Uuid::new_v4()),
        name: body.name,
        role: "admin".to_owned(),
        project,
        created_at: now,
        expires_at: life.and_then(|life| i64::try_from(life).ok()).map(|life| now + life * 1_000_000),
        last_used_at: None,
    };
    let secret = Secret::mint().map_err(Reject::internal)?;
    let store = &app.parts.store;
    store.add_token(&token, secret.sha256(), &caller.0.word()).await?;
    let made = NewToken { secret: secret.reveal().to_owned(), token: present::token(&token) };
    let mut response = (StatusCode::CREATED, Json(made)).into_response();
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Reject> {
    let tokens = app.parts.store.list_tokens().await?;
    let items =
        tokens.iter().filter(|token| caller.may(Action::Tokens, &token.project).is_ok()).map(present::token).collect();
    Ok(cursor::page(&uri, items, None))
}

async fn revoke(State(app): State<App>, caller: Caller, InPath(id): InPath<String>) -> Result<Response, Reject> {
    let missing = || Reject::not_found("token");
    let id: TokenId = id.parse().map_err(|_| missing())?;
    let store = &app.parts.store;
    let tokens = store.list_tokens().await?;
    let ours = tokens.iter().any(|token| token.id == id && caller.may(Action::Tokens, &token.project).is_ok());
    if !ours || !store.revoke_token(id, &caller.0.word()).await? {
        return Err(missing());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

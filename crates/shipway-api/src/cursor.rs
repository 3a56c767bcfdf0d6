//! Pages of lists.
//!
//! A cursor is opaque to clients: the last thing they have seen, in base64, so
//! that nobody is tempted to count with it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Uri, header};
use serde::Serialize;
use shipway_api_types::Page;
use url::form_urlencoded;

use crate::endpoint::{Form, Parameter};
use crate::query::Query;
use crate::reply::Reject;

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 500;

/// `?cursor=`.
pub(crate) const CURSOR: Parameter = Parameter::query("cursor", Form::Text, "`next` of the page before.");
/// `?limit=`.
pub(crate) const LIMIT: Parameter =
    Parameter::query("limit", Form::Integer { least: 1, most: LIMIT_MAX }, "Most items on a page; 50 unless told.");

/// How many items a page has.
pub(crate) fn limit(query: &Query) -> u32 {
    let limit = query.number("limit").unwrap_or(LIMIT_DEFAULT);
    u32::try_from(limit.min(LIMIT_MAX)).unwrap_or(1)
}

/// Hides what a page ended with.
pub(crate) fn seal(last: impl std::fmt::Display) -> String {
    URL_SAFE_NO_PAD.encode(last.to_string())
}

/// Reads what the page before ended with, if there was one.
pub(crate) fn open<T: std::str::FromStr>(query: &Query) -> Result<Option<T>, Reject> {
    let Some(cursor) = query.text("cursor") else {
        return Ok(None);
    };
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let last = text.and_then(|text| text.parse().ok());
    last.map(Some).ok_or_else(|| Reject::parameter("query:cursor", "expected `next` of another page"))
}

/// Answers with a page, and with `Link: rel="next"` (RFC 8288) when it has a next one.
pub(crate) fn page<T: Serialize>(uri: &Uri, items: Vec<T>, next: Option<String>) -> Response {
    let link = next.as_ref().and_then(|next| link(uri, next));
    let mut response = Json(Page { items, next }).into_response();
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn link(uri: &Uri, next: &str) -> Option<HeaderValue> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = uri.query().unwrap_or_default().as_bytes();
    query.extend_pairs(form_urlencoded::parse(given).filter(|(name, _)| name != "cursor"));
    query.append_pair("cursor", next);
    let target = format!("<{}?{}>; rel=\"next\"", uri.path(), query.finish());
    HeaderValue::from_str(&target).ok()
}

//! Reading a JSON body strictly.
//!
//! At most 1 MiB, in at most 20 seconds, declared as JSON, one object, no field
//! unknown; and when it is wrong, the answer names the field and what was expected.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use shipway_api_types::{BuildCreate, ImageBootstrap, ProblemCode, Rollback, ServicePut, TokenCreate};

use crate::reply::Reject;

/// Largest JSON body.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest a JSON body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// Most that is read of a body nobody wants.
const DISCARD_BYTES_MAX: usize = 128 << 20;
/// Longest a body nobody wants is read.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// A body that [`Strict`] can read.
pub(crate) trait Input: DeserializeOwned {
    /// Fields that must be objects. Serde would take an array for a struct, field
    /// by field in order; a client that sends one is mistaken.
    const OBJECTS: &'static [&'static str] = &[];
    /// What an empty body means, if it may be empty.
    fn empty() -> Option<Self> {
        None
    }
}

impl Input for ServicePut {
    const OBJECTS: &'static [&'static str] = &["env", "limits", "health"];
}

impl Input for TokenCreate {}

impl Input for ImageBootstrap {}

impl Input for BuildCreate {}

impl Input for Rollback {
    fn empty() -> Option<Self> {
        Some(Self::default())
    }
}

/// A JSON body, read strictly.
#[derive(Debug)]
pub(crate) struct Strict<T>(pub(crate) T);

impl<T: Input, S: Sync> FromRequest<S> for Strict<T> {
    type Rejection = Reject;

    async fn from_request(request: Request, _: &S) -> Result<Self, Reject> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body).await?;
        if bytes.is_empty()
            && let Some(empty) = T::empty()
        {
            return Ok(Self(empty));
        }
        check_media(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

/// Reads a whole body, bounded in size and time.
pub(crate) async fn read(headers: &HeaderMap, mut body: Body) -> Result<Bytes, Reject> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES_MAX) {
        discard(headers, body).await;
        return Err(too_large());
    }
    let whole = Limited::new(&mut body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIME, whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(headers, body).await;
            Err(too_large())
        }
        Ok(Err(_)) => Err(Reject::new(ProblemCode::InvalidJson, "the body ended before it was whole")),
        Err(_) => {
            Err(Reject::new(ProblemCode::Timeout, format!("the body did not arrive within {} s", BODY_TIME.as_secs())))
        }
    }
}

/// Reads what is left of a body that nobody wants, for a moment.
///
/// A client that is still writing when we answer and close gets a broken pipe and
/// never sees the answer that says why. One that asked first (`Expect`) has not
/// begun, and reading would tell it to.
pub(crate) async fn discard(headers: &HeaderMap, body: Body) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let mut rest = Limited::new(body, DISCARD_BYTES_MAX);
    let all = async { while let Some(Ok(_)) = rest.frame().await {} };
    // Whatever is still left then is the client's trouble.
    drop(tokio::time::timeout(DISCARD_TIME, all).await);
}

fn too_large() -> Reject {
    Reject::new(ProblemCode::BodyTooLarge, format!("a JSON body has at most {BODY_BYTES_MAX} bytes"))
        .hint("content itself goes to POST /v1/uploads")
}

fn check_media(headers: &HeaderMap) -> Result<(), Reject> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Reject::new(
        ProblemCode::UnsupportedMediaType,
        format!("expected Content-Type: application/json, not `{declared}`"),
    )
    .field("header:Content-Type", "expected application/json"))
}

/// Parses a body. Separate from the extractor, so that tests need no request.
pub(crate) fn parse<T: Input>(bytes: &[u8]) -> Result<T, Reject> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
    let Value::Object(fields) = &value else {
        return Err(wrong("#", "expected a JSON object"));
    };
    for name in T::OBJECTS {
        if fields.get(*name).is_some_and(|field| !field.is_object() && !field.is_null()) {
            return Err(wrong(format!("#/{name}"), "expected a JSON object"));
        }
    }
    // From the bytes again: a `Value` has already forgotten repeated keys.
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = pointer(error.path());
        let inner = error.into_inner();
        match inner.classify() {
            Category::Data => wrong_field(path, &inner),
            Category::Io | Category::Syntax | Category::Eof => not_json(&inner),
        }
    })
}

fn not_json(error: &serde_json::Error) -> Reject {
    Reject::new(ProblemCode::InvalidJson, format!("the body is not JSON: {error}"))
        .hint("expected one JSON object, as {\"url\": \"https://example.com/hello.sh\"}")
}

fn wrong_field(path: String, error: &serde_json::Error) -> Reject {
    // serde_json adds the position, which the pointer says better.
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix)?.split('`').next());
    match named {
        Some(name) if !path.ends_with(&format!("/{name}")) => wrong(format!("{path}/{name}"), text),
        _ => wrong(path, text),
    }
}

/// A field that is wrong.
pub(crate) fn wrong(pointer: impl Into<String>, detail: impl Into<String>) -> Reject {
    let (pointer, detail) = (pointer.into(), detail.into());
    let name = match pointer.trim_start_matches("#/") {
        "#" => "the body",
        name => name,
    };
    Reject::new(ProblemCode::InvalidField, format!("{name}: {detail}")).field(pointer, detail)
}

/// A JSON pointer as a URI fragment (RFC 6901 §6); keys are escaped.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = "#".to_owned();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => pointer.push_str(variant),
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `code pointer`, for a body read as a deploy.
    fn answer(body: &str) -> String {
        match parse::<ServicePut>(body.as_bytes()) {
            Ok(_) => "ok".to_owned(),
            Err(reject) => {
                let pointers: Vec<_> = reject.problem.errors.iter().map(|error| error.pointer.as_str()).collect();
                format!("{} {}", reject.problem.code, pointers.join(" ")).trim().to_owned()
            }
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (body, expected) in [
            (r#"{"url":"http://x"}"#, "ok"),
            (r#"{"url":null,"limits":null}"#, "ok"),
            ("", "invalid_json"),
            ("{", "invalid_json"),
            ("{} x", "invalid_json"),
            ("url=http://x", "invalid_json"),
            ("[]", "invalid_field #"),
            ("\"x\"", "invalid_field #"),
            (r#"{"url":5}"#, "invalid_field #/url"),
            (r#"{"ulr":"http://x"}"#, "invalid_field #/ulr"),
            (r#"{"url":"a","url":"b"}"#, "invalid_field #/url"),
            (r#"{"kind":"binary"}"#, "invalid_field #/kind"),
            (r#"{"env":{"A":1}}"#, "invalid_field #/env/A"),
            (r#"{"env":[]}"#, "invalid_field #/env"),
            (r#"{"limits":[]}"#, "invalid_field #/limits"),
            (r#"{"limits":{"pids":-1}}"#, "invalid_field #/limits/pids"),
            (r#"{"limits":{"memory":1}}"#, "invalid_field #/limits/memory"),
            (r#"{"health":{"path":["/"]}}"#, "invalid_field #/health/path"),
        ] {
            assert_eq!(answer(body), expected, "{body}");
        }
    }

    #[test]
    fn the_detail_says_what_was_expected() {
        let reject = parse::<ServicePut>(br#"{"limits":{"pids":"many"}}"#).unwrap_err();
        assert_eq!(reject.problem.detail, "limits/pids: invalid type: string \"many\", expected u32");
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep = "[".repeat(100_000);
        assert_eq!(answer(&deep), "invalid_json");
    }
}

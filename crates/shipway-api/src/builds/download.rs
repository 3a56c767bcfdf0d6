//! An artifact over HTTP: whole or a part, never a wrong byte.
//!
//! Conditions and ranges as RFC 9110 §13 and §14 have them: one range is served, several are
//! answered with the whole. The bytes are verified as they are read; when they cannot be had
//! the transfer breaks off before the announced length, which every client notices.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use shipway_artifacts::{ArtifactError, Stored};
use shipway_model::{Artifact, Build};

use super::trouble::unreadable;
use crate::app::App;
use crate::reply::Reject;

/// What is asked for of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// None that it has.
    Nothing,
}

/// The artifact's bytes, or their headers for `HEAD`.
pub(crate) async fn respond(
    app: &App,
    build: &Build,
    artifact: &Artifact,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Reject> {
    let about = describe(artifact)?;
    if matches(headers, &about[header::ETAG]) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let range = match wanted(headers, &about, artifact.size_bytes) {
        Wanted::Whole => None,
        Wanted::Part(range) => Some(range),
        Wanted::Nothing => return Ok(unsatisfiable(artifact.size_bytes)),
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let whole = 0..artifact.size_bytes;
    let length = range.as_ref().map_or(artifact.size_bytes, |range| range.end - range.start);
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => open(app, build, artifact, range.clone().unwrap_or(whole)).await?,
    };
    let mut response = (status, about, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = range {
        let told = format!("bytes {}-{}/{}", range.start, range.end - 1, artifact.size_bytes);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&told).map_err(Reject::internal)?);
    }
    Ok(response)
}

/// The bytes of a build's artifact. One that is not there is noted, to be made anew.
pub(crate) async fn open(app: &App, build: &Build, artifact: &Artifact, range: Range<u64>) -> Result<Body, Reject> {
    let parts = super::parts(app)?;
    let chunks = artifact.chunks.clone().ok_or_else(|| Reject::internal("an artifact without its list of chunks"))?;
    let stored = Stored { digest: artifact.digest.clone(), size_bytes: artifact.size_bytes, chunks };
    let reading = parts.artifacts.read(&stored, Some(range)).await.map_err(|error| {
        if matches!(error, ArtifactError::Missing { .. }) {
            app.builds.gone.note(build.id);
        }
        unreadable(&error)
    })?;
    Ok(Body::from_stream(reading))
}

/// What is said of an artifact, whatever part of it is sent.
fn describe(artifact: &Artifact) -> Result<HeaderMap, Reject> {
    let text = |text: String| HeaderValue::from_str(&text).map_err(Reject::internal);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, text(disposition(&artifact.file_name))?);
    headers.insert(header::ETAG, text(format!("\"{}\"", artifact.digest))?);
    headers.insert(header::LAST_MODIFIED, text(modified(artifact))?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(headers)
}

/// `attachment; filename=caddy`. The name is a recipe's: a DNS label, perhaps with `.exe`.
pub(crate) fn disposition(file_name: &str) -> String {
    format!("attachment; filename={file_name}")
}

fn modified(artifact: &Artifact) -> String {
    let micros = u64::try_from(artifact.made_at).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_micros(micros))
}

/// Whether `If-None-Match` names what there is.
fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let ours = etag.to_str().unwrap_or_default();
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == ours)
}

fn wanted(headers: &HeaderMap, about: &HeaderMap, size: u64) -> Wanted {
    let mut given = headers.get_all(header::RANGE).iter();
    let range = given.next().filter(|_| given.next().is_none()).and_then(|value| value.to_str().ok());
    // A part of something else than the client has is of no use to it.
    let same = headers
        .get(header::IF_RANGE)
        .is_none_or(|value| value == about[header::ETAG] || value == about[header::LAST_MODIFIED]);
    range.filter(|_| same).map_or(Wanted::Whole, |range| part(range, size))
}

/// Reads a `Range`. What is no range of bytes, or several, is as good as none.
fn part(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Wanted::Whole;
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let range = match (number(first), number(last)) {
        (None, Some(count)) if first.is_empty() => size.saturating_sub(count)..size,
        (Some(first), None) if last.is_empty() => first..size,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        _ => return Wanted::Whole,
    };
    if range.is_empty() { Wanted::Nothing } else { Wanted::Part(range) }
}

fn unsatisfiable(size: u64) -> Response {
    let told = HeaderValue::from_str(&format!("bytes */{size}")).unwrap_or(HeaderValue::from_static("bytes */*"));
    (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, told)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: &str, expected: Wanted) {
        assert_eq!(part(range, 10), expected, "{range}");
    }

    #[test]
    fn one_range_is_served_and_nonsense_is_not_there() {
        check("bytes=0-3", Wanted::Part(0..4));
        check("bytes=4-", Wanted::Part(4..10));
        check("bytes=-3", Wanted::Part(7..10));
        check("bytes=-99", Wanted::Part(0..10));
        check("bytes=9-99", Wanted::Part(9..10));
        check("bytes=9-18446744073709551615", Wanted::Part(9..10));
        check("bytes=10-", Wanted::Nothing);
        check("bytes=-0", Wanted::Nothing);
        for nonsense in ["bytes=0-1,3-4", "bytes=3-2", "bytes=-", "bytes=a-b", "bytes=+1-2", "lines=0-1", "bytes", ""] {
            check(nonsense, Wanted::Whole);
        }
    }
}

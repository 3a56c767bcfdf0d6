//! Answers that go on: lines of JSON, or server-sent events.
//!
//! Which of the two is the client's choice, by `Accept` or `?format=`. Both carry a
//! sign of life every 15 seconds (a comment, or an empty line), so that neither a
//! client nor anything in between takes a quiet stream for a dead one. An SSE item
//! has its cursor as `id`, and a client that comes back with `Last-Event-ID` goes
//! on after it.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Serialize;
use shipway_api_types::{BuildLine, Event, LogLine, Problem, Stats};
use shipway_stdx::shutdown::Shutdown;

use crate::endpoint::{Form, Parameter};
use crate::query::Query;
use crate::reply::Reject;

/// How long a stream may be silent.
const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `?follow`.
pub(crate) const FOLLOW: Parameter = Parameter::query("follow", Form::Flag, "Go on when the end is reached.");
/// `?format=`.
pub(crate) const FORMAT: Parameter = Parameter::query(
    "format",
    Form::OneOf(&["ndjson", "sse"]),
    "Lines of JSON, or server-sent events; `Accept` decides when not told.",
);
/// `?format=`, where lines are told as they were said unless somebody wants more.
pub(crate) const FORMAT_OR_TEXT: Parameter = Parameter::query(
    "format",
    Form::OneOf(&["text", "ndjson", "sse"]),
    "Plain text, lines of JSON, or server-sent events; `Accept` decides when not told.",
);
/// `Last-Event-ID`.
pub(crate) const RESUME: Parameter =
    Parameter::header("Last-Event-ID", "Go on after the item of this id; the same as `cursor`.");

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Server-sent events (WHATWG HTML §9.2).
    Sse,
    /// Lines as they were said.
    Text,
}

impl Format {
    /// What the client wants.
    pub(crate) fn of(query: &Query, headers: &HeaderMap) -> Self {
        match query.text("format") {
            Some("sse") => Self::Sse,
            Some(_) => Self::Ndjson,
            None if accepts(headers, "text/event-stream") => Self::Sse,
            None => Self::Ndjson,
        }
    }

    /// The same, where nobody has to ask for plain text.
    pub(crate) fn or_text(query: &Query, headers: &HeaderMap) -> Self {
        match query.text("format") {
            Some("text") => Self::Text,
            None if !accepts(headers, "text/event-stream") && !accepts(headers, "application/x-ndjson") => Self::Text,
            _ => Self::of(query, headers),
        }
    }

    const fn media(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Sse => "text/event-stream",
            Self::Text => "text/plain; charset=utf-8",
        })
    }

    fn item<T: Item>(self, item: &T) -> String {
        let json = serde_json::to_string(item).unwrap_or_default();
        match (self, item.cursor()) {
            (Self::Ndjson, _) => format!("{json}\n"),
            (Self::Sse, Some(id)) => format!("id: {id}\ndata: {json}\n\n"),
            (Self::Sse, None) => format!("data: {json}\n\n"),
            (Self::Text, _) => format!("{}\n", item.text().unwrap_or(&json)),
        }
    }

    fn problem(self, problem: &Problem) -> String {
        let json = serde_json::to_string(problem).unwrap_or_default();
        match self {
            Self::Ndjson => format!("{{\"problem\":{json}}}\n"),
            Self::Sse => format!("event: problem\ndata: {json}\n\n"),
            Self::Text => format!("{}\n", crate::reply::told(problem)),
        }
    }

    const fn heartbeat(self) -> &'static str {
        match self {
            Self::Ndjson => "\n",
            Self::Sse => ":\n\n",
            // A line that nobody said would be a lie.
            Self::Text => "",
        }
    }

    /// Tells an `EventSource` not to come back.
    const fn end(self) -> &'static str {
        match self {
            Self::Ndjson | Self::Text => "",
            Self::Sse => "event: end\ndata: {}\n\n",
        }
    }
}

/// Something that flows.
pub(crate) trait Item: Serialize + Send + 'static {
    /// Where to go on from after this item.
    fn cursor(&self) -> Option<String>;

    /// The item as plain text, if it has such a form.
    fn text(&self) -> Option<&str> {
        None
    }
}

impl Item for BuildLine {
    fn cursor(&self) -> Option<String> {
        Some(self.cursor.clone())
    }

    fn text(&self) -> Option<&str> {
        Some(&self.text)
    }
}

impl Item for LogLine {
    fn cursor(&self) -> Option<String> {
        // It came from outside of this crate: a line break in it would end the field.
        let plain = !self.cursor.contains(['\n', '\r', '\0']);
        plain.then(|| self.cursor.clone())
    }
}

impl Item for Event {
    fn cursor(&self) -> Option<String> {
        Some(crate::cursor::seal(self.seq))
    }
}

impl Item for Stats {
    fn cursor(&self) -> Option<String> {
        None
    }
}

/// Where the client wants to go on: `?cursor=`, or `Last-Event-ID`.
pub(crate) fn resume(query: &Query, headers: &HeaderMap) -> Option<String> {
    let header = || headers.get(LAST_EVENT_ID)?.to_str().ok();
    query.text("cursor").or_else(header).map(str::to_owned)
}

pub(crate) fn accepts(headers: &HeaderMap, media: &str) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains(media))
}

struct Flow<T> {
    items: BoxStream<'static, Result<T, Reject>>,
    shutdown: Shutdown,
    format: Format,
    over: bool,
}

/// Answers with items as they come.
pub(crate) fn respond<T: Item>(
    items: BoxStream<'static, Result<T, Reject>>,
    format: Format,
    shutdown: Shutdown,
) -> Response {
    let flow = Flow { items, shutdown, format, over: false };
    let chunks = stream::unfold(flow, |mut flow| async move {
        if flow.over {
            return None;
        }
        let chunk = flow.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(chunk)), flow))
    });
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.media());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL, HeaderValue::from_static("no"));
    response
}

impl<T: Item> Flow<T> {
    async fn next(&mut self) -> Option<String> {
        let waited = tokio::select! {
            waited = tokio::time::timeout(HEARTBEAT, self.items.next()) => waited,
            // No end mark: the client shall come back to the next process.
            () = self.shutdown.requested() => return None,
        };
        match waited {
            Err(_) => Some(self.format.heartbeat().to_owned()),
            Ok(Some(Ok(item))) => Some(self.format.item(&item)),
            Ok(Some(Err(reject))) => {
                self.over = true;
                Some(self.format.problem(&reject.problem))
            }
            Ok(None) => {
                self.over = true;
                Some(self.format.end().to_owned())
            }
        }
    }
}

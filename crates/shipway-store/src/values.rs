//! From columns to values and back. What a column cannot be is
//! [`StoreError::Corrupt`], never a panic: the file may have been edited, or
//! written by another version.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shipway_model::task::BUILD;
use shipway_model::{Micros, ServiceId};

use crate::{PAGE_ROWS_MAX, StoreError};

/// Longest span that may be added to the time, ten years: past it sums overflow.
const SPAN_MAX: Micros = 10 * 365 * 24 * 3600 * 1_000_000;

/// A span of time in microseconds.
pub(crate) fn micros(span: Duration) -> Micros {
    Micros::try_from(span.as_micros()).map_or(SPAN_MAX, |span| span.min(SPAN_MAX))
}

/// How many rows to fetch for a caller that wants `limit`.
pub(crate) fn page(limit: u32) -> i64 {
    i64::from(limit.min(PAGE_ROWS_MAX))
}

/// The subject of a service's events.
pub(crate) fn service_subject(service: impl Display) -> String {
    format!("service/{service}")
}

/// The subject of the events of what tasks of this kind are about.
pub(crate) fn timeline(kind: &str, subject: &str) -> String {
    if kind == BUILD { format!("build/{subject}") } else { service_subject(subject) }
}

/// What is locked by whoever changes the subject of a task. Ids are unique, whatever they are
/// of, so one form does; a service's events have the same, and need no lock of their own.
pub(crate) fn subject_lock(subject: &str) -> String {
    service_subject(subject)
}

/// The subject of a service's events, by its id.
pub(crate) fn subject_of(service: ServiceId) -> String {
    service_subject(service)
}

/// Reads a text column with a grammar: an id, a name.
pub(crate) fn parse<T>(what: &str, text: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error| StoreError::Corrupt(format!("{what} {text:?}: {error}")))
}

/// Reads a number that its column has wider than we do.
pub(crate) fn number<T: TryFrom<i64>>(what: &str, value: i64) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(format!("{what} {value} is out of range")))
}

/// Reads a column that only some states of its row have.
pub(crate) fn present<T>(what: &str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Corrupt(format!("{what} is missing")))
}

/// Reads a JSON column.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

/// Writes a JSON column.
pub(crate) fn to_json<T: Serialize>(what: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

/// A cursor of ours as a column's value; past the largest there is nothing.
pub(crate) fn cursor(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

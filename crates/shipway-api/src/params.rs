//! Parameters in the path, with our own words when they cannot be read.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::reply::Reject;

/// What stands in the path's places.
#[derive(Debug)]
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Reject;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Reject> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(error) => Err(Reject::parameter("path", error.body_text())),
        }
    }
}

/// Reads a release's number.
pub(crate) fn release_number(text: &str) -> Result<u32, Reject> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Reject::parameter("path:release", format!("expected a release's number, not `{text}`"))),
    }
}

//! Uploads: content that comes with the request instead of from a URL.

use std::fs::File;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use shipway_api_types::{ProblemCode, Upload};
use shipway_fetch::BlobError;
use shipway_model::Digest;
use shipway_store::DepositError;

use crate::app::App;
use crate::body;
use crate::reply::Reject;

/// An upload that stands still for so long is given up.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Longest one upload may take, whole.
const WHOLE_TIME: Duration = Duration::from_secs(900);

/// Keeps a body by its digest. Nothing is left of one that broke off.
pub(crate) async fn keep(app: &App, headers: &HeaderMap, mut body: Body) -> Result<Upload, Reject> {
    let Ok(kept) = tokio::time::timeout(WHOLE_TIME, write(app, headers, &mut body)).await else {
        return Err(too_slow(WHOLE_TIME));
    };
    if kept.is_err() {
        body::discard(headers, body).await;
    }
    kept
}

async fn write(app: &App, headers: &HeaderMap, body: &mut Body) -> Result<Upload, Reject> {
    let limit = app.config.upload_bytes_max;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(refuse(BlobError::TooLarge { limit }));
    }
    let mut writer = app.parts.blobs.begin(limit).await.map_err(refuse)?;
    loop {
        let frame = tokio::time::timeout(IDLE_TIME, body.frame()).await.map_err(|_| too_slow(IDLE_TIME))?;
        match frame {
            None => break,
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    writer.write(bytes).await.map_err(refuse)?;
                }
            }
            Some(Err(_)) => return Err(Reject::new(ProblemCode::InvalidField, "the upload broke off")),
        }
    }
    let blob = writer.finish().await.map_err(refuse)?;
    if app.parts.store.is_shared() {
        // The worker that will need it may be on another machine.
        let content = app.parts.blobs.open_content(&blob.digest).map_err(Reject::internal)?;
        deposit(app, &blob.digest, content).await?;
    }
    Ok(Upload { digest: blob.digest.to_string(), size_bytes: blob.size_bytes })
}

/// Puts content where every worker finds it.
pub(crate) async fn deposit(app: &App, digest: &Digest, content: File) -> Result<(), Reject> {
    match app.parts.store.put_deposit(digest, content).await {
        Ok(()) => Ok(()),
        Err(DepositError::Store(error)) => Err(error.into()),
        Err(error @ DepositError::Content(_)) => Err(Reject::internal(error)),
    }
}

/// The size of content that is kept for whoever will need it, or `None` when it is not. It is
/// touched: a deploy is about to need it, and until that is written nothing else says so.
pub(crate) async fn size_of(app: &App, digest: Digest) -> Result<Option<u64>, Reject> {
    if app.parts.store.is_shared() {
        // What is here alone may be out of the reach of whoever will need it.
        return Ok(app.parts.store.renew_deposit(&digest).await?);
    }
    let blobs = app.parts.blobs.clone();
    let found = tokio::task::spawn_blocking(move || blobs.touch(&digest)).await.map_err(Reject::internal)?;
    let found = found.map_err(|error| refuse(BlobError::from(error)))?;
    Ok(found.map(|blob| blob.size_bytes))
}

fn too_slow(limit: Duration) -> Reject {
    let detail = format!("the upload stood still or took longer than {} s", limit.as_secs());
    Reject::new(ProblemCode::Timeout, detail)
}

fn refuse(error: BlobError) -> Reject {
    match error {
        BlobError::TooLarge { limit } => {
            Reject::new(ProblemCode::BodyTooLarge, format!("an upload has at most {limit} bytes"))
        }
        BlobError::Unavailable { ref source, .. } => {
            tracing::warn!(error = %source, "content cannot be kept");
            Reject::new(ProblemCode::StorageUnavailable, error.to_string())
                .hint("try again: it recovers by itself when the cause goes")
                .header(header::RETRY_AFTER, "2")
        }
    }
}

//! Uploads: content that comes with the request instead of from a URL.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::header;
use shipway_api_types::{ProblemCode, Upload};
use shipway_fetch::BlobError;
use shipway_model::Digest;

use crate::app::App;
use crate::reply::Reject;

/// An upload that stands still for so long is given up.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Longest one upload may take, whole.
const WHOLE_TIME: Duration = Duration::from_secs(900);

/// Keeps a body by its digest. Nothing is left of one that broke off.
pub(crate) async fn keep(app: &App, body: Body) -> Result<Upload, Reject> {
    tokio::time::timeout(WHOLE_TIME, write(app, body)).await.map_err(|_| too_slow(WHOLE_TIME))?
}

async fn write(app: &App, body: Body) -> Result<Upload, Reject> {
    let mut writer = app.parts.blobs.begin(app.config.upload_bytes_max).await.map_err(refuse)?;
    let mut chunks = body.into_data_stream();
    loop {
        let chunk = tokio::time::timeout(IDLE_TIME, chunks.next()).await.map_err(|_| too_slow(IDLE_TIME))?;
        match chunk {
            None => break,
            Some(Ok(bytes)) => writer.write(&bytes).await.map_err(refuse)?,
            Some(Err(_)) => {
                let detail = "the upload broke off";
                return Err(Reject::new(ProblemCode::InvalidField, detail));
            }
        }
    }
    let blob = writer.finish().await.map_err(refuse)?;
    Ok(Upload { digest: blob.digest.to_string(), size_bytes: blob.size_bytes })
}

/// The size of content that is kept, or `None` when it is not.
pub(crate) async fn size_of(app: &App, digest: Digest) -> Result<Option<u64>, Reject> {
    let blobs = app.parts.blobs.clone();
    let found = tokio::task::spawn_blocking(move || blobs.find(&digest)).await;
    Ok(found.map_err(Reject::internal)?.map(|blob| blob.size_bytes))
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

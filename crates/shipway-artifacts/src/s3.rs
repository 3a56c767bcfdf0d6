//! Artifacts in a bucket of S3, or of a server that speaks like it.
//!
//! Requests are made and signed by `object_store`; they are sent, timed, tried again and their
//! answers sorted by [`carrier`], so that there is one place that knows what may pass. An
//! object of S3 is seen whole or not at all, which is what makes a put safe.
//!
//! # Who needs it, who removes it
//!
//! S3 has neither a touch nor a lock. Refreshing an object's time by copying it onto itself is not had everywhere, ends at
//! 5 GB, and does not exclude a removal. So there are two kinds of marks, empty objects beside the artifact:
//!
//! ```text
//! who needs it                          who removes it
//! 1. writes  .touched                   1. writes  .doomed.<own id>
//! 2. lists: is there a .doomed?         2. lists: was it touched after `since`?
//!    yes: waits until it has gone          yes: takes its mark back, leaves everything
//!    no: what is there stays               no: removes all, its own mark last
//! ```
//!
//! Each writes before it looks, and S3 shows what was written to every later listing; so at least one of two sees
//! the other. A remover that was killed leaves its mark: one that is a quarter of an hour
//! older than the touch counts for nothing, and removers stop by themselves long before.

mod carrier;
mod classify;
mod flowing;
mod journal;
mod marks;
mod objects;
mod sweep;
mod upload;

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::client::HttpClient;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutPayload, RetryConfig};
use shipway_model::Digest;
use url::Url;

use crate::artifacts::Raw;
use crate::config::S3Config;
use crate::error::ArtifactError;
use crate::layout::{CHUNKS, Stored, beside, key};
use crate::measure::Measured;
use carrier::{Carrier, Connector};
use classify::{is_past_the_end, sorted};

/// A bucket.
#[derive(Debug)]
pub(crate) struct S3 {
    store: AmazonS3,
    client: HttpClient,
    credential: AwsCredential,
    region: String,
    /// The bucket's own URL, without a slash at its end.
    bucket_url: String,
}

impl S3 {
    /// Puts together what is needed; nothing is asked of the server yet.
    pub(crate) fn open(config: &S3Config) -> Result<Self, ArtifactError> {
        let bucket_url = bucket_url(config)?;
        let client = HttpClient::new(Carrier::new(config.limits).map_err(|reason| refused("storage.s3", reason))?);
        let store = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_endpoint(&bucket_url)
            .with_virtual_hosted_style_request(true)
            .with_allow_http(true)
            .with_access_key_id(&config.access_key)
            .with_secret_access_key(config.secret_key.reveal())
            // One at a time is understood by every server, and what is removed is a handful.
            .with_disable_bulk_delete(true)
            .with_http_connector(Connector(client.clone()))
            // The carrier tries again, and it alone.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .build()
            .map_err(|error| refused("storage.s3", error.to_string()))?;
        let credential = AwsCredential {
            key_id: config.access_key.clone(),
            secret_key: config.secret_key.reveal().to_owned(),
            token: None,
        };
        Ok(Self { store, client, credential, region: config.region.clone(), bucket_url })
    }

    pub(crate) async fn put(&self, measured: &Measured) -> Result<(), ArtifactError> {
        let digest = measured.digest();
        if self.touch(&measured.stored).await? {
            Self::forget_upload(&measured.path);
            return Ok(());
        }
        if measured.stored.size_bytes > crate::chunks::CHUNK_BYTES {
            self.put_object(&beside(digest, CHUNKS), measured.list.text().into()).await?;
        }
        self.upload(measured).await?;
        // In case that somebody removed meanwhile what was touched too long ago.
        if self.touch(&measured.stored).await? {
            return Ok(());
        }
        Err(ArtifactError::unavailable("what was put is not there"))
    }

    /// Says that it is about to be needed, and whether it is there, whole.
    pub(crate) async fn touch(&self, stored: &Stored) -> Result<bool, ArtifactError> {
        let objects = self.claim(&stored.digest).await?;
        let listed = stored.size_bytes <= crate::chunks::CHUNK_BYTES || objects.has(CHUNKS);
        Ok(listed && objects.size_of("") == Some(stored.size_bytes))
    }

    /// Keeps something beside an artifact; that touches it.
    pub(crate) async fn put_companion(&self, of: &Digest, suffix: &str, bytes: Bytes) -> Result<(), ArtifactError> {
        self.claim(of).await?;
        self.put_object(&beside(of, suffix), bytes).await
    }

    async fn put_object(&self, key: &str, bytes: Bytes) -> Result<(), ArtifactError> {
        self.put_payload(key, PutPayload::from(bytes)).await
    }

    async fn put_payload(&self, key: &str, payload: PutPayload) -> Result<(), ArtifactError> {
        self.store.put(&Key::from(key), payload).await.map(drop).map_err(sorted)
    }

    /// Reads a small object; `None` when there is none.
    pub(crate) async fn get_small(&self, key: &str, limit: u64) -> Result<Option<Bytes>, ArtifactError> {
        let mut failures = 0;
        loop {
            match self.get_small_once(key, limit).await {
                // The request was tried often enough; this is an answer that broke off.
                Err(error) if error.is_transient() && failures < 2 => failures += 1,
                done => return done,
            }
        }
    }

    async fn get_small_once(&self, key: &str, limit: u64) -> Result<Option<Bytes>, ArtifactError> {
        let found = match self.store.get(&Key::from(key)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(sorted)?,
        };
        let (size, mut bytes) = (found.meta.size, Vec::new());
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(sorted)? {
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(ArtifactError::TooLarge { limit });
            }
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() as u64 != size {
            return Err(ArtifactError::unavailable("it ended too early"));
        }
        Ok(Some(bytes.into()))
    }

    /// Opens a part of an object; `None` when there is none, or it is too short: then it is not what was put.
    pub(crate) async fn open_range(&self, key: &str, range: Range<u64>) -> Result<Option<Raw>, ArtifactError> {
        let end = range.end;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match self.store.get_opts(&Key::from(key), options).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) if is_past_the_end(&error) => Ok(None),
            Err(error) => Err(sorted(error)),
            Ok(found) if found.range.end < end => Ok(None),
            Ok(found) => Ok(Some(found.into_stream().map_err(sorted).boxed())),
        }
    }

    fn key(digest: &Digest) -> Key {
        Key::from(key(digest))
    }
}

/// What an error of an upload means. One that the server does not know is no missing artifact.
fn answer_of(error: object_store::Error, doing: &str) -> ArtifactError {
    match error {
        object_store::Error::NotFound { .. } => {
            refused("storage.s3", format!("cannot {doing} an upload: there is no such upload"))
        }
        error => sorted(error),
    }
}

fn refused(setting: &'static str, reason: impl Into<String>) -> ArtifactError {
    ArtifactError::Refused { setting, reason: reason.into() }
}

/// Where the bucket is: in the path of an endpoint of one's own; a host of its own at Amazon's, but for
/// a name with dots, which no certificate covers.
fn bucket_url(config: &S3Config) -> Result<String, ArtifactError> {
    let bucket = &config.bucket;
    let letters = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(letters) || bucket.contains("..") {
        return Err(refused("storage.s3.bucket", "a bucket has 3 to 63 letters, digits, dots and hyphens"));
    }
    for (setting, value) in [
        ("storage.s3.access_key", config.access_key.as_str()),
        ("storage.s3.secret_key", config.secret_key.reveal()),
        ("storage.s3.region", config.region.as_str()),
    ] {
        if value.is_empty() || !value.chars().all(|letter| letter.is_ascii_graphic()) {
            return Err(refused(setting, "it is empty, or has a letter that it cannot have"));
        }
    }
    let Some(endpoint) = &config.endpoint else {
        let host = format!("s3.{}.amazonaws.com", config.region);
        let url =
            if bucket.contains('.') { format!("https://{host}/{bucket}") } else { format!("https://{bucket}.{host}") };
        return Url::parse(&url).map(|_| url).map_err(|error| refused("storage.s3.region", error.to_string()));
    };
    let url = Url::parse(endpoint).map_err(|error| refused("storage.s3.endpoint", error.to_string()))?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
        return Err(refused("storage.s3.endpoint", "it is no http or https URL of a server alone"));
    }
    Ok(format!("{}/{bucket}", url.as_str().trim_end_matches('/')))
}

#[cfg(test)]
mod tests;

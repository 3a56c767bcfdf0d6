//! Uploads that nobody goes on with.
//!
//! Parts of an upload that is never completed are kept, and paid for, but not seen. A journal
//! that was lost, an answer to the beginning that was lost, a worker that never came
//! back leave such. Where the server lists its uploads, those of ours that are old are ended. `object_store` has
//! no such request, so it is made and signed here.

use std::time::Duration;

use http::{Method, Request};
use object_store::aws::AwsAuthorizer;
use object_store::client::HttpRequestBody;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path as Key;
use serde::Deserialize;
use shipway_stdx::clock::{Clock as _, HostClock, rfc3339};
use url::Url;

use super::S3;
use super::classify::{Answer, answer, sorted};
use crate::artifacts::Sweep;
use crate::error::ArtifactError;
use crate::layout::{PREFIX, parse};

/// Pages of a thousand uploads that are looked through in one sweep.
const PAGES_MAX: usize = 100;
/// Letters of a time that are compared: down to the second.
const SECONDS: usize = 19;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads {
    #[serde(default)]
    upload: Vec<Upload>,
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: String,
}

impl Upload {
    /// Whether it is one of ours, and began before a time. Times of this form sort as texts.
    fn is_abandoned(&self, before: &str) -> bool {
        let began = self.initiated.get(..SECONDS).filter(|began| began.as_bytes()[10] == b'T');
        parse(&self.key).is_some() && began.is_some_and(|began| Some(began) < before.get(..SECONDS))
    }
}

impl S3 {
    pub(crate) async fn sweep(&self, age: Duration) -> Result<Sweep, ArtifactError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = rfc3339(HostClock.now().saturating_sub(age).max(0));
        let mut sweep = Sweep { ended: 0, listed: true };
        let mut marker = None;
        for _ in 0..PAGES_MAX {
            let Some(page) = self.uploads(marker.as_ref()).await? else {
                return Ok(Sweep { listed: false, ..sweep });
            };
            for upload in page.upload.iter().filter(|upload| upload.is_abandoned(&before)) {
                sweep.ended += u64::from(self.end(upload).await?);
            }
            marker = page.next_key_marker.zip(page.next_upload_id_marker).filter(|_| page.is_truncated);
            if marker.is_none() {
                break;
            }
        }
        Ok(sweep)
    }

    async fn end(&self, upload: &Upload) -> Result<bool, ArtifactError> {
        match self.store.abort_multipart(&Key::from(upload.key.as_str()), &upload.upload_id).await {
            Ok(()) => Ok(true),
            // Somebody else has, or it was completed.
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(sorted(error)),
        }
    }

    /// A page of uploads under way; `None` where the server does not tell.
    async fn uploads(&self, marker: Option<&(String, String)>) -> Result<Option<Uploads>, ArtifactError> {
        let response = match self.client.execute(self.asking(marker)?).await {
            Ok(response) => response,
            Err(error) => return not_told(&error).map(|()| None),
        };
        let text = response.into_body().bytes().await;
        let text = text.map_err(|error| ArtifactError::unavailable(error.to_string()))?;
        let parsed = quick_xml::de::from_reader(text.as_ref());
        parsed.map(Some).map_err(|error| ArtifactError::unavailable(format!("its list of uploads: {error}")))
    }

    fn asking(&self, marker: Option<&(String, String)>) -> Result<Request<HttpRequestBody>, ArtifactError> {
        let wrong = |error: &dyn std::error::Error| super::refused("storage.s3.endpoint", error.to_string());
        let mut url = Url::parse(&self.bucket_url).map_err(|error| wrong(&error))?;
        let mut query = url.query_pairs_mut();
        query.append_pair("uploads", "").append_pair("prefix", PREFIX);
        if let Some((key, upload)) = marker {
            query.append_pair("key-marker", key).append_pair("upload-id-marker", upload);
        }
        drop(query);
        let request = Request::builder().method(Method::GET).uri(url.as_str()).body(HttpRequestBody::empty());
        let mut request = request.map_err(|error| wrong(&error))?;
        let authorizer = AwsAuthorizer::new(&self.credential, "s3", &self.region);
        authorizer.try_authorize(&mut request, None).map_err(|error| wrong(&error))?;
        Ok(request)
    }
}

/// Whether an error says that such lists are not had here.
fn not_told(error: &(dyn std::error::Error + 'static)) -> Result<(), ArtifactError> {
    match answer(error) {
        Some(Answer::Said { status, .. }) if matches!(status.as_u16(), 400 | 404 | 405 | 501) => Ok(()),
        Some(answer) => Err(answer.clone().into()),
        None => Err(ArtifactError::unavailable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>i</NextUploadIdMarker>\
        <IsTruncated>true</IsTruncated>\
        <Upload><Key>KEY</Key><UploadId>a&amp;b</UploadId><Initiator><ID>x</ID></Initiator><StorageClass>STANDARD</StorageClass>\
        <Initiated>2026-11-22T10:00:00.000Z</Initiated></Upload>\
        <Upload><Key>of/others</Key><UploadId>2</UploadId><Initiated>2010-11-22T10:00:00.000Z</Initiated></Upload>\
        </ListMultipartUploadsResult>";

    #[test]
    fn only_ours_that_are_old_are_abandoned() {
        let key = crate::layout::key(&shipway_model::Digest::from_sha256([1; 32]));
        let page: Uploads = quick_xml::de::from_str(&ANSWER.replace("KEY", &key)).unwrap();
        assert_eq!((page.is_truncated, page.next_key_marker.as_deref()), (true, Some("k")));
        assert_eq!((page.upload.len(), page.upload[0].upload_id.as_str()), (2, "a&b"));
        let abandoned = |before: &str| page.upload.iter().filter(|upload| upload.is_abandoned(before)).count();
        assert_eq!(abandoned("2026-11-22T10:00:00.999999Z"), 0);
        assert_eq!(abandoned("2026-11-22T10:00:01.000000Z"), 1);
        assert_eq!(abandoned("1970-01-01T00:00:00.000000Z"), 0);
        let nonsense = Upload { initiated: "an hour ago, or was it two?".to_owned(), key, upload_id: String::new() };
        assert!(!nonsense.is_abandoned("2026-11-22T10:00:01.000000Z"));
    }

    #[test]
    fn no_uploads_are_an_empty_page() {
        let page: Uploads = quick_xml::de::from_str(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
        )
        .unwrap();
        assert!(page.upload.is_empty() && !page.is_truncated);
    }
}

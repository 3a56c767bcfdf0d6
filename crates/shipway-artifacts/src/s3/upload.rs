//! A local file becomes an object.
//!
//! A small one goes in one request. A larger one goes in parts, several at a time; what has arrived is in the
//! [`Journal`]. The object is seen when the upload is completed, and not before.
//!
//! # What may be lost
//!
//! * *The process*: the next `put` of the same file goes on from the journal.
//! * *The upload* (a server that forgot it, or a sweep that took it for abandoned): it
//!   begins anew, once. A server that fails instead of saying so is believed three times.
//! * *The answer to the completion*: the second try hears that there is no such upload. So whenever a completion does not
//!   succeed, it is looked whether the object is there.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use object_store::PutPayload;
use object_store::multipart::{MultipartStore as _, PartId};
use tokio::sync::Mutex;

use super::classify::sorted;
use super::journal::{self, Head, Journal};
use super::{S3, answer_of};
use crate::error::ArtifactError;
use crate::layout::key;
use crate::measure::{Measured, blocking};

/// What is larger goes in parts.
const WHOLE_MAX: u64 = 16 << 20;
/// Bytes of a part: whole chunks. Amazon wants 5 MiB at least, and ten thousand parts at most.
const PART_BYTES: u64 = 8 << 20;
/// Parts under way at a time. Each is in memory.
const PARTS_AT_A_TIME: usize = 4;
/// How often a long upload says that it is still needed.
const TOUCH_EVERY: Duration = Duration::from_secs(300);

impl S3 {
    pub(super) async fn upload(&self, measured: &Measured) -> Result<(), ArtifactError> {
        if measured.stored.size_bytes <= WHOLE_MAX {
            let bytes = read(measured, 0, measured.stored.size_bytes).await?;
            return self.put_payload(&key(measured.digest()), bytes).await;
        }
        let size = measured.stored.size_bytes;
        let head = Head::new(&self.bucket_url, &key(measured.digest()), size, PART_BYTES);
        let mut journal = Journal::open(&measured.path, head);
        if journal.is_worn_out() {
            self.abandon(&mut journal).await;
        }
        let done = match self.in_parts(measured, &mut journal).await {
            Err(error) if !error.is_transient() && !is_local(&error) => {
                tracing::info!(digest = %measured.digest(), %error, "an upload begins anew");
                self.abandon(&mut journal).await;
                self.in_parts(measured, &mut journal).await
            }
            done => done,
        };
        done.map(|()| journal.finish())
    }

    /// Sends the parts that have not arrived, and completes.
    async fn in_parts(&self, measured: &Measured, journal: &mut Journal) -> Result<(), ArtifactError> {
        if journal.head.upload.is_empty() {
            let upload = self.store.create_multipart(&Self::key(measured.digest())).await;
            journal.begin(upload.map_err(|error| answer_of(error, "begin"))?);
        }
        self.send_parts(measured, journal).await?;
        let parts = journal.parts.values().map(|id| PartId { content_id: id.clone() }).collect();
        let upload = journal.head.upload.clone();
        let completed = self.store.complete_multipart(&Self::key(measured.digest()), &upload, parts).await;
        let Err(error) = completed else { return Ok(()) };
        let error = answer_of(error, "complete");
        // The first try may have done it, and only its answer was lost.
        let objects = self.objects(measured.digest()).await?;
        let there = objects.size_of("") == Some(measured.stored.size_bytes);
        if there { Ok(()) } else { Err(error) }
    }

    async fn send_parts(&self, measured: &Measured, journal: &mut Journal) -> Result<(), ArtifactError> {
        let parts = usize::try_from(measured.stored.size_bytes.div_ceil(PART_BYTES)).unwrap_or(usize::MAX);
        let missing: Vec<usize> = (0..parts).filter(|part| !journal.parts.contains_key(part)).collect();
        let upload = journal.head.upload.clone();
        let touched = Mutex::new(Instant::now());
        let sent = stream::iter(missing).map(|part| self.send_part(measured, &upload, part, &touched));
        let mut sent = sent.buffer_unordered(PARTS_AT_A_TIME);
        while let Some(arrived) = sent.next().await {
            let (part, id) = arrived?;
            journal.arrived(part, id.content_id);
        }
        Ok(())
    }

    async fn send_part(
        &self,
        measured: &Measured,
        upload: &String,
        part: usize,
        touched: &Mutex<Instant>,
    ) -> Result<(usize, PartId), ArtifactError> {
        let start = part as u64 * PART_BYTES;
        let bytes = read(measured, start, (start + PART_BYTES).min(measured.stored.size_bytes)).await?;
        self.touch_now_and_then(measured, touched).await?;
        let key = Self::key(measured.digest());
        let id = self.store.put_part(&key, upload, part, bytes).await;
        id.map(|id| (part, id)).map_err(|error| answer_of(error, "send a part of"))
    }

    /// What was touched too long ago might be removed under our hands.
    async fn touch_now_and_then(&self, measured: &Measured, touched: &Mutex<Instant>) -> Result<(), ArtifactError> {
        let mut touched = touched.lock().await;
        if touched.elapsed() > TOUCH_EVERY {
            self.claim(measured.digest()).await?;
            *touched = Instant::now();
        }
        Ok(())
    }

    /// Ends an upload that is of no use any more.
    async fn abandon(&self, journal: &mut Journal) {
        if !journal.head.upload.is_empty() {
            let key = object_store::path::Path::from(journal.head.key.as_str());
            if let Err(error) = self.store.abort_multipart(&key, &journal.head.upload).await {
                tracing::debug!(error = %sorted(error), "an upload of no use could not be ended");
            }
        }
        journal.reset();
    }

    /// Forgets how far the upload of a file had come: what was to be uploaded is there.
    pub(super) fn forget_upload(file: &Path) {
        journal::forget(file);
    }
}

const fn is_local(error: &ArtifactError) -> bool {
    matches!(error, ArtifactError::Local { .. })
}

async fn read(measured: &Measured, start: u64, end: u64) -> Result<PutPayload, ArtifactError> {
    let measured = measured.clone();
    blocking(move || measured.read_chunks(start, end).map(PutPayload::from_iter)).await
}

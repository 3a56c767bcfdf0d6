//! A proxy that is a directory of this machine.

use std::io::ErrorKind;
use std::path::Path;

use tokio::fs::File;

use super::error::Failure;

/// Opens the file that answers; a question's path cannot leave the directory.
pub(super) async fn open(directory: &Path, question: &str) -> Result<(File, u64), (Failure, String)> {
    let path = directory.join(question);
    let file = File::open(&path).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => (Failure::NotFound, "no such file".to_owned()),
        _ => (Failure::Unavailable, format!("cannot be read: {error}")),
    })?;
    let about = file.metadata().await.map_err(|error| (Failure::Unavailable, format!("cannot be read: {error}")))?;
    if about.is_file() { Ok((file, about.len())) } else { Err((Failure::Broken, "not a regular file".to_owned())) }
}

//! A module's whole archive, in a file that nobody else can reach.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;

use thiserror::Error;

use crate::module::{ModulePath, Version};
use crate::proxy::{Proxies, ProxyError, Question};

/// Why an archive could not be had.
#[derive(Debug, Error)]
pub enum DownloadError {
    /// The proxies.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The disk.
    #[error("cannot keep an archive")]
    Io(#[from] io::Error),
}

/// Writes a version's archive to a file without a name in `directory`, gone when it is closed.
/// It may be as large as [`crate::proxy::ProxyLimits`] allow. Its content is not checked.
///
/// # Errors
///
/// See [`DownloadError`].
pub async fn download(
    proxies: &Proxies,
    module: &ModulePath,
    version: &Version,
    directory: &Path,
) -> Result<File, DownloadError> {
    let mut body = proxies.get(&Question::zip(module, version)).await?;
    let mut file = tempfile::tempfile_in(directory)?;
    while let Some(piece) = body.chunk().await? {
        file.write_all(&piece)?;
    }
    file.rewind()?;
    Ok(file)
}

//! Fetching a tool chain as a module.

use std::fs;
use std::path::Path;

use super::unpack::{remove_halves, unpack};
use super::{Toolchain, ToolchainError};
use crate::checksums::{ChecksumError, Database, content};
use crate::download::download;
use crate::goversion::GoVersion;
use crate::module::{ModulePath, Version};
use crate::proxy::Proxies;
use crate::zip::Archive;

/// The module that tool chains are versions of.
const MODULE: &str = "golang.org/toolchain";

/// Who says what a tool chain's content must be.
#[derive(Debug)]
pub enum Trust<'a> {
    /// The checksum database.
    Database(&'a Database),
    /// The operator: `h1:…`.
    Operator(&'a str),
}

/// Fetches a tool chain of this version for linux on `arch` (`amd64`) into `directory`, as
/// `go1.26.8`, if it is not there yet. What was begun and not ended leaves no such name.
///
/// # Errors
///
/// No proxy serves it, its digest is not the one it must be, or the disk.
pub async fn fetch(
    proxies: &Proxies,
    version: &GoVersion,
    arch: &str,
    trust: Trust<'_>,
    directory: &Path,
) -> Result<Toolchain, ToolchainError> {
    let root = directory.join(format!("go{version}"));
    if let Ok(there) = Toolchain::at(&root) {
        return Ok(there);
    }
    fs::create_dir_all(directory)?;
    remove_halves(directory)?;
    let module = ModulePath::parse(MODULE).expect("a constant");
    let named = Version::parse(&format!("v0.0.1-go{version}.linux-{arch}"));
    let named = named.map_err(|error| ToolchainError::None { root: root.clone(), reason: error.to_string() })?;
    let expected = match &trust {
        Trust::Operator(digest) => (*digest).to_owned(),
        Trust::Database(database) => database.expected(&module, &named).await?,
    };
    let file = download(proxies, &module, &named, directory).await?;
    let by = if matches!(trust, Trust::Operator(_)) { "the operator" } else { "the checksum database" };
    let prefix = format!("{module}@{named}/");
    let (into, to) = (directory.to_owned(), root.clone());
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut archive = Archive::open(file)?;
        let found = content(&mut archive)?;
        if found != expected {
            let module = prefix.trim_end_matches('/').to_owned();
            return Err(ChecksumError::Mismatch { module, found, expected, by: by.to_owned() }.into());
        }
        unpack(&mut archive, &prefix, &into, &to)
    });
    unpacked.await.map_err(|_| std::io::Error::other("unpacking ended in the middle"))??;
    Toolchain::at(&root)
}

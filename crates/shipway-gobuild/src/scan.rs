//! Which plugins a module's source registers, read without running anything.
//!
//! A plugin of Caddy calls `caddy.RegisterModule(T{})` (or `new(T)`, or `&T{}`), and `T` tells
//! its id in its method `CaddyModule`. Both are found among the words of the source; the types of
//! Go are not worked out, so an id that is put together at run time stays unknown, while the
//! registration itself is still seen. The source is hostile: words are cut by a bounded lexer
//! that cannot fail, and files, bytes and findings are counted.
//!
//! Reading order: [`fetched`] and [`imports`] (a version), [`module()`] (an archive), [`Registered`], `words` (the lexer), `find`.

mod find;
mod words;

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::Path;

use crate::download::{DownloadError, download};
use crate::module::{ModulePath, Version};
use crate::proxy::Proxies;
use crate::recipe::Registration;
use crate::zip::{Archive, ZipError};

/// Most files read, bytes of one, of a package (its words take up to thirty times as much while
/// they are looked at) and of all, and registrations kept. What is larger than a file or
/// package may be is passed over: it is generated, and registers nothing.
const FILES_MAX: usize = 4_000;
const FILE_BYTES_MAX: u64 = 1 << 20;
const PACKAGE_BYTES_MAX: usize = 4 << 20;
const BYTES_MAX: u64 = 64 << 20;
const FOUND_MAX: usize = 1_000;

/// A registration in a module's source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Registered {
    /// The package that registers.
    pub package: String,
    /// The type registered.
    pub name: String,
    /// Its id, `http.handlers.rate_limit`; `None` if the source does not spell it out.
    pub id: Option<String>,
    /// What its author writes above the type.
    pub docs: String,
}

/// Lists the registrations in a module's archive, by package; tests, examples of other modules
/// (`testdata`, `vendor`) and what the go command passes over (`_x`, `.x`) are left out.
///
/// # Errors
///
/// The archive cannot be used, or holds more source than is read.
pub fn module<R: Read + Seek>(
    archive: &mut Archive<R>,
    module: &ModulePath,
    version: &Version,
    registration: &Registration,
) -> Result<Vec<Registered>, ZipError> {
    let mut found = Vec::new();
    for (directory, sources) in packages(archive, &format!("{module}@{version}/"))? {
        let package = if directory.is_empty() { module.to_string() } else { format!("{module}/{directory}") };
        found.extend(find::in_package(&package, &sources, registration));
        found.truncate(FOUND_MAX);
    }
    found.sort();
    Ok(found)
}

/// Why a module could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Its archive could not be had.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// Its archive cannot be used.
    #[error(transparent)]
    Archive(#[from] ZipError),
    /// The looking ended in the middle, by a fault of ours.
    #[error("the search for registrations ended in the middle")]
    Ended,
}

/// Fetches a module's archive (kept in `directory` meanwhile) and lists its registrations.
///
/// # Errors
///
/// See [`ScanError`].
pub async fn fetched(
    proxies: &Proxies,
    path: &ModulePath,
    version: &Version,
    registration: &Registration,
    directory: &Path,
) -> Result<Vec<Registered>, ScanError> {
    let file = download(proxies, path, version, directory).await?;
    let (path, version, registration) = (path.clone(), version.clone(), registration.clone());
    let looking = tokio::task::spawn_blocking(move || {
        let mut archive = Archive::open(file)?;
        module(&mut archive, &path, &version, &registration)
    });
    Ok(looking.await.map_err(|_| ScanError::Ended)??)
}

/// Fetches a module's archive, as [`fetched`] does, and says whether anything in it imports a package of
/// `program`. What does not cannot register itself with it, by whichever of its functions.
///
/// # Errors
///
/// See [`ScanError`].
pub async fn imports(
    proxies: &Proxies,
    path: &ModulePath,
    version: &Version,
    program: &ModulePath,
    directory: &Path,
) -> Result<bool, ScanError> {
    let file = download(proxies, path, version, directory).await?;
    let prefix = format!("{path}@{version}/");
    let wanted = [format!("\"{program}\""), format!("\"{program}/"), format!("`{program}`"), format!("`{program}/")];
    let looking = tokio::task::spawn_blocking(move || {
        let packages = packages(&mut Archive::open(file)?, &prefix)?;
        let mut sources = packages.values().flatten();
        Ok::<bool, ZipError>(sources.any(|source| wanted.iter().any(|import| source.contains(import))))
    });
    Ok(looking.await.map_err(|_| ScanError::Ended)??)
}

/// The sources of each directory.
fn packages<R: Read + Seek>(archive: &mut Archive<R>, prefix: &str) -> Result<BTreeMap<String, Vec<String>>, ZipError> {
    let wanted = |name: &str| name.strip_prefix(prefix).filter(|rest| is_source(rest)).is_some();
    let entries: Vec<_> = archive.entries().iter().filter(|entry| wanted(&entry.name)).cloned().collect();
    if entries.len() > FILES_MAX || entries.iter().map(|entry| entry.size).sum::<u64>() > BYTES_MAX {
        return Err(ZipError::Broken("it holds more source than is looked through"));
    }
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in entries {
        let rest = entry.name.strip_prefix(prefix).unwrap_or(&entry.name);
        let directory = rest.rsplit_once('/').map_or("", |(directory, _)| directory);
        let sources = packages.entry(directory.to_owned()).or_default();
        let held: usize = sources.iter().map(String::len).sum();
        if entry.size <= FILE_BYTES_MAX && held < PACKAGE_BYTES_MAX {
            sources.push(String::from_utf8_lossy(&archive.read(&entry, FILE_BYTES_MAX)?).into_owned());
        }
    }
    Ok(packages)
}

fn is_source(path: &str) -> bool {
    let passed_over = |part: &str| part.starts_with(['_', '.']) || matches!(part, "testdata" | "vendor");
    path.ends_with(".go") && !path.ends_with("_test.go") && !path.split('/').any(passed_over)
}

#[cfg(test)]
mod tests;

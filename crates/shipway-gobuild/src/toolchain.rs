//! Which Go builds: one that is here, or one fetched as a module, its digest checked.
//!
//! Tool chains are modules of the module proxy too (`golang.org/toolchain`), so a machine that
//! reaches a proxy needs nothing else. What is fetched is run as the compiler of everything: it
//! is used only if its digest is in the checksum database, or is the one that the operator wrote
//! down.
//!
//! Reading order: [`Toolchain`] (one that is here), [`choose`], [`fetch`], [`defaults`] (what the
//! go command itself is set to).

mod defaults;
mod fetch;
mod unpack;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::checksums::ChecksumError;
use crate::download::DownloadError;
use crate::goversion::GoVersion;
use crate::platform::Platform;
use crate::zip::ZipError;
pub use defaults::{Defaults, defaults};
pub use fetch::{Trust, fetch};

/// Where a Go is found on most machines, beside those on the path.
const USUAL: &[&str] = &["/usr/local/go", "/usr/lib/go"];
/// Longest file that says a Go's version.
const VERSION_BYTES_MAX: u64 = 4 << 10;

/// A Go tool chain on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Its directory; `bin/go` is in it.
    pub root: PathBuf,
    /// Its version.
    pub version: GoVersion,
}

/// Why there is no tool chain to build with.
#[derive(Debug, Error)]
pub enum ToolchainError {
    /// Not a directory of a tool chain.
    #[error("{} is no Go tool chain: {reason}", .root.display())]
    None {
        /// The directory.
        root: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// None that is here is new enough.
    #[error("Go {needed} or newer is needed; there is {available}")]
    TooOld {
        /// What the program and its plugins want.
        needed: String,
        /// What there is, as text.
        available: String,
    },
    /// Go itself no longer builds for it.
    #[error("Go {version} does not build for {platform}: {reason}")]
    Platform {
        /// The tool chain's version.
        version: String,
        /// What was wanted.
        platform: String,
        /// Since when.
        reason: &'static str,
    },
    /// The proxies do not serve it.
    #[error("cannot fetch the Go tool chain")]
    Download(#[from] DownloadError),
    /// Its digest is not known, or is another.
    #[error("the fetched Go tool chain is not trusted")]
    Checksum(#[from] ChecksumError),
    /// Its archive is malformed.
    #[error("the fetched Go tool chain cannot be unpacked")]
    Archive(#[from] ZipError),
    /// The disk.
    #[error("cannot keep the Go tool chain")]
    Io(#[from] io::Error),
}

impl Toolchain {
    /// Looks at a directory.
    ///
    /// # Errors
    ///
    /// No tool chain is there.
    pub fn at(root: &Path) -> Result<Self, ToolchainError> {
        let none = |reason: &str| ToolchainError::None { root: root.to_owned(), reason: reason.to_owned() };
        if !root.join("bin/go").is_file() {
            return Err(none("there is no bin/go"));
        }
        let text = read_start(&root.join("VERSION")).map_err(|error| none(&format!("its VERSION: {error}")))?;
        let first = text.lines().next().unwrap_or_default();
        let version = GoVersion::parse(first).ok_or_else(|| none("its VERSION is none"))?;
        Ok(Self { root: root.to_owned(), version })
    }

    /// The tool chains of this machine: the usual places and those that `path` (a `PATH`) leads
    /// to; newest first, each once.
    #[must_use]
    pub fn on_this_machine(path: &str) -> Vec<Self> {
        let on_path = path.split(':').filter_map(|directory| root_of(&Path::new(directory).join("go")));
        let roots = USUAL.iter().map(PathBuf::from).chain(on_path);
        let real = roots.filter_map(|root| root.canonicalize().ok());
        let mut found: Vec<Self> = real.filter_map(|root| Self::at(&root).ok()).collect();
        found.sort_by(|a, b| b.version.cmp(&a.version).then_with(|| a.root.cmp(&b.root)));
        found.dedup();
        found
    }

    /// Whether it can build for a platform of the list.
    ///
    /// # Errors
    ///
    /// Its Go no longer, or not yet, has that platform.
    pub fn check_platform(&self, platform: &Platform) -> Result<(), ToolchainError> {
        let refuse = |reason| {
            Err(ToolchainError::Platform { version: self.version.to_string(), platform: platform.to_string(), reason })
        };
        match (platform.os(), platform.arch(), self.version.language()) {
            ("windows", "arm", language) if language >= (1, 26) => refuse("32-bit Windows on ARM ended with Go 1.25"),
            ("linux", "loong64", language) if language < (1, 19) => refuse("it came with Go 1.19"),
            _ => Ok(()),
        }
    }
}

/// The tool chain that builds: the newest that satisfies `needed` ([`crate::Resolved::go`]) and
/// still builds for the platform.
///
/// # Errors
///
/// None is new enough; says which would be, so that it can be fetched. Or none builds for it.
pub fn choose<'a>(
    needed: &str,
    platform: &Platform,
    available: &'a [Toolchain],
) -> Result<&'a Toolchain, ToolchainError> {
    let wanted = GoVersion::parse(needed);
    let mut by_age: Vec<&Toolchain> = available.iter().collect();
    by_age.sort_by(|a, b| b.version.cmp(&a.version));
    let newest = by_age.first().map(|it| it.version.to_string());
    by_age.retain(|it| wanted.as_ref().is_none_or(|wanted| it.version >= *wanted));
    let Some(first) = by_age.first() else {
        let available = newest.unwrap_or_else(|| "none".to_owned());
        return Err(ToolchainError::TooOld { needed: needed.to_owned(), available });
    };
    match by_age.iter().find(|it| it.check_platform(platform).is_ok()) {
        Some(found) => Ok(found),
        None => first.check_platform(platform).map(|()| *first),
    }
}

/// The directory of the tool chain whose command this is.
fn root_of(command: &Path) -> Option<PathBuf> {
    let real = command.canonicalize().ok()?;
    Some(real.parent()?.parent()?.to_owned())
}

fn read_start(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(std::fs::File::open(path)?, VERSION_BYTES_MAX), &mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;

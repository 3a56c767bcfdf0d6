//! Archives of modules: the list of their files, and the files.
//!
//! A module's archive is a plain ZIP: files only, each beneath `module@version/`, at most
//! 500 MiB. This reader knows that much of ZIP and no more (no encryption, no parts, no ZIP64)
//! and takes every number in it for a lie until it fits: what it says of itself is a stranger's.
//! The list of files stands at the end, so it can be had from a proxy without the rest.

mod directory;
mod read;

use thiserror::Error;

pub use directory::{Entry, TAIL_BYTES, list, locate};
pub use read::Archive;

/// Why an archive cannot be used.
#[derive(Debug, Error)]
pub enum ZipError {
    /// It is no archive of this kind, or lies about itself.
    #[error("the archive cannot be used: {0}")]
    Broken(&'static str),
    /// A file in it that must not be.
    #[error("the archive holds {name:?}: {reason}")]
    Name {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file it is in cannot be read.
    #[error("cannot read the archive")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;

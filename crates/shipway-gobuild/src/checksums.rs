//! The checksum database: whether a module's content is what everybody else gets.
//!
//! The database is a log, signed as a whole (a *note*), of which any record can be proved to be
//! in it: the record's hash and its neighbours', which come in *tiles*, must add up to the signed
//! hash. Nobody who serves it need be trusted, so it is asked through the module proxies that
//! pass it on, and directly where none does. Formats: Go Modules Reference, "Checksum database";
//! `golang.org/x/mod/sumdb` (`note`, `tlog`); RFC 6962 for the tree.
//!
//! Not here: the memory of earlier signed heads, by which a client that asks often finds out a
//! database with two histories.
//!
//! Reading order: [`Database::expected`], `key` and `note` (the signature), `tree` (the proof),
//! [`content()`] (the digest of an archive, `h1:`), [`passed_on`] (whom to ask).

mod content;
mod key;
mod note;
mod tree;

use std::collections::BTreeMap;

use thiserror::Error;
use tokio::sync::Mutex;

use crate::module::{ModulePath, Version, escape};
use crate::proxy::{Body, Failure, Proxies, ProxyError, Question};
pub use content::content;
pub use key::{DatabaseKey, KeyError};
use tree::{Hash, Tile};

/// Why content is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChecksumError {
    /// The database cannot be asked.
    #[error("the checksum database cannot be asked")]
    Away(#[source] ProxyError),
    /// It has no such module: nothing can be said of it.
    #[error("the checksum database does not know {module}: {answer}")]
    Unknown {
        /// Module and version.
        module: String,
        /// What it said.
        answer: String,
    },
    /// What it answers is not signed by its key, or does not prove what it says.
    #[error("the checksum database's answer proves nothing: {0}")]
    Unproved(&'static str),
    /// The content is another.
    #[error("{module} has the digest {found}, not {expected} as {by} says: it is not used")]
    Mismatch {
        /// Module and version.
        module: String,
        /// Its digest, `h1:…`.
        found: String,
        /// The one expected.
        expected: String,
        /// Who says so: the database's name, or `the operator`.
        by: String,
    },
}

/// A checksum database.
#[derive(Debug)]
pub struct Database {
    key: DatabaseKey,
    /// Proxies, of which one may pass the database on.
    through: Proxies,
    /// The database itself, where it can be reached.
    direct: Option<Proxies>,
    tiles: Mutex<BTreeMap<Tile, Vec<Hash>>>,
}

impl Database {
    /// A database of this key. `direct` asks the database itself: a list of its own URL alone.
    #[must_use]
    pub fn new(key: DatabaseKey, through: Proxies, direct: Option<Proxies>) -> Self {
        Self { key, through, direct, tiles: Mutex::new(BTreeMap::new()) }
    }

    /// The digest, `h1:…`, that a module's archive has for everybody.
    ///
    /// # Errors
    ///
    /// It cannot be asked, does not know the module, or proves nothing.
    pub async fn expected(&self, module: &ModulePath, version: &Version) -> Result<String, ChecksumError> {
        let path = format!("lookup/{}@{}", escape::path(module), escape::version(version));
        let answer = match self.ask(&path).await {
            Ok(answer) => answer,
            Err(ChecksumError::Away(error)) if error.failure == Failure::NotFound => {
                let answer = error.tried.iter().map(|it| it.answer.clone()).next_back().unwrap_or_default();
                return Err(ChecksumError::Unknown { module: format!("{module}@{version}"), answer });
            }
            Err(error) => return Err(error),
        };
        let text = std::str::from_utf8(&answer).map_err(|_| ChecksumError::Unproved("it is no text"))?;
        let record = note::Record::parse(text, &self.key)?;
        let root = tree::root_with(record.id, record.size, tree::leaf(record.text.as_bytes()), self).await?;
        if root != record.root {
            return Err(ChecksumError::Unproved("the record is not in the signed tree"));
        }
        let wanted = format!("{module} {version} ");
        let line = record.text.lines().find_map(|line| line.strip_prefix(&wanted));
        line.map(str::to_owned).ok_or(ChecksumError::Unproved("the record is of something else"))
    }

    /// One of the tree's stored hashes, out of its tile.
    async fn hash(&self, tile: Tile, at: usize) -> Result<Hash, ChecksumError> {
        let mut tiles = self.tiles.lock().await;
        if let Some(hash) = tiles.get(&tile).and_then(|hashes| hashes.get(at)) {
            return Ok(*hash);
        }
        let bytes = self.ask(&tile.path()).await?;
        let hashes: Vec<Hash> =
            bytes.chunks_exact(size_of::<Hash>()).filter_map(|chunk| chunk.try_into().ok()).collect();
        let found = hashes.get(at).copied().filter(|_| hashes.len() == tile.width());
        tiles.insert(tile, hashes);
        found.ok_or(ChecksumError::Unproved("a tile has another size"))
    }

    async fn ask(&self, path: &str) -> Result<bytes::Bytes, ChecksumError> {
        let question = Question::checksums(self.key.name(), path);
        let body = passed_on(&question, &self.through, self.direct.as_ref()).await.map_err(ChecksumError::Away)?;
        body.bytes().await.map_err(ChecksumError::Away)
    }
}

/// Asks a checksum database through the first proxy that passes it on, else itself, where
/// `direct` leads to it. Also for whoever passes the go command's own questions on, so that a
/// sandbox that reaches nothing has a database all the same.
///
/// # Errors
///
/// Nobody answered; or `question` is none to a checksum database and no proxy has it.
pub async fn passed_on(question: &Question, through: &Proxies, direct: Option<&Proxies>) -> Result<Body, ProxyError> {
    let first = match through.get(question).await {
        Ok(body) => return Ok(body),
        Err(error) => error,
    };
    let (Some(direct), Some((_, path))) = (direct, question.of_checksums()) else { return Err(first) };
    // A proxy that refuses or is in trouble may not be gone round: it may be there to be obeyed.
    if first.failure != Failure::NotFound {
        return Err(first);
    }
    // The database itself has no `supported`: that it answers at all is what is asked.
    let path = if path == "supported" { "latest" } else { path };
    direct.get(&Question::checksums_direct(path)).await
}

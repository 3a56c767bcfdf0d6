//! How paths and versions are written in a module proxy's URLs.
//!
//! File systems that fold case must not confuse two modules, so `!` and the small letter stand
//! for each capital (Go Modules Reference, "Module proxy"). A checked path has no `!` of its own.

use super::error::{ModuleError, shown};
use super::path::ModulePath;
use super::version::Version;

/// Longest query accepted, in bytes: branch names are longer than versions.
const QUERY_BYTES_MAX: usize = 256;

/// A module's path in a URL.
#[must_use]
pub fn path(path: &ModulePath) -> String {
    escaped(path.as_str())
}

/// A version in a URL.
#[must_use]
pub fn version(version: &Version) -> String {
    escaped(version.as_str())
}

/// A branch, tag or commit in a URL.
///
/// # Errors
///
/// Not one that the protocol can ask for: the go command cannot either where it is a path
/// (`feature/x`); use the commit.
pub fn query(text: &str) -> Result<String, ModuleError> {
    let refuse = |reason| Err(ModuleError::Version { given: shown(text), reason });
    if text.is_empty() || text.len() > QUERY_BYTES_MAX {
        return refuse("it is empty or too long");
    }
    if text.starts_with(['-', '.']) || text.ends_with('.') || text.contains("..") {
        return refuse("it begins or ends with a dot or dash");
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte);
    if !text.bytes().all(fits) {
        return refuse("only letters, digits and -._~+ are accepted");
    }
    Ok(escaped(text))
}

/// The path that an escaped one stands for; `None` if it is none.
#[must_use]
pub fn unescape_path(text: &str) -> Option<ModulePath> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '!' => plain.push(letters.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            'A'..='Z' => return None,
            other => plain.push(other),
        }
    }
    ModulePath::parse(&plain).ok()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

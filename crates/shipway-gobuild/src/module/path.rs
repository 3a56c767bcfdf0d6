//! What may be a module path and what an import path.
//!
//! The rules of `golang.org/x/mod/module`: elements of letters, digits and `-._~` (an import
//! path may have `+`), none empty, none ending in a dot, none that Windows would take for a
//! device or a short name. A module path begins with a domain name in lower case, and its last
//! element says its major version: `/v2` and up, or `.v1` and up on gopkg.in.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{ModuleError, shown};

/// Longest path accepted, in bytes. Go has no limit; the longest real ones have some 150.
const PATH_BYTES_MAX: usize = 512;

/// Most elements of a path: each may be a module that has to be asked for.
const ELEMENTS_MAX: usize = 24;

/// Names that Windows takes for devices, whatever follows their first dot.
const DEVICES: &[&str] = &[
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The path of a module: `github.com/caddyserver/caddy/v2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModulePath(String);

/// The path of a package: a module's own, or one beneath it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImportPath(String);

impl ModulePath {
    /// Checks a module path.
    ///
    /// # Errors
    ///
    /// Not a path that a module proxy could serve, or its `/vN` is none.
    pub fn parse(text: &str) -> Result<Self, ModuleError> {
        check(text, Kind::Module).map_err(|reason| malformed(Kind::Module, text, reason))?;
        Ok(Self(text.to_owned()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without its major version: `github.com/caddyserver/caddy`, `gopkg.in/yaml`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        split(&self.0).map_or(self.as_str(), |(prefix, _)| prefix)
    }

    /// The major version at the path's end: empty, `/v2`, or `.v3` on gopkg.in (there it may
    /// end in `-unstable`).
    #[must_use]
    pub fn major(&self) -> &str {
        split(&self.0).map_or("", |(_, major)| major)
    }

    /// The path of the same module with another major version, `/vN` from 2 on.
    ///
    /// # Errors
    ///
    /// On gopkg.in, or for majors that make no valid path.
    pub fn with_major(&self, major: u64) -> Result<Self, ModuleError> {
        if self.0.starts_with(GOPKG_IN) {
            return Self::parse(&format!("{}.v{major}", self.prefix()));
        }
        match major {
            0 | 1 => Self::parse(self.prefix()),
            _ => Self::parse(&format!("{}/v{major}", self.prefix())),
        }
    }
}

impl ImportPath {
    /// Checks the path of a package that a module can hold.
    ///
    /// # Errors
    ///
    /// Not such a path; one without a domain name (the standard library) is none either.
    pub fn parse(text: &str) -> Result<Self, ModuleError> {
        let refuse = |reason| malformed(Kind::Import, text, reason);
        check(text, Kind::Import).map_err(refuse)?;
        check_domain(text).map_err(refuse)?;
        Ok(Self(text.to_owned()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory of this package inside `module`, empty for its root; `None` if it lies
    /// elsewhere.
    #[must_use]
    pub fn inside<'a>(&'a self, module: &ModulePath) -> Option<&'a str> {
        inside(&self.0, module.as_str())
    }

    /// Every module that could hold this package, longest path first.
    #[must_use]
    pub fn candidates(&self) -> Vec<ModulePath> {
        let mut found = Vec::new();
        let mut rest = self.0.as_str();
        loop {
            found.extend(ModulePath::parse(rest).ok());
            match rest.rfind('/') {
                Some(end) => rest = &rest[..end],
                None => return found,
            }
        }
    }
}

/// The rest of `path` below `module`: empty when they are one.
pub(crate) fn inside<'a>(path: &'a str, module: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(module)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ModuleError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(path: $name) -> Self {
                path.0
            }
        }
    };
}
text!(ModulePath);
text!(ImportPath);

const GOPKG_IN: &str = "gopkg.in/";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Module,
    Import,
}

fn malformed(kind: Kind, given: &str, reason: &'static str) -> ModuleError {
    let kind = if kind == Kind::Module { "module path" } else { "import path" };
    ModuleError::Path { kind, given: shown(given), reason }
}

fn check(path: &str, kind: Kind) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("it is too long");
    }
    if path.starts_with('-') {
        return Err("it begins with a dash");
    }
    if path.starts_with('/') || path.starts_with("./") || path.starts_with("../") {
        return Err("local paths are not accepted");
    }
    if path.split('/').count() > ELEMENTS_MAX {
        return Err("it has too many elements");
    }
    path.split('/').try_for_each(|element| check_element(element, kind))?;
    if kind == Kind::Module {
        check_domain(path)?;
        split(path).ok_or("its major version is none (/v2 and up; gopkg.in: .v1 and up)")?;
    }
    Ok(())
}

fn check_element(element: &str, kind: Kind) -> Result<(), &'static str> {
    if element.is_empty() {
        return Err("an element is empty");
    }
    if element.bytes().all(|byte| byte == b'.') {
        return Err("an element is only dots");
    }
    if element.starts_with('.') && kind == Kind::Module {
        return Err("an element begins with a dot");
    }
    if element.ends_with('.') {
        return Err("an element ends with a dot");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !element.bytes().all(|byte| plain(byte) || (kind == Kind::Import && byte == b'+')) {
        return Err("only letters, digits and -._~ are accepted");
    }
    let short = element.split('.').next().unwrap_or_default();
    if DEVICES.contains(&short.to_ascii_lowercase().as_str()) {
        return Err("an element is a device on Windows");
    }
    let numbered = short.rsplit_once('~').is_some_and(|(_, tail)| is_digits(tail));
    if numbered { Err("an element looks like a short name on Windows") } else { Ok(()) }
}

/// The first element: a domain name in lower case.
fn check_domain(path: &str) -> Result<(), &'static str> {
    let first = path.split('/').next().unwrap_or_default();
    if !first.contains('.') {
        return Err("its first element has no dot, so it is no domain name");
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if !first.bytes().all(fits) {
        return Err("its first element is no domain name in lower case");
    }
    Ok(())
}

/// Cuts a path before its major version; `None` if what stands there is not allowed.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.starts_with(GOPKG_IN) {
        return split_gopkg(path);
    }
    let digits = path.len() - path.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let tail = &path[path.len() - digits..];
    let head = &path[..path.len() - digits];
    let has_dot = tail.contains('.');
    let Some(prefix) = head.strip_suffix("/v").filter(|_| !tail.is_empty()) else {
        return Some((path, ""));
    };
    if has_dot || tail.starts_with('0') || tail == "1" || prefix.is_empty() {
        return None;
    }
    Some((prefix, &path[prefix.len()..]))
}

fn split_gopkg(path: &str) -> Option<(&str, &str)> {
    let base = path.strip_suffix("-unstable").unwrap_or(path);
    let digits = base.len() - base.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let tail = &base[base.len() - digits..];
    let prefix = base[..base.len() - digits].strip_suffix(".v")?;
    let zero_led = tail.starts_with('0') && tail != "0";
    (!tail.is_empty() && !zero_led).then(|| (prefix, &path[prefix.len()..]))
}

pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;

//! What can be asked of a proxy.
//!
//! Nothing else: whoever passes the questions of others on (the go command's, from inside a
//! sandbox) reads them with [`Question::parse`] first, and a path that is none of the
//! protocol's never reaches a proxy.

use std::fmt;

use crate::module::{ModulePath, Version, escape};

/// Longest path of a question, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// A path of the module proxy protocol, relative to a proxy's address and with no leading slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    path: String,
    resource: Resource,
}

/// Kinds of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Versions, one a line.
    List,
    /// A version's JSON.
    Info,
    /// A version's `go.mod`.
    Mod,
    /// A version's archive.
    Zip,
    /// The latest version's JSON, where a proxy offers it.
    Latest,
    /// Something of a checksum database, passed on by a proxy.
    Checksums,
}

impl Question {
    /// `@v/list`.
    #[must_use]
    pub fn list(module: &ModulePath) -> Self {
        Self { path: format!("{}/@v/list", escape::path(module)), resource: Resource::List }
    }

    /// `@latest`.
    #[must_use]
    pub fn latest(module: &ModulePath) -> Self {
        Self { path: format!("{}/@latest", escape::path(module)), resource: Resource::Latest }
    }

    /// `@v/….info` of a version, or of a branch or commit, as [`escape::query`] writes it.
    #[must_use]
    pub fn info(module: &ModulePath, escaped: &str) -> Self {
        Self { path: format!("{}/@v/{escaped}.info", escape::path(module)), resource: Resource::Info }
    }

    /// `@v/….mod`.
    #[must_use]
    pub fn go_mod(module: &ModulePath, version: &Version) -> Self {
        let path = format!("{}/@v/{}.mod", escape::path(module), escape::version(version));
        Self { path, resource: Resource::Mod }
    }

    /// `@v/….zip`.
    #[must_use]
    pub fn zip(module: &ModulePath, version: &Version) -> Self {
        let path = format!("{}/@v/{}.zip", escape::path(module), escape::version(version));
        Self { path, resource: Resource::Zip }
    }

    /// A path of a checksum database that proxies pass on; the caller answers for the path.
    pub(crate) fn checksums(name: &str, path: &str) -> Self {
        Self { path: format!("sumdb/{name}/{path}"), resource: Resource::Checksums }
    }

    /// A path of a checksum database that is asked itself.
    pub(crate) fn checksums_direct(path: &str) -> Self {
        Self { path: path.to_owned(), resource: Resource::Checksums }
    }

    /// Reads a path that somebody asks for; `None` if it is none of the protocol's.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.len() > PATH_BYTES_MAX {
            return None;
        }
        let resource = match path.strip_prefix("sumdb/") {
            Some(rest) => checksums(rest)?,
            None => of_module(path)?,
        };
        Some(Self { path: path.to_owned(), resource })
    }

    /// The path, with no leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is asked for.
    #[must_use]
    pub const fn resource(&self) -> Resource {
        self.resource
    }

    /// For a question to a checksum database: its name, and the path beneath it.
    #[must_use]
    pub fn of_checksums(&self) -> Option<(&str, &str)> {
        self.path.strip_prefix("sumdb/").and_then(|rest| rest.split_once('/'))
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

fn of_module(path: &str) -> Option<Resource> {
    if let Some(module) = path.strip_suffix("/@latest") {
        return escape::unescape_path(module).map(|_| Resource::Latest);
    }
    let (module, rest) = path.split_once("/@v/")?;
    escape::unescape_path(module)?;
    if rest == "list" {
        return Some(Resource::List);
    }
    let (version, kind) = rest.rsplit_once('.')?;
    let plain = version.replace('!', "");
    let sound = escape::query(&plain).is_ok_and(|escaped| escaped == plain) && !version.contains("!!");
    match kind {
        _ if !sound => None,
        "info" => Some(Resource::Info),
        "mod" => Some(Resource::Mod),
        "zip" => Some(Resource::Zip),
        _ => None,
    }
}

/// `NAME/supported`, `NAME/latest`, `NAME/lookup/MODULE@VERSION`, `NAME/tile/H/L/K[.p/W]`.
fn checksums(rest: &str) -> Option<Resource> {
    let (name, rest) = rest.split_once('/')?;
    let host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let named = !name.is_empty() && !name.starts_with('.') && name.bytes().all(host);
    let sound = match rest.split_once('/') {
        None => matches!(rest, "supported" | "latest"),
        Some(("lookup", record)) => {
            let (module, version) = record.rsplit_once('@')?;
            escape::unescape_path(module)?;
            escape::query(&version.replace('!', "")).is_ok()
        }
        Some(("tile", tile)) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
            tile.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(fits))
        }
        Some(_) => false,
    };
    (named && sound).then_some(Resource::Checksums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_protocols_paths_are_questions() {
        let kind = |path: &str| Question::parse(path).map(|question| question.resource());
        assert_eq!(kind("/x.com/a/@v/list"), Some(Resource::List));
        assert_eq!(kind("x.com/!azure/a/@v/v1.0.0-!r!c.1.zip"), Some(Resource::Zip));
        assert_eq!(kind("x.com/a/@v/main.info"), Some(Resource::Info));
        assert_eq!(kind("x.com/a/@latest"), Some(Resource::Latest));
        assert_eq!(kind("x.com/a/@v/v2.0.0+incompatible.mod"), Some(Resource::Mod));
        assert_eq!(kind("sumdb/sum.test/supported"), Some(Resource::Checksums));
        assert_eq!(kind("sumdb/sum.test/lookup/x.com/!a@v1.0.0"), Some(Resource::Checksums));
        assert_eq!(kind("sumdb/sum.test/tile/8/0/x001/234.p/5"), Some(Resource::Checksums));
        for path in [
            "",
            "/",
            "x.com/a",
            "x.com/a/@v/",
            "x.com/a/@v/.info",
            "x.com/a/@v/../../b.zip",
            "x.com/a/@v/v1.0.0.exe",
            "x.com/../@v/list",
            "x.com/A/@v/list",
            "/etc/passwd",
            "//x.com/a/@v/list",
            "x.com/a/@v/list?x=y",
            "x.com/a%2f/@v/list",
            "sumdb/sum.test/tile/../../x",
            "sumdb/../supported",
            "sumdb/sum.test/lookup/x.com/a",
            "sumdb/sum.test",
            "x.com/a/@v/v1!!.info",
            "x.com/a/@v/a b.info",
            "http://x.com/a/@v/list",
        ] {
            assert_eq!(kind(path), None, "{path}");
        }
        assert_eq!(kind(&format!("x.com/{}/@v/list", "a".repeat(2000))), None);
    }
}

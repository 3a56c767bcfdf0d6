//! What a built binary says it is made of: the output of `go version -m`, read.
//!
//! The binary is hostile by then (its text may say anything), so this is what it claims, read
//! with bounds; the claim that counts is the plan's. It is the source of the list of parts.

use serde::Serialize;

use crate::module::shown;
use crate::resolved::Resolved;

/// Most modules read: a program with all of Caddy's plugins has some 2,000.
const MODULES_MAX: usize = 20_000;

/// A binary's own list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The Go it was made with, `go1.26.8`.
    pub go: String,
    /// The package of its `main`.
    pub path: String,
    /// Its own module.
    pub main: Option<Module>,
    /// Modules in it, in its order.
    pub modules: Vec<Module>,
    /// Settings of its build: `-tags`, `GOOS`.
    pub settings: Vec<(String, String)>,
}

/// A module in a binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Module {
    /// Its path.
    pub path: String,
    /// Its version, or `(devel)`.
    pub version: String,
    /// Digest of its content as the checksum database writes it, `h1:…`; may be empty.
    pub sum: String,
    /// What took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<Box<Self>>,
}

/// The text is not what `go version -m` prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the module list of a binary: {0}")]
pub struct NoBuildInfo(String);

impl BuildInfo {
    /// Reads what `go version -m FILE` printed.
    ///
    /// # Errors
    ///
    /// Nothing of the kind, or too many modules.
    pub fn parse(text: &str) -> Result<Self, NoBuildInfo> {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let (_, go) = head.rsplit_once(": ").ok_or_else(|| NoBuildInfo(shown(head)))?;
        let mut info = Self { go: go.split(' ').next().unwrap_or_default().to_owned(), ..Self::default() };
        for line in lines {
            let mut words = line.strip_prefix('\t').unwrap_or(line).split('\t');
            match words.next() {
                Some("path") => info.path = words.next().unwrap_or_default().to_owned(),
                Some("mod") => info.main = Some(module(words)),
                Some("dep") => info.modules.push(module(words)),
                Some("=>") => {
                    let replaced = info.modules.last_mut().or(info.main.as_mut());
                    replaced.ok_or_else(|| NoBuildInfo(shown(line)))?.replaced_by = Some(Box::new(module(words)));
                }
                Some("build") => info.settings.extend(setting(words.next().unwrap_or_default())),
                _ => {}
            }
            if info.modules.len() > MODULES_MAX {
                return Err(NoBuildInfo("too many modules".to_owned()));
            }
        }
        if info.path.is_empty() { Err(NoBuildInfo("it has no path".to_owned())) } else { Ok(info) }
    }

    /// The module at this path, as the binary has it.
    #[must_use]
    pub fn module(&self, path: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.path == path)
    }

    /// What of `resolved` the binary was not made of, in words; `None` if all is as it was
    /// settled. A build whose binary differs is no build of that key.
    #[must_use]
    pub fn difference(&self, resolved: &Resolved) -> Option<String> {
        let plugins = resolved.plugins.iter().map(|plugin| (&plugin.module, &plugin.version));
        let program = std::iter::once((&resolved.program.module, &resolved.program.version));
        program.chain(plugins).find_map(|(module, version)| {
            let replaced = resolved.replacements.iter().any(|it| it.old == *module);
            match self.module(module.as_str()) {
                None => Some(format!("{module} is not in the binary")),
                Some(found) if replaced && found.replaced_by.is_some() => None,
                Some(found) if found.version == version.as_str() && found.replaced_by.is_none() => None,
                Some(found) => Some(format!("{module} is in the binary as {}, not {version}", found.version)),
            }
        })
    }
}

fn module<'a>(mut words: impl Iterator<Item = &'a str>) -> Module {
    let mut next = || words.next().unwrap_or_default().to_owned();
    Module { path: next(), version: next(), sum: next(), replaced_by: None }
}

/// `key=value`; either may be quoted as Go quotes.
fn setting(text: &str) -> Option<(String, String)> {
    let (key, value) = match text.strip_prefix('"') {
        Some(rest) => rest.split_once("\"=")?,
        None => text.split_once('=')?,
    };
    let plain = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    Some((key.to_owned(), plain.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "/out/app: go1.26.8\n\tpath\tapp\n\tmod\tapp\t(devel)\t\n\tdep\tx.com/a\tv1.0.0\th1:abc=\n\
        \tdep\tx.com/b\tv1.1.0\n\t=>\tx.com/c\tv1.2.0\th1:def=\n\tbuild\t-ldflags=\"-w -s\"\n\tbuild\tGOOS=linux\n";

    #[test]
    fn what_go_prints_is_read() {
        let info = BuildInfo::parse(TEXT).unwrap();
        assert_eq!((info.go.as_str(), info.path.as_str()), ("go1.26.8", "app"));
        assert_eq!(info.module("x.com/a").unwrap().sum, "h1:abc=");
        let replaced = info.module("x.com/b").unwrap().replaced_by.as_ref().unwrap();
        assert_eq!((replaced.path.as_str(), replaced.version.as_str()), ("x.com/c", "v1.2.0"));
        assert_eq!(info.settings[0], ("-ldflags".to_owned(), "-w -s".to_owned()));
    }

    #[test]
    fn what_is_something_else_is_an_error() {
        for text in ["", "\n", "app: not a Go executable", "x: go1.26\n\t=>\ta\n", "x: go1.26\n\tdep\ta\tb\n"] {
            assert!(BuildInfo::parse(text).is_err(), "{text:?}");
        }
        let many = format!("x: go1.26\n\tpath\tx\n{}", "\tdep\ta\tv1.0.0\n".repeat(MODULES_MAX + 1));
        assert!(BuildInfo::parse(&many).is_err());
    }
}

//! `module[@version]` and `old[@version]=new@version`, as people and other programs write them.

use super::{Plugin, Query, Replacement, RequestError};
use crate::module::{ImportPath, ModuleError, ModulePath, Version, shown};

/// Reads `package[@version]`, cut at the last `@`.
///
/// # Errors
///
/// Either part is malformed; the error names the whole.
pub fn parse_plugin(text: &str) -> Result<Plugin, RequestError> {
    match text.rsplit_once('@') {
        Some((_, "")) => {
            let reason = "nothing follows the @";
            Err(malformed(text)(ModuleError::Version { given: shown(text), reason }))
        }
        Some((package, version)) => plugin(text, package, version),
        None => plugin(text, text, ""),
    }
}

/// Reads `old[@version]=new@version`.
///
/// # Errors
///
/// A part is missing or malformed; directories are never accepted.
pub fn parse_replacement(text: &str) -> Result<Replacement, RequestError> {
    let refuse = |reason| RequestError::Replacement { item: shown(text), reason };
    let (old, new) = text.split_once('=').ok_or_else(|| refuse("there is no ="))?;
    let (new, version) = new.rsplit_once('@').ok_or_else(|| refuse("the new module has no version"))?;
    replacement(text, old, new, version)
}

impl Plugin {
    /// A plugin whose package and version come apart; no version, or an empty one, is `latest`.
    ///
    /// # Errors
    ///
    /// Either is malformed.
    pub fn new(package: &str, version: Option<&str>) -> Result<Self, RequestError> {
        plugin(package, package, version.unwrap_or_default())
    }
}

impl Replacement {
    /// A replacement whose parts come apart: `old` may have `@version`, `version` is the new one's.
    ///
    /// # Errors
    ///
    /// One is missing or malformed.
    pub fn new(old: &str, new: &str, version: &str) -> Result<Self, RequestError> {
        replacement(&format!("{old}={new}@{version}"), old, new, version)
    }
}

fn plugin(item: &str, package: &str, version: &str) -> Result<Plugin, RequestError> {
    Ok(Plugin {
        package: ImportPath::parse(package).map_err(malformed(item))?,
        version: Query::parse(version).map_err(malformed(item))?,
    })
}

fn replacement(item: &str, old: &str, new: &str, version: &str) -> Result<Replacement, RequestError> {
    if version.is_empty() {
        return Err(RequestError::Replacement { item: shown(item), reason: "the new module has no version" });
    }
    let (old, old_version) = match old.rsplit_once('@') {
        Some((old, version)) => (old, Some(Version::parse(version).map_err(malformed(item))?)),
        None => (old, None),
    };
    Ok(Replacement {
        old: ModulePath::parse(old).map_err(malformed(item))?,
        old_version,
        new: ModulePath::parse(new).map_err(malformed(item))?,
        version: Query::parse(version).map_err(malformed(item))?,
    })
}

fn malformed(item: &str) -> impl Fn(ModuleError) -> RequestError {
    let item = shown(item);
    move |source| RequestError::Malformed { item: item.clone(), source }
}

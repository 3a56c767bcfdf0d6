//! `module[@version]` and `old[@version]=new@version`, as people and other programs write them.

use super::{Plugin, Query, Replacement, RequestError};
use crate::module::{ImportPath, ModuleError, ModulePath, Version, shown};

/// Reads `package[@version]`, cut at the last `@`.
///
/// # Errors
///
/// Either part is malformed; the error names the whole.
pub fn parse_plugin(text: &str) -> Result<Plugin, RequestError> {
    let (path, version) = text.rsplit_once('@').unwrap_or((text, ""));
    if text.ends_with('@') {
        let reason = "nothing follows the @";
        return Err(malformed(text)(ModuleError::Version { given: shown(text), reason }));
    }
    Ok(Plugin {
        package: ImportPath::parse(path).map_err(malformed(text))?,
        version: Query::parse(version).map_err(malformed(text))?,
    })
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
    if version.is_empty() {
        return Err(refuse("the new module has no version"));
    }
    let (old, old_version) = match old.rsplit_once('@') {
        Some((old, version)) => (old, Some(Version::parse(version).map_err(malformed(text))?)),
        None => (old, None),
    };
    Ok(Replacement {
        old: ModulePath::parse(old).map_err(malformed(text))?,
        old_version,
        new: ModulePath::parse(new).map_err(malformed(text))?,
        version: Query::parse(version).map_err(malformed(text))?,
    })
}

fn malformed(item: &str) -> impl Fn(ModuleError) -> RequestError {
    let item = shown(item);
    move |source| RequestError::Malformed { item: item.clone(), source }
}

//! Paths that one package moved away so that another's file can stand there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::HostImageError;

/// All diversions, by the path they move away.
#[derive(Debug, Default)]
pub(crate) struct Diversions(BTreeMap<PathBuf, Diversion>);

#[derive(Debug)]
struct Diversion {
    to: PathBuf,
    /// Whose file may stand at the path; `:` when the administrator made it.
    by: String,
}

/// Where a package's file is on the host, and where it belongs in the image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) on_host: PathBuf,
    pub(crate) in_image: PathBuf,
}

impl Diversions {
    /// Reads the database below `host_root`.
    pub(crate) fn read(host_root: &Path) -> Result<Self, HostImageError> {
        let path = host_root.join(super::FOLDER).join("diversions");
        let text = super::read(&path)?.unwrap_or_default();
        Self::parse(&text)
            .ok_or_else(|| HostImageError::Database { path, what: "three lines a diversion were expected".to_owned() })
    }

    /// Reads groups of three lines: path, where it went, for whom.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        if !lines.len().is_multiple_of(3) {
            return None;
        }
        let diversions = lines.chunks_exact(3).map(|group| {
            let diversion = Diversion { to: PathBuf::from(group[1]), by: group[2].to_owned() };
            (PathBuf::from(group[0]), diversion)
        });
        Some(Self(diversions.collect()))
    }

    /// Where `package`'s file `path` is, and where it goes.
    ///
    /// In the image a diverted file goes back to its own path unless the package
    /// that wanted the path is in the image too: a system with just these packages
    /// would have it there.
    pub(crate) fn place(&self, package: &str, path: &Path, is_in_image: impl Fn(&str) -> bool) -> Place {
        let (mut on_host, mut in_image) = (path.to_owned(), path.to_owned());
        if let Some(diversion) = self.0.get(path).filter(|diversion| diversion.by != package) {
            on_host.clone_from(&diversion.to);
            if is_in_image(&diversion.by) {
                in_image.clone_from(&diversion.to);
            }
        }
        Place { on_host, in_image }
    }
}

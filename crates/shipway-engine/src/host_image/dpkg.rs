//! The package database of Debian's, read and never written.
//!
//! dpkg keeps it as plain files, and has for thirty years: `status` (what is
//! installed), `info/*.list` (the paths of each package), `diversions` (paths that
//! moved away for another package) and `alternatives/` (who is `awk` today). We
//! read them directly: running dpkg would cost a process per question, and asking
//! it to hold still would make the operator's `apt-get` fail.
//!
//! # What is never done here
//!
//! * Nothing is locked. [`lock::is_busy`] only looks.
//! * No maintainer script is run.

pub(crate) mod alternatives;
pub(crate) mod diversions;
pub(crate) mod lock;
pub(crate) mod status;

use std::path::{Path, PathBuf};

use super::HostImageError;

/// Where the database is, below the host's root.
pub(crate) const FOLDER: &str = "var/lib/dpkg";

/// No file of the database is larger; a real status file is under 10 MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Reads one file of the database; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, HostImageError> {
    let not_found = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    match std::fs::metadata(path) {
        Err(error) if not_found(&error) => return Ok(None),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(HostImageError::Database {
                path: path.to_owned(),
                what: format!("it is larger than {FILE_BYTES_MAX} bytes"),
            });
        }
        _ => {}
    }
    match std::fs::read(path) {
        Err(error) if not_found(&error) => Ok(None),
        Err(error) => Err(HostImageError::io("read", path)(error)),
        // Old maintainers' names are Latin-1; paths and package names are not affected.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
    }
}

/// The paths of an installed package, as its author named them.
pub(crate) fn list_files(host_root: &Path, package: &status::Package) -> Result<Vec<PathBuf>, HostImageError> {
    let info = host_root.join(FOLDER).join("info");
    // Packages that may be installed for two architectures at once carry theirs.
    let (name, architecture) = (&package.name, &package.architecture);
    let with_architecture = info.join(format!("{name}:{architecture}.list"));
    let plain = info.join(format!("{name}.list"));
    let text = match read(&with_architecture)? {
        Some(text) => Some(text),
        None => read(&plain)?,
    };
    let text = text.ok_or_else(|| HostImageError::Database {
        path: plain,
        what: format!("the package {name} is installed, but its list of files is missing"),
    })?;
    Ok(text.lines().filter(|line| *line != "/.").map(PathBuf::from).collect())
}

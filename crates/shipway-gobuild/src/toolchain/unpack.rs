//! Unpacking a tool chain's archive, with the modes that the go command would give.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use super::ToolchainError;
use crate::zip::{Archive, Entry, ZipError};

/// How the directory of one that is not complete yet is named.
const HALF: &str = ".toolchain-";
/// After this long nobody is at work on it any more: unpacking takes some ten seconds.
const HALF_KEPT: Duration = Duration::from_secs(60 * 60);

/// Removes what was begun and never ended: a process was killed in the middle.
pub(super) fn remove_halves(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(HALF)) {
            continue;
        }
        match remove_if_old(&entry) {
            // Another is at the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn remove_if_old(half: &fs::DirEntry) -> io::Result<()> {
    let age = half.metadata()?.modified()?.elapsed().unwrap_or_default();
    if age > HALF_KEPT { fs::remove_dir_all(half.path()) } else { Ok(()) }
}

/// Unpacks into a new directory beside `root`, which then becomes `root` in one step. Its size
/// is bounded by its digest, which was taken before.
pub(super) fn unpack<R: Read + Seek>(
    archive: &mut Archive<R>,
    prefix: &str,
    directory: &Path,
    root: &Path,
) -> Result<(), ToolchainError> {
    let entries = archive.entries().to_vec();
    let half = tempfile::Builder::new().prefix(HALF).tempdir_in(directory)?;
    for entry in &entries {
        let path = entry.name.strip_prefix(prefix).ok_or_else(|| elsewhere(entry))?;
        write(archive, entry, half.path(), path)?;
    }
    // The file system's own mode of a temporary directory lets nobody else in.
    fs::set_permissions(half.path(), Permissions::from_mode(0o755))?;
    match fs::rename(half.path(), root) {
        // Another was quicker, with the same content.
        Err(_) if super::Toolchain::at(root).is_ok() => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => {
            drop(half.keep());
            Ok(())
        }
    }
}

/// Writes one file; a name was checked when the archive was opened, and nothing here is a link.
fn write<R: Read + Seek>(
    archive: &mut Archive<R>,
    entry: &Entry,
    root: &Path,
    path: &str,
) -> Result<(), ToolchainError> {
    // A module cannot hold another's go.mod, so those of the tool chain are spelled `_go.mod`.
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = if name == "_go.mod" { "go.mod" } else { name };
    let folder = root.join(folder);
    fs::create_dir_all(&folder)?;
    let mode = if is_program(path) { 0o755 } else { 0o644 };
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(folder.join(name))?;
    archive.copy(entry, &mut file)?;
    // Whatever the process's umask: others than its owner build with it.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(())
}

/// Which files the go command makes executable; archives of modules have no modes.
fn is_program(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let runs_another = path.starts_with("lib/") && name.starts_with("go_") && name.ends_with("_exec");
    path.starts_with("bin/") || path.starts_with("pkg/tool/") || runs_another
}

fn elsewhere(entry: &Entry) -> ZipError {
    ZipError::Name { name: entry.name.clone(), reason: "not in the module's own directory" }
}

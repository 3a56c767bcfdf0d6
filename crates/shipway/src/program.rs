//! Files that are this program, or another version of it: which is which, and how one
//! takes another's place.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The file that this process runs, whatever its name leads to by now.
pub(crate) const OWN: &str = "/proc/self/exe";

/// Which file a path leads to: its device and inode.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Whether process `pid` runs the very file that this process runs; `None` where that
/// cannot be seen (without root).
pub(crate) fn is_own(pid: u32) -> Option<bool> {
    let other = identity(Path::new(&format!("/proc/{pid}/exe")))?;
    Some(identity(Path::new(OWN)) == Some(other))
}

/// The name of the file that a process (`self`, or its number) was started from, also
/// when another file has that name by now.
pub(crate) fn named(process: &str) -> io::Result<PathBuf> {
    let path = fs::read_link(format!("/proc/{process}/exe"))?;
    let text = path.to_str().and_then(|text| text.strip_suffix(" (deleted)"));
    Ok(text.map_or_else(|| path.clone(), PathBuf::from))
}

/// Puts a copy of `from` at `new`, on the disk and fit to be run; to be renamed to where
/// it belongs.
pub(crate) fn copy(from: &Path, new: &Path) -> anyhow::Result<()> {
    let copied = fs::copy(from, new)
        .and_then(|_| fs::set_permissions(new, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::File::open(new)?.sync_all());
    copied.with_context(|| format!("cannot write {}", new.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_its_own_file() {
        assert_eq!(is_own(std::process::id()), Some(true));
        assert_eq!(named("self").unwrap(), std::env::current_exe().unwrap());
        assert_eq!(is_own(u32::MAX), None, "there is no such process");
    }

    #[test]
    fn a_copy_is_another_file_that_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("true");
        copy(Path::new("/bin/true"), &new).unwrap();
        assert_ne!(identity(&new), identity(Path::new("/bin/true")));
        assert!(std::process::Command::new(&new).status().unwrap().success());
    }
}

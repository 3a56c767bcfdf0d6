//! The state directory: one owner of each part, one version.
//!
//! A lock (flock(2)) is held by the one process that does a thing here, and names it; the
//! kernel lets go of it however that process ends. `lock` is the engine's, that of the
//! worker; `lock.api`, `lock.janitor` and `lock.proxy` are those of the roles. A process that
//! does everything has them all. `version`
//! says which form the directory has: one that a newer Shipway has written is
//! refused, never guessed at.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use shipway_stdx::fs::{Durability, write_atomic};

use crate::config::Roles;

/// The form of the directory that this version writes.
pub(crate) const VERSION: u32 = 1;

/// The locks there are, first the one that has always been there.
const LOCKS: [&str; 4] = ["lock", "lock.api", "lock.janitor", "lock.proxy"];

/// An owned state directory. Dropping it lets go of the locks.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _locks: Vec<File>,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateDirError {
    #[error("{path} is in use by process {owner}; stop it, or choose another `state_dir`", path = path.display())]
    InUse { path: PathBuf, owner: String },
    #[error(
        "{path} was written by a newer Shipway (version {found}, this one knows up to {VERSION}); use that Shipway, or another `state_dir`",
        path = path.display()
    )]
    Newer { path: PathBuf, found: String },
    #[error("cannot use the state directory {path}", path = path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StateDir {
    /// Makes the directory if need be, takes all of it, checks its version.
    pub(crate) fn open(path: &Path) -> Result<Self, StateDirError> {
        Self::open_for(path, Roles::ALL)
    }

    /// The same, but takes only what these roles need.
    pub(crate) fn open_for(path: &Path, roles: Roles) -> Result<Self, StateDirError> {
        let fail = |source| StateDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(fail)?;
        let wanted = LOCKS.into_iter().zip([roles.worker, roles.api, roles.janitor, roles.proxy]);
        let locks = wanted.filter(|(_, wanted)| *wanted).map(|(name, _)| lock(path, name));
        let locks = locks.collect::<Result<_, _>>()?;
        check_version(path)?;
        Ok(Self { path: path.to_owned(), _locks: locks })
    }

    /// A path inside.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The processes that own something of a state directory now, each once.
pub(crate) fn owners(path: &Path) -> io::Result<Vec<i32>> {
    let mut owners = Vec::new();
    for name in LOCKS {
        let owner = owner(&path.join(name))?;
        owners.extend(owner.filter(|owner| !owners.contains(owner)));
    }
    Ok(owners)
}

fn owner(lock: &Path) -> io::Result<Option<i32>> {
    let mut file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().ok())
}

fn lock(folder: &Path, name: &str) -> Result<File, StateDirError> {
    let fail = |source| StateDirError::Io { path: folder.to_owned(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    let mut file = options.open(folder.join(name)).map_err(fail)?;
    if !shipway_stdx::fs::lock(&file).map_err(fail)? {
        let mut owner = String::new();
        file.read_to_string(&mut owner).map_err(fail)?;
        return Err(StateDirError::InUse { path: folder.to_owned(), owner: owner.trim().to_owned() });
    }
    file.set_len(0).map_err(fail)?;
    file.rewind().map_err(fail)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(fail)?;
    Ok(file)
}

fn check_version(folder: &Path) -> Result<(), StateDirError> {
    let fail = |source| StateDirError::Io { path: folder.to_owned(), source };
    let path = folder.join("version");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!("{VERSION}\n");
            return write_atomic(&path, text.as_bytes(), 0o644, Durability::Power).map_err(fail);
        }
        Err(error) => return Err(fail(error)),
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found <= VERSION => Ok(()),
        _ => Err(StateDirError::Newer { path: folder.to_owned(), found: text.trim().to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_and_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path()).unwrap();
        let error = StateDir::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert_eq!(owners(folder.path()).unwrap(), [i32::try_from(std::process::id()).unwrap()]);
        drop(first);
        assert!(owners(folder.path()).unwrap().is_empty());
        StateDir::open(folder.path()).unwrap();
    }

    #[test]
    fn processes_share_a_directory_that_do_different_things_there() {
        let folder = tempfile::tempdir().unwrap();
        let none = Roles { api: false, worker: false, janitor: false, proxy: false };
        let api = StateDir::open_for(folder.path(), Roles { api: true, ..none }).unwrap();
        let worker = StateDir::open_for(folder.path(), Roles { worker: true, ..none }).unwrap();
        let janitor = StateDir::open_for(folder.path(), Roles { janitor: true, ..none }).unwrap();
        StateDir::open_for(folder.path(), Roles { worker: true, ..none }).unwrap_err();
        StateDir::open(folder.path()).unwrap_err();
        drop((api, worker, janitor));
        StateDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_newer_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(StateDir::open(folder.path()).unwrap());
        write_atomic(&folder.path().join("version"), b"2\n", 0o644, Durability::Process).unwrap();
        let error = StateDir::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("newer Shipway (version 2"), "{error}");
    }
}

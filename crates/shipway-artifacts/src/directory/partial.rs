//! Files that are being written, and what killed writers left of them.
//!
//! A partial file is locked by its writer for as long as it writes; the kernel takes the
//! lock away with the process. One that can be locked is therefore a leftover. Files are made, and leftovers looked
//! for, only in one's turn, so that none is seen between its making and its locking.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use shipway_stdx::fs::remove_if_there;
use uuid::Uuid;

use super::{Directory, PARTIAL};

/// A file being written; dropped before it has a name, it leaves nothing.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: File,
}

impl Directory {
    pub(super) fn begin_partial(&self) -> io::Result<Partial> {
        let path = self.root.join(PARTIAL).join(Uuid::new_v4().to_string());
        let _turn = self.turn()?;
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(Partial { path, file })
    }

    /// Removes what killed writers left; says how many there were.
    pub(super) fn remove_leftovers(&self) -> io::Result<u64> {
        let _turn = self.turn()?;
        let mut removed = 0;
        for entry in fs::read_dir(self.root.join(PARTIAL))? {
            let path = entry?.path();
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_ok() {
                removed += u64::from(remove_if_there(&path)?);
            }
        }
        Ok(removed)
    }
}

impl Partial {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes the content survive a power cut, and unwritable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(0o400))?;
        self.file.sync_all()
    }

    pub(super) fn rename(&self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the renaming there is nothing at this path any more.
        drop(fs::remove_file(&self.path));
    }
}

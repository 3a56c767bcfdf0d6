//! The engine root: one directory that holds everything an engine remembers.
//!
//! ```text
//! <root>/                 0700, locked by its one owner
//!   lock                  flock; holds the owner's pid
//!   instance              who we are, in the name of everything we make elsewhere
//!   bin/shim-<digest>     the shim, 0700, where no container can reach it
//!   containers/<id>/      container.json, spec.json, run.json, exit.json, log/
//!   trash/                on its way out
//! <run parent>/<instance>/<id>/   0711: sockets only
//! <run parent>/slots/     shared by all engine roots of the machine
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shipway_stdx::fs::{Durability, write_atomic};
use uuid::Uuid;

use crate::EngineError;
use crate::error::Doing;

/// Longest engine root: sockets must be nameable in 107 bytes, and so must paths
/// in messages stay short.
const ROOT_BYTES_MAX: usize = 512;
/// Longest run parent: `/<instance>/<id>/http.sock.new` comes after it, and a
/// socket's path has at most 107 bytes.
const RUN_PARENT_BYTES_MAX: usize = 38;

/// An owned engine root.
#[derive(Debug)]
pub(crate) struct Home {
    /// The engine root.
    pub(crate) root: PathBuf,
    /// Our run directory.
    pub(crate) run: PathBuf,
    /// Where slots are handed out.
    pub(crate) slots: PathBuf,
    /// Who we are.
    pub(crate) instance: String,
    /// The installed shim.
    pub(crate) shim: PathBuf,
    /// The lock; given up by closing it.
    _lock: File,
}

/// `instance`: the id, and which directory it was given to. A copy of an engine
/// root is another directory, and so becomes another instance.
#[derive(Debug, Serialize, Deserialize)]
struct Instance {
    id: String,
    device: u64,
    inode: u64,
}

impl Home {
    /// Takes possession of an engine root, making what is missing.
    pub(crate) fn open(root: &Path, run_parent: &Path) -> Result<Self, EngineError> {
        check_length(root, ROOT_BYTES_MAX)?;
        check_length(run_parent, RUN_PARENT_BYTES_MAX)?;
        make_folder(root, 0o700)?;
        // As the kernel names it: processes are found again by the path of their program.
        let root = &fs::canonicalize(root).on("find", root)?;
        let lock = lock(root)?;
        for name in ["bin", "containers", "trash"] {
            make_folder(&root.join(name), 0o700)?;
        }
        let instance = match instance_of(root) {
            Some(instance) => instance,
            None => new_instance(root)?,
        };
        // The proxy's user walks through to its sockets, and reads nothing.
        make_folder(run_parent, 0o711)?;
        let run = run_parent.join(&instance);
        make_folder(&run, 0o711)?;
        Ok(Self {
            shim: install_shim(&root.join("bin"))?,
            root: root.to_owned(),
            run,
            slots: run_parent.join("slots"),
            instance,
            _lock: lock,
        })
    }

    /// The state directory of a container.
    pub(crate) fn state(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    /// The run directory of a container.
    pub(crate) fn run_of(&self, id: &str) -> PathBuf {
        self.run.join(id)
    }
}

fn check_length(path: &Path, most: usize) -> Result<(), EngineError> {
    let length = path.as_os_str().len();
    if !path.is_absolute() || length > most {
        return Err(EngineError::Invalid(format!(
            "{} must be an absolute path of at most {most} bytes",
            path.display()
        )));
    }
    Ok(())
}

/// Makes a directory of exactly this mode, or corrects the mode of ours.
fn make_folder(path: &Path, mode: u32) -> Result<(), EngineError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.on("make", path)?;
    let found = fs::symlink_metadata(path).on("look at", path)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(EngineError::Invalid(format!(
            "{} must be a directory owned by the engine's own user",
            path.display()
        )));
    }
    if found.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode)).on("set the mode of", path)?;
    }
    Ok(())
}

fn lock(root: &Path) -> Result<File, EngineError> {
    let path = root.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .on("open", &path)?;
    if !shipway_stdx::fs::lock(&file).on("lock", &path)? {
        let mut text = String::new();
        // Only for the message: an unreadable pid is told as 0.
        drop(file.read_to_string(&mut text));
        return Err(EngineError::Owned { root: root.to_owned(), pid: text.trim().parse().unwrap_or(0) });
    }
    file.set_len(0).on("write", &path)?;
    writeln!(file, "{}", std::process::id()).on("write", &path)?;
    Ok(file)
}

/// Returns the instance id of an engine root, if it has one of its own.
pub(crate) fn instance_of(root: &Path) -> Option<String> {
    let text = fs::read(root.join("instance")).ok()?;
    let instance: Instance = serde_json::from_slice(&text).ok()?;
    let found = fs::metadata(root).ok()?;
    (instance.device == found.dev() && instance.inode == found.ino()).then_some(instance.id)
}

fn new_instance(root: &Path) -> Result<String, EngineError> {
    // 48 random bits: enough that no two roots of a machine meet, short enough
    // for the path of a socket.
    let id = Uuid::new_v4().simple().to_string()[..12].to_owned();
    write_instance(root, &id)?;
    Ok(id)
}

pub(crate) fn write_instance(root: &Path, id: &str) -> Result<(), EngineError> {
    let found = fs::metadata(root).on("look at", root)?;
    let instance = Instance { id: id.to_owned(), device: found.dev(), inode: found.ino() };
    let text = serde_json::to_vec(&instance).expect("plain texts and numbers are JSON");
    let path = root.join("instance");
    write_atomic(&path, &text, 0o600, Durability::Power).on("write", &path)
}

/// Puts the shim where it is run from, once per version; a file that does not
/// have its digest is replaced. Old versions stay while their shims may run.
fn install_shim(bin: &Path) -> Result<PathBuf, EngineError> {
    install_program(bin, "shim", shipway_static::SHIM, 0o700)
}

/// Puts a program of ours at `<folder>/<name>-<digest>` and returns the path.
///
/// # Errors
///
/// [`EngineError::Host`] when the folder cannot be written.
pub fn install_program(folder: &Path, name: &str, program: &[u8], mode: u32) -> Result<PathBuf, EngineError> {
    let digest = Sha256::digest(program);
    let short: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
    let path = folder.join(format!("{name}-{short}"));
    let intact = fs::read(&path).is_ok_and(|found| Sha256::digest(found) == digest);
    if !intact {
        write_atomic(&path, program, mode, Durability::Process).on("install", &path)?;
    }
    fs::set_permissions(&path, Permissions::from_mode(mode)).on("set the mode of", &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_one_owner_who_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (root, run) = (folder.path().join("engine"), folder.path().join("run"));
        let first = Home::open(&root, &run).unwrap();
        let second = Home::open(&root, &run).unwrap_err();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(second, EngineError::Owned { pid, .. } if pid == own), "{second}");
        let instance = first.instance.clone();
        drop(first);
        assert_eq!(Home::open(&root, &run).unwrap().instance, instance);
    }

    #[test]
    fn a_copy_of_a_root_is_another_instance() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let first = folder.path().join("a");
        let id = Home::open(&first, &run).unwrap().instance.clone();
        let copy = folder.path().join("b");
        fs::create_dir(&copy).unwrap();
        fs::copy(first.join("instance"), copy.join("instance")).unwrap();
        assert_ne!(Home::open(&copy, &run).unwrap().instance, id);
    }

    #[test]
    fn a_damaged_program_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = install_program(folder.path(), "p", b"good", 0o700).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().write_all(b"evil").unwrap();
        let again = install_program(folder.path(), "p", b"good", 0o700).unwrap();
        assert_eq!((&again, fs::read(&again).unwrap()), (&path, b"good".to_vec()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn places_that_cannot_work_are_refused() {
        let long = PathBuf::from(format!("/{}", "x".repeat(50)));
        for (root, run) in [(Path::new("here"), Path::new("/r")), (Path::new("/tmp"), &long)] {
            let refused = Home::open(root, run).unwrap_err().to_string();
            assert!(refused.contains("must be an absolute path"), "{refused}");
        }
    }
}

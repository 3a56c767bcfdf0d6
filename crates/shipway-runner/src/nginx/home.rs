//! The folder of what is made at the start, and who may do what with it.
//!
//! ```text
//! <home>/           root   0711
//!   nginx.conf      root   0644
//!   environment     root   0640, group of the scripts: for the wrappers
//!   shipway-cgi     a link to this program
//!   fcgiwrap        root   0711, a copy: scripts may not read it, nor then its memory
//!   fcgi            root   0660, group of nginx: only nginx may connect
//!   watch           root   0660, group of the scripts: for the wrappers
//!   work/           root   0770, group of nginx: its pid, and folders it never uses
//! ```
//!
//! Without a script there is only one user, who owns everything.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::config::Variable;

/// Longest environment that is read back: far more than the kernel passes on.
const ENVIRONMENT_BYTES_MAX: u64 = 8 << 20;

/// Group and user of nginx, where there is a script to be kept from it.
pub const SERVER: u32 = 1001;
/// Group and user of scripts, and of fcgiwrap, which starts them.
pub const SCRIPT: u32 = 1000;

/// The folder.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
    /// Whether the processes are different users: whether we may make them so.
    pub has_users: bool,
}

impl Home {
    /// Names the folder.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path, has_users: rustix::process::geteuid().is_root() }
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder and the one below it that nginx writes to.
    ///
    /// # Errors
    ///
    /// It is there already, or cannot be made.
    pub fn make(&self) -> io::Result<()> {
        let make = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path);
        make(&self.path)?;
        let work = self.file("work");
        make(&work)?;
        self.give(&work, SERVER, 0o770)?;
        fs::set_permissions(&self.path, Permissions::from_mode(0o711))
    }

    /// Writes a file, for everybody or for this group only.
    ///
    /// # Errors
    ///
    /// Any error of writing it.
    pub fn write(&self, name: &str, bytes: &[u8], group: Option<u32>) -> io::Result<PathBuf> {
        let path = self.file(name);
        File::create_new(&path)?.write_all(bytes)?;
        match group {
            Some(group) => self.give(&path, group, 0o640)?,
            None => fs::set_permissions(&path, Permissions::from_mode(0o644))?,
        }
        Ok(path)
    }

    /// Copies a program so that everybody may execute and nobody but us may read it: the
    /// kernel then keeps its process's memory from its own user.
    ///
    /// # Errors
    ///
    /// Any error of copying it.
    pub fn copy_hidden(&self, program: &Path) -> io::Result<PathBuf> {
        let path = self.file(&program.file_name().unwrap_or_default().to_string_lossy());
        fs::copy(program, &path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o711))?;
        Ok(path)
    }

    /// Makes a listening socket that only this group may connect to.
    ///
    /// # Errors
    ///
    /// Any error of making it.
    pub fn listen(&self, name: &str, group: u32) -> io::Result<OwnedFd> {
        let path = self.file(name);
        let socket = UnixListener::bind(&path)?;
        self.give(&path, group, 0o660)?;
        // The library's own backlog is short; nginx is not to be refused a place in it.
        rustix::net::listen(&socket, 4096)?;
        Ok(socket.into())
    }

    /// Hands a file or folder of ours over to a group.
    ///
    /// # Errors
    ///
    /// It is not ours.
    pub fn give(&self, path: &Path, group: u32, mode: u32) -> io::Result<()> {
        if self.has_users {
            // The group is one of ours, so this takes no capability.
            std::os::unix::fs::chown(path, None, Some(group))?;
        }
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    /// Writes the environment for [`Home::environment`] to read.
    ///
    /// # Errors
    ///
    /// Any error of writing the file.
    pub fn write_environment(&self, variables: &[Variable]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (name, value) in variables {
            for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
                bytes.extend_from_slice(part);
            }
        }
        self.write("environment", &bytes, Some(SCRIPT)).map(drop)
    }

    /// The environment the first process had.
    ///
    /// # Errors
    ///
    /// Any error of reading the file.
    pub fn environment(&self) -> io::Result<Vec<Variable>> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(
            &mut io::Read::take(File::open(self.file("environment"))?, ENVIRONMENT_BYTES_MAX),
            &mut bytes,
        )?;
        let variables = bytes.split(|byte| *byte == 0).filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b'=')?;
            Some((OsString::from_vec(line[..at].to_vec()), OsString::from_vec(line[at + 1..].to_vec())))
        });
        Ok(variables.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_survives_its_journey() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { path: folder.path().join("home"), has_users: false };
        home.make().unwrap();
        let variables: Vec<Variable> =
            [("A", "1"), ("EMPTY", ""), ("LINES", "a\nb=c")].map(|(name, value)| (name.into(), value.into())).to_vec();
        home.write_environment(&variables).unwrap();
        assert_eq!(home.environment().unwrap(), variables);
        assert!(home.make().is_err(), "made once");
    }
}

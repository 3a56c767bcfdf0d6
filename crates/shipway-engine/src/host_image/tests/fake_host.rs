//! A small Debian in a temporary directory.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, XattrFlags};

use crate::host_image::{HostImageConfig, Wanted};

/// A host's files and its package database; gone when dropped.
pub(super) struct FakeHost {
    dir: tempfile::TempDir,
}

/// The status file alone, for those who change it from another thread.
pub(super) struct Status(PathBuf);

impl Status {
    /// Replaces the file by a copy of itself, as dpkg does with every change.
    pub(super) fn touch(&self) {
        let copy = self.0.with_extension("new");
        std::fs::copy(&self.0, &copy).unwrap();
        std::fs::rename(copy, &self.0).unwrap();
    }
}

impl FakeHost {
    pub(super) fn new() -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        for folder in ["var/lib/dpkg/info", "var/lib/dpkg/alternatives", "usr/bin", "usr/lib"] {
            std::fs::create_dir_all(host.path(folder)).unwrap();
        }
        host.write("var/lib/dpkg/status", "");
        host.write("var/lib/dpkg/lock", "");
        host
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(super) fn images_dir(&self) -> PathBuf {
        self.dir.path().join("images")
    }

    pub(super) fn config(&self, wanted: &[Wanted]) -> HostImageConfig {
        HostImageConfig { host_root: self.root(), packages: wanted.to_vec() }
    }

    pub(super) fn status(&self) -> Status {
        Status(self.path("var/lib/dpkg/status"))
    }

    pub(super) fn touch_status(&self) {
        self.status().touch();
    }

    /// Installs a package: its fields, its list, and a file at each path that
    /// holds the package's name and the path.
    pub(super) fn install(&self, name: &str, fields: &str, paths: &[&str]) {
        self.install_as(name, "install ok installed", fields, paths);
    }

    pub(super) fn install_as(&self, name: &str, state: &str, fields: &str, paths: &[&str]) {
        let mut status = std::fs::read_to_string(self.path("var/lib/dpkg/status")).unwrap();
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
        status.push_str(&format!(
            "Package: {name}\nStatus: {state}\nVersion: 1\nArchitecture: all\n{fields}\
             Description: short\n A line that continues.\n\n"
        ));
        self.write("var/lib/dpkg/status", &status);
        self.write(&format!("var/lib/dpkg/info/{name}.list"), "/.\n");
        for path in paths {
            let folders: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
            for folder in folders.iter().rev().filter(|folder| folder.parent().is_some()) {
                self.own(name, folder.to_str().unwrap());
            }
            self.own(name, path);
            self.write(path.trim_start_matches('/'), &format!("{name} {path}"));
        }
    }

    /// Adds a path to a package's list.
    pub(super) fn own(&self, name: &str, path: &str) {
        let list = self.path(&format!("var/lib/dpkg/info/{name}.list"));
        let mut text = std::fs::read_to_string(&list).unwrap();
        text.push_str(&format!("{path}\n"));
        std::fs::write(list, text).unwrap();
    }

    /// Moves a file away for another package, as dpkg-divert does.
    pub(super) fn divert(&self, path: &str, to: &str, by: &str) {
        let strip = |path: &str| self.path(path.trim_start_matches('/'));
        std::fs::rename(strip(path), strip(to)).unwrap();
        self.write("var/lib/dpkg/diversions", &format!("{path}\n{to}\n{by}\n"));
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(super) fn mode(&self, path: &str, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(path), permissions).unwrap();
    }

    pub(super) fn remove(&self, path: &str) {
        std::fs::remove_file(self.path(path)).unwrap();
    }

    pub(super) fn pipe(&self, path: &str) {
        self.remove(path);
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, self.path(path), FileType::Fifo, mode, 0).unwrap();
    }

    /// Gives a file `cap_net_raw=ep`, as ping has it.
    pub(super) fn capable(&self, path: &str) {
        let mut value = Vec::new();
        for word in [0x0200_0001_u32, 1 << 13, 0, 0, 0] {
            value.extend_from_slice(&word.to_le_bytes());
        }
        let name = c"security.capability";
        rustix::fs::setxattr(self.path(path), name, &value, XattrFlags::empty()).unwrap();
    }
}

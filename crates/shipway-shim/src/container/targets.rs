//! Where mounts go: resolved beneath the root, made where missing.
//!
//! An image is hostile: its folders may be links to anywhere. Every target is opened
//! with openat2(2) so that links stay within the container's root and no magic link
//! is followed, and the mount goes onto that descriptor. What is missing is made: in
//! the root, if that can be written to, else in a folder of the scratch laid over the
//! nearest folder that exists, if that is empty (`/srv` and `/.shipway` of a host
//! image), which becomes read-only once everything is in its place.

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::failure::{Failure, Step as _};
use crate::sys::{self, MountChange};

/// Most folders of one target path, so that a hostile one cannot exhaust the stack.
const DEPTH_MAX: usize = 64;

/// What a target must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory.
    Folder,
    /// Anything else.
    File,
}

impl Kind {
    /// What the root of a mount is.
    pub(super) fn of(tree: &OwnedFd) -> Result<Self, Failure> {
        let mode = fstat(tree).step("look at a bind's source")?.st_mode;
        Ok(match FileType::from_raw_mode(mode) {
            FileType::Directory => Self::Folder,
            _ => Self::File,
        })
    }
}

/// The root and the scratch of a container being made.
#[derive(Debug)]
pub(super) struct Targets<'trees> {
    root: &'trees OwnedFd,
    scratch: &'trees OwnedFd,
    /// Folders of the scratch laid over empty ones of a read-only root.
    nests: Vec<OwnedFd>,
}

impl<'trees> Targets<'trees> {
    pub(super) fn new(root: &'trees OwnedFd, scratch: &'trees OwnedFd) -> Self {
        Self { root, scratch, nests: Vec::new() }
    }

    /// The scratch.
    pub(super) fn scratch(&self) -> &'trees OwnedFd {
        self.scratch
    }

    /// Whether the root has something at `path`.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.find(path, OFlags::empty()).is_ok()
    }

    /// Whether something can be laid at `path` in a root that may be read-only.
    pub(super) fn can_make(&mut self, path: &[u8]) -> bool {
        self.find_or_make(path, Kind::File, 0).is_ok()
    }

    /// Attaches the detached mount `tree` at `path`, which is made if missing.
    pub(super) fn attach(&mut self, tree: &OwnedFd, path: &[u8], kind: Kind) -> Result<(), Failure> {
        let target = self.find_or_make(path, kind, 0).step_on("make a mount point", path)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(tree, "", &target, "", flags).step_on("attach a mount", path)
    }

    /// Makes a folder of the scratch and returns a detached mount of it.
    pub(super) fn scratch_folder(&self, name: &str, mode: Mode) -> Result<OwnedFd, Failure> {
        mkdirat(self.scratch, name, mode).step_on("make a folder of the scratch", name.as_bytes())?;
        self.clone_of_scratch(name)
    }

    /// A detached mount of something in the scratch.
    pub(super) fn clone_of_scratch(&self, name: &str) -> Result<OwnedFd, Failure> {
        clone_of(self.scratch, name).step_on("clone a part of the scratch", name.as_bytes())
    }

    /// Makes the folders that hold nothing but mount points read-only.
    pub(super) fn seal(&self) -> Result<(), Failure> {
        let change = MountChange { set: libc::MOUNT_ATTR_RDONLY, idmap: None };
        let sealed: Result<(), Errno> = self.nests.iter().try_for_each(|nest| sys::change_mount(nest, change));
        sealed.step("make the mount points read-only")
    }

    fn find(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(self.root, path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    fn find_or_make(&mut self, path: &[u8], kind: Kind, depth: usize) -> Result<OwnedFd, Errno> {
        let wanted = match kind {
            Kind::Folder => OFlags::DIRECTORY,
            Kind::File => OFlags::empty(),
        };
        match self.find(path, wanted) {
            Err(Errno::NOENT) if depth < DEPTH_MAX => {}
            found => return found,
        }
        let (parent, name) = split(path).ok_or(Errno::NOENT)?;
        let folder = self.find_or_make(parent, Kind::Folder, depth + 1)?;
        match make(&folder, name, kind) {
            Err(Errno::ROFS) => {
                self.lay_nest(&folder)?;
                make(&self.find(parent, OFlags::DIRECTORY)?, name, kind)?;
            }
            other => other?,
        }
        self.find(path, wanted)
    }

    /// Lays an empty folder of the scratch over an empty one of the root.
    fn lay_nest(&mut self, folder: &OwnedFd) -> Result<(), Errno> {
        if !is_empty(folder)? {
            return Err(Errno::ROFS);
        }
        let name = format!("nest{}", self.nests.len());
        mkdirat(self.scratch, &name, Mode::from_raw_mode(0o755))?;
        let nest = clone_of(self.scratch, &name)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&nest, "", folder, "", flags)?;
        self.nests.push(nest);
        Ok(())
    }
}

/// A detached mount of `name` in the attached mount that `folder` is of.
pub(super) fn clone_of(folder: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(folder, name, flags)
}

fn make(folder: &OwnedFd, name: &[u8], kind: Kind) -> Result<(), Errno> {
    match kind {
        Kind::Folder => mkdirat(folder, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            openat(folder, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    }
}

fn is_empty(folder: &OwnedFd) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(openat(folder, ".", flags, Mode::empty())?)? {
        let name = entry?;
        if ![b".".as_slice(), b".."].contains(&name.file_name().to_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Parent and name of an absolute or relative path without `..`.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let trimmed = path.iter().rposition(|byte| *byte != b'/').map(|last| path.split_at(last + 1).0)?;
    match trimmed.iter().rposition(|byte| *byte == b'/') {
        Some(0) => Some((b"/", trimmed.get(1..)?)),
        Some(slash) => Some((trimmed.get(..slash)?, trimmed.get(slash + 1..)?)),
        None => Some((b"/", trimmed)),
    }
}

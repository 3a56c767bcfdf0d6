//! An archive becomes a tree.
//!
//! What is refused, what is left out and what is kept is told by [`Rule`] and
//! [`Unpacked`]: a distribution's root file system has device nodes in `dev/` and set-id
//! programs like `bin/su`, which a container can use neither of, so those are left out
//! or lose the bit, and are counted; everything that tries to get out is refused.

use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use tar::{Archive, Entry};

use crate::UnpackLimits;
use crate::head::{Head, Kind, Pending};
use crate::path::InnerPath;
use crate::rule::{Rule, UnpackError, broken, broken_at};
use crate::source::{self, Trouble};
use crate::tree::{Dress, Tree};

/// Ids inside a container end here.
const ID_MAX: u64 = 65_535;
/// Kept of a mode. Set-id bits are dropped: a root file system is mounted `nosuid`.
const FOLDER_BITS: u32 = 0o1777;
const FILE_BITS: u32 = 0o777;
/// Bits that are counted when they go.
const SET_ID: u32 = 0o6000;

/// What came out of an archive, and what was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// What is in the tree: files, folders and symlinks, its root included.
    pub entries: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Devices and pipes below `dev/`, not made.
    pub devices_left_out: u64,
    /// Entries that lost a set-id bit.
    pub set_id_dropped: u64,
    /// Extended attributes and access lists, not kept.
    pub attributes_dropped: u64,
}

/// Unpacks `input` (a tar archive, plain, in gzip or in Zstandard) into the empty
/// directory `tree`.
///
/// Needs the right to change owners. After an error the directory holds what was
/// written so far: it is the caller's to remove.
///
/// # Errors
///
/// [`UnpackError`].
pub fn unpack(input: impl Read, tree: &Path, limits: &UnpackLimits) -> Result<Unpacked, UnpackError> {
    let trouble = Rc::new(Trouble::default());
    let stream = source::open(input, limits, &trouble)?;
    let mut unpacking = Unpacking {
        tree: Tree::open(tree, limits)?,
        depth_max: limits.depth_max,
        done: Unpacked::default(),
        trouble: Rc::clone(&trouble),
    };
    let mut archive = Archive::new(stream);
    let mut pending = Pending::default();
    let mut empty = true;
    for entry in archive.entries().map_err(|error| trouble.explain(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| trouble.explain(&error))?;
        empty = false;
        let told = pending.take(&mut entry, &trouble)?;
        unpacking.tree.count(told.as_ref().map_or(0, Head::name_bytes))?;
        if let Some(head) = told {
            unpacking.place(&head, &mut entry)?;
        }
    }
    pending.end()?;
    if empty {
        return Err(broken(Rule::Empty));
    }
    // A zero block says that it is over; this one just stopped.
    if trouble.ended.get() {
        return Err(broken(Rule::Truncated));
    }
    // To the end, so that a wrapping that is damaged behind the last file is noticed.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| trouble.explain(&error))?;
    unpacking.finish()
}

impl Head {
    fn name_bytes(&self) -> usize {
        let link = match &self.kind {
            Kind::Symlink { target } | Kind::HardLink { target } => target.len(),
            _ => 0,
        };
        self.path.len() + link
    }
}

struct Unpacking<'l> {
    tree: Tree<'l>,
    depth_max: usize,
    done: Unpacked,
    trouble: Rc<Trouble>,
}

impl Unpacking<'_> {
    fn place<R: Read>(&mut self, head: &Head, body: &mut Entry<'_, R>) -> Result<(), UnpackError> {
        let path = InnerPath::of(&head.path, self.depth_max)?;
        self.done.attributes_dropped += head.attributes;
        match &head.kind {
            Kind::Device | Kind::Pipe if path.is_a_device_place() => {
                self.done.devices_left_out += 1;
                Ok(())
            }
            Kind::Device => Err(broken_at(Rule::Device, &head.path)),
            Kind::Pipe => Err(broken_at(Rule::Special, &head.path)),
            Kind::Folder => {
                let dress = self.dress(head, FOLDER_BITS)?;
                self.tree.folder(&path, dress)
            }
            Kind::File => {
                let dress = self.dress(head, FILE_BITS)?;
                let trouble = Rc::clone(&self.trouble);
                self.tree.file(&path, dress, head.size, body, |error| trouble.explain(error))
            }
            Kind::Symlink { target } => {
                let dress = dress(head, FILE_BITS)?;
                self.tree.symlink(&path, target, dress)
            }
            Kind::HardLink { target } => {
                let target =
                    InnerPath::of(target, self.depth_max).map_err(|_| broken_at(Rule::HardLink, &head.path))?;
                self.tree.hard_link(&path, &target)
            }
        }
    }

    fn dress(&mut self, head: &Head, bits: u32) -> Result<Dress, UnpackError> {
        self.done.set_id_dropped += u64::from(head.mode & SET_ID != 0);
        dress(head, bits)
    }

    fn finish(self) -> Result<Unpacked, UnpackError> {
        let (entries, bytes) = (self.tree.things, self.tree.size);
        self.tree.finish()?;
        Ok(Unpacked { entries, bytes, ..self.done })
    }
}

fn dress(head: &Head, bits: u32) -> Result<Dress, UnpackError> {
    let id = |id: u64| match u32::try_from(id) {
        Ok(narrow) if id <= ID_MAX => Ok(narrow),
        _ => Err(broken_at(Rule::Owner, &head.path)),
    };
    Ok(Dress { mode: head.mode & bits, uid: id(head.uid)?, gid: id(head.gid)?, modified: head.modified })
}

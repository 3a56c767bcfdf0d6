//! Makes an image: carries a plan out, finishes the tree, names it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};
use serde::{Deserialize, Serialize};
use shipway_model::Digest;
use shipway_stdx::fs::{Durability, write_atomic};

use super::closure::{Closure, close};
use super::dpkg::{alternatives, diversions::Diversions, lock, status::Packages};
use super::fingerprint::{FORMAT, Fingerprint};
use super::plan::{Item, Plan, plan, refuse_mode};
use super::scope::{LeftOut, LeftOutCounts};
use super::{HostImageConfig, HostImageError, Progress, ProgressSink, Step, tools};
use crate::layers::manifest::{Kind, Manifest, TreeError, open_root, parallel};
use crate::layers::{Draft, Shelf, ShelfLock, TreeLimits, create_file, fill_from};

/// Larger than any sensible set of interpreters; a bound on what one bug can copy.
const LIMITS: TreeLimits = TreeLimits { entries_max: 400_000, bytes_max: 16 << 30, depth_max: 64 };

/// What an image was made of; stands beside its tree as `packages.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Version of what makes images.
    pub format: u32,
    /// Name and version of every package, by name.
    pub packages: BTreeMap<String, String>,
    /// Packages asked for that the host does not have.
    pub absent: Vec<String>,
    /// How many of the packages' paths were left out, and why.
    pub left_out: LeftOutCounts,
}

/// Makes the image of the host as `wanted` saw it, and returns its name.
pub(super) fn build(
    shelf: &Shelf,
    shelf_lock: &ShelfLock,
    config: &HostImageConfig,
    wanted: &Fingerprint,
    config_digest: &Digest,
    progress: &ProgressSink,
) -> Result<Digest, HostImageError> {
    let root = &config.host_root;
    let check_unchanged = || unchanged(root, wanted, config_digest);
    progress(Progress::new(Step::Planning, 0, 0));
    let installed = Packages::read(root)?;
    let closure = close(&installed, &config.packages)?;
    let mut plan = plan(root, &closure, &Diversions::read(root)?, &alternatives::read_all(root)?)?;
    check_unchanged()?;
    let draft = shelf.draft(shelf_lock).map_err(HostImageError::io("make a directory in", shelf.dir()))?;
    let digest = make(&draft, &mut plan, progress)
        // A copy that failed because dpkg was replacing files says so.
        .map_err(|error| check_unchanged().err().unwrap_or(error))?;
    write_contents(&draft, &closure, &plan)?;
    check_unchanged()?;
    progress(Progress::new(Step::Saving, 0, 0));
    shelf.finish(shelf_lock, &draft, &digest).map_err(HostImageError::io("finish an image in", shelf.dir()))?;
    Ok(digest)
}

/// An image made while packages change is a mixture that never ran anywhere.
fn unchanged(root: &Path, wanted: &Fingerprint, config: &Digest) -> Result<(), HostImageError> {
    if lock::is_busy(root) {
        return Err(HostImageError::PackagesBusy);
    }
    if Fingerprint::read(root, config) != *wanted {
        return Err(HostImageError::Changing(root.join("var/lib/dpkg/status")));
    }
    Ok(())
}

/// Fills the draft's tree and writes its manifest.
fn make(draft: &Draft, plan: &mut Plan, progress: &ProgressSink) -> Result<Digest, HostImageError> {
    let tree = draft.tree();
    let root = open_root(&tree).map_err(HostImageError::Tree)?;
    make_folders(&root, plan)?;
    copy_files(&root, plan, progress)?;
    make_symlinks(&root, plan)?;
    progress(Progress::new(Step::Compiling, 0, 0));
    tools::write_linker_cache(&tree)?;
    tools::compile_python(&tree)?;
    progress(Progress::new(Step::Naming, 0, 0));
    let manifest = Manifest::scan(&tree, LIMITS).map_err(HostImageError::Tree)?;
    check(&manifest)?;
    let path = draft.dir().join("manifest");
    write_atomic(&path, &manifest.to_bytes(), 0o600, Durability::Process)
        .map_err(HostImageError::io("write", &path))?;
    Ok(manifest.digest())
}

/// Sorted, so a directory comes before what is in it.
fn make_folders(root: &OwnedFd, plan: &Plan) -> Result<(), HostImageError> {
    for (path, item) in &plan.items {
        let Item::Folder { mode } = item else {
            continue;
        };
        let (parent, name) = parent_of(root, path)?;
        rustix::fs::mkdirat(&parent, name, Mode::RWXU)
            .and_then(|()| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, name, flags, Mode::empty())
            })
            // Apart from the umask, which belongs to whoever started this process.
            .and_then(|made| rustix::fs::fchmod(made, Mode::from_raw_mode(*mode)))
            .map_err(|error| HostImageError::io("make", path)(error.into()))?;
    }
    Ok(())
}

fn make_symlinks(root: &OwnedFd, plan: &Plan) -> Result<(), HostImageError> {
    for (path, item) in &plan.items {
        let Item::Symlink { target } = item else {
            continue;
        };
        let (parent, name) = parent_of(root, path)?;
        rustix::fs::symlinkat(target, &parent, name).map_err(|error| HostImageError::io("make", path)(error.into()))?;
    }
    Ok(())
}

fn parent_of<'a>(root: &OwnedFd, path: &'a Path) -> Result<(OwnedFd, &'a Path), HostImageError> {
    let parent = path.parent().unwrap_or_else(|| Path::new(""));
    let folder = crate::layers::open_folder(root, parent);
    let folder = folder.map_err(HostImageError::io("open", parent))?;
    // The plan's paths come from the resolver, which gives every one a last part.
    Ok((folder, path.file_name().map_or_else(|| Path::new("."), Path::new)))
}

/// Copies on every core; what turns out to be unfit is left out and counted.
fn copy_files(root: &OwnedFd, plan: &mut Plan, progress: &ProgressSink) -> Result<(), HostImageError> {
    let files: Vec<(&PathBuf, &Item)> =
        plan.items.iter().filter(|(_, item)| matches!(item, Item::Copy { .. } | Item::Inline { .. })).collect();
    let (total, done) = (files.len() as u64, AtomicU64::new(0));
    let outcomes = parallel(files.len(), |at| {
        let (path, item) = files[at];
        let outcome = match item {
            Item::Copy { source } => copy_file(root, path, source)?,
            Item::Inline { bytes } => write_inline(root, path, bytes)?,
            Item::Folder { .. } | Item::Symlink { .. } => None,
        };
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done % PROGRESS_EVERY == 0 || done == total {
            progress(Progress::new(Step::Copying, done, total));
        }
        Ok(outcome)
    })?;
    for why in outcomes.into_iter().flatten() {
        *plan.left_out.entry(why).or_default() += 1;
    }
    Ok(())
}

/// Often enough for a progress bar, seldom enough not to be felt.
const PROGRESS_EVERY: u64 = 64;

/// Copies one file, or says why it may not be in an image. What it is is asked of
/// the open file: the name may have got another one since the plan was made.
fn copy_file(root: &OwnedFd, path: &Path, source: &Path) -> Result<Option<LeftOut>, HostImageError> {
    let read = HostImageError::io("read", source);
    let (mut from, found) = match open_source(source) {
        Ok(opened) => opened,
        Err(error) => return Err(read(error)),
    };
    if !found.is_file() {
        return Ok(Some(LeftOut::Special));
    }
    if let Some(why) = refuse_mode(found.mode()) {
        return Ok(Some(why));
    }
    if has_capabilities(&from) {
        return Ok(Some(LeftOut::Capability));
    }
    let mode = if found.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
    let mut copy = || {
        let mut to = create_file(root, path, mode)?;
        fill_from(&mut to, &mut from, found.len())?;
        let modified = Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() };
        let times = Timestamps { last_access: modified, last_modification: modified };
        rustix::fs::futimens(&to, &times)?;
        Ok(())
    };
    copy().map_err(HostImageError::io("copy", source))?;
    Ok(None)
}

fn open_source(source: &Path) -> std::io::Result<(File, std::fs::Metadata)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    let options = options.read(true).custom_flags(flags.bits().cast_signed());
    // The CA bundle may be a symlink; nothing else that is copied is.
    let is_bundle = source.ends_with(super::skeleton::CA_BUNDLE);
    let file = match is_bundle {
        true => File::open(source)?,
        false => options.open(source)?,
    };
    let found = file.metadata()?;
    Ok((file, found))
}

fn has_capabilities(file: &File) -> bool {
    let mut value = [0_u8; 64];
    match rustix::fs::fgetxattr(file, c"security.capability", &mut value) {
        Ok(_) | Err(rustix::io::Errno::RANGE) => true,
        Err(_) => false,
    }
}

fn write_inline(root: &OwnedFd, path: &Path, bytes: &[u8]) -> Result<Option<LeftOut>, HostImageError> {
    create_file(root, path, 0o644)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
        .map_err(HostImageError::io("write", path))?;
    Ok(None)
}

/// The last look before a tree gets its name: nothing in it may grant anything.
fn check(manifest: &Manifest) -> Result<(), HostImageError> {
    for entry in manifest.entries() {
        let (path, mode) = (entry.path.clone(), entry.mode);
        let is_bad = match entry.kind {
            Kind::Directory if mode & 0o1000 != 0 => mode & 0o6000 != 0,
            Kind::Directory | Kind::File { .. } => mode & 0o7022 != 0,
            Kind::Symlink { .. } => false,
        };
        if is_bad {
            return Err(HostImageError::Tree(TreeError::Mode { path, mode }));
        }
        let (uid, gid) = (entry.uid, entry.gid);
        if uid != 0 || gid != 0 {
            return Err(HostImageError::Tree(TreeError::Owner { path, uid, gid }));
        }
    }
    Ok(())
}

fn write_contents(draft: &Draft, closure: &Closure<'_>, plan: &Plan) -> Result<(), HostImageError> {
    let packages = closure.packages.iter();
    let contents = Contents {
        format: FORMAT,
        packages: packages.map(|(name, package)| ((*name).to_owned(), package.version.clone())).collect(),
        absent: closure.absent.clone(),
        left_out: plan.left_out.clone(),
    };
    let path = draft.dir().join("packages.json");
    serde_json::to_vec_pretty(&contents)
        .map_err(std::io::Error::other)
        .and_then(|json| write_atomic(&path, &json, 0o600, Durability::Process))
        .map_err(HostImageError::io("write", &path))
}

//! Decides what an image holds; changes nothing.
//!
//! From the packages' lists to one sorted map of path → what belongs there. The
//! host is only looked at. Whoever carries the plan out has no choices left.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::HostImageError;
use super::closure::Closure;
use super::dpkg::alternatives::{Alternative, Choice};
use super::dpkg::diversions::Diversions;
use super::dpkg::{self, status::Package};
use super::host_paths::{HostPaths, RealPath};
use super::scope::{self, LeftOut, LeftOutCounts};
use super::skeleton;

/// What belongs at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A directory of this mode.
    Folder { mode: u32 },
    /// A copy of a file of the host's.
    Copy { source: PathBuf },
    /// A symlink.
    Symlink { target: PathBuf },
    /// A file of these bytes.
    Inline { bytes: Vec<u8> },
}

/// Everything an image holds, by path from its root.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) items: BTreeMap<PathBuf, Item>,
    pub(super) left_out: LeftOutCounts,
}

/// Plans the image of `closure` on the host at `host_root`.
pub(super) fn plan(
    host_root: &Path,
    closure: &Closure<'_>,
    diversions: &Diversions,
    alternatives: &[Alternative],
) -> Result<Plan, HostImageError> {
    let mut planning = Planning { host: HostPaths::new(host_root), plan: Plan::default() };
    for package in closure.packages.values() {
        planning.package(host_root, package, closure, diversions)?;
    }
    planning.symlinks_on_the_way();
    for alternative in alternatives {
        planning.alternative(alternative);
    }
    skeleton::add_to(&mut planning.plan, host_root);
    planning.plan.add_parents();
    Ok(planning.plan)
}

impl Plan {
    /// Adds an item unless the path is taken.
    pub(super) fn add(&mut self, path: impl Into<PathBuf>, item: Item) {
        self.items.entry(path.into()).or_insert(item);
    }

    fn leave_out(&mut self, why: LeftOut) {
        *self.left_out.entry(why).or_default() += 1;
    }

    /// Every item's directories; dpkg's lists have most of them, not all.
    fn add_parents(&mut self) {
        let parents: Vec<PathBuf> = self
            .items
            .keys()
            .flat_map(|path| path.ancestors().skip(1))
            .filter(|path| !path.as_os_str().is_empty())
            .map(Path::to_owned)
            .collect();
        for path in parents {
            self.add(path, Item::Folder { mode: 0o755 });
        }
    }
}

struct Planning<'a> {
    host: HostPaths<'a>,
    plan: Plan,
}

impl Planning<'_> {
    fn package(
        &mut self,
        host_root: &Path,
        package: &Package,
        closure: &Closure<'_>,
        diversions: &Diversions,
    ) -> Result<(), HostImageError> {
        let is_in_image = |name: &str| closure.packages.contains_key(name);
        for path in dpkg::list_files(host_root, package)? {
            let place = diversions.place(&package.name, &path, is_in_image);
            if let Err(why) = self.entry(&place.on_host, &place.in_image) {
                self.plan.leave_out(why);
            }
        }
        Ok(())
    }

    /// Adds one path of a package, or says why not.
    fn entry(&mut self, on_host: &Path, in_image: &Path) -> Result<(), LeftOut> {
        // By its name first: half of all paths are manuals, and need no look at the disk.
        let name = in_image.strip_prefix("/").unwrap_or(in_image);
        scope::judge(name).map_or(Ok(()), Err)?;
        let source = self.host.resolve(on_host).ok_or(LeftOut::Absent)?;
        let target = self.host.resolve(in_image).ok_or(LeftOut::Absent)?;
        scope::judge(&target.path).map_or(Ok(()), Err)?;
        if source.path.starts_with("usr/local") {
            return Err(LeftOut::Local);
        }
        let item = self.look(&source)?;
        self.plan.add(target.path, item);
        Ok(())
    }

    /// What is on the host at this path, if it may be in an image.
    fn look(&self, source: &RealPath) -> Result<Item, LeftOut> {
        if !source.is_open {
            return Err(LeftOut::NotWorldReadable);
        }
        let on_disk = self.host.on_disk(&source.path);
        let found = std::fs::symlink_metadata(&on_disk).map_err(|_| LeftOut::Absent)?;
        let kind = found.file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(&on_disk).map_err(|_| LeftOut::Absent)?;
            return Ok(Item::Symlink { target });
        }
        if kind.is_dir() {
            return match found.mode() & 0o005 {
                0o005 => Ok(Item::Folder { mode: 0o755 }),
                _ => Err(LeftOut::NotWorldReadable),
            };
        }
        if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket() {
            return Err(LeftOut::Special);
        }
        match refuse_mode(found.mode()) {
            Some(why) => Err(why),
            None => Ok(Item::Copy { source: on_disk }),
        }
    }

    /// `/bin` → `usr/bin` and whatever else stood between a path and its file.
    fn symlinks_on_the_way(&mut self) {
        for (path, target) in std::mem::take(&mut self.host.symlinks) {
            if scope::judge(&path).is_none() {
                self.plan.add(path, Item::Symlink { target });
            }
        }
    }

    /// Makes an alternative if something that can stand behind it is in the image:
    /// the host's own choice if it is, else the one of the highest priority.
    fn alternative(&mut self, alternative: &Alternative) {
        let Some(name) = alternative.links.first() else {
            return;
        };
        let chosen = self.host.on_disk(&Path::new("etc/alternatives").join(&name.name));
        let chosen = std::fs::read_link(chosen).ok();
        let choices: Vec<&Choice> =
            alternative.choices.iter().filter(|choice| self.has(choice.targets.first())).collect();
        let is_chosen = |choice: &&&Choice| choice.targets.first() == Some(&chosen);
        let best = choices.iter().find(is_chosen);
        // Reversed, because of equals max_by_key takes the last and dpkg the first.
        let best = best.or_else(|| choices.iter().rev().max_by_key(|choice| choice.priority));
        for (link, target) in alternative.links.iter().zip(best.iter().flat_map(|best| &best.targets)) {
            if !self.has(Some(target)) {
                continue;
            }
            let (Some(target), Some(path)) = (target, self.host.resolve(&link.path)) else {
                continue;
            };
            if scope::judge(&path.path).is_some() {
                continue;
            }
            let named = Path::new("/etc/alternatives").join(&link.name);
            let slot = PathBuf::from("etc/alternatives").join(&link.name);
            self.plan.add(slot, Item::Symlink { target: target.clone() });
            self.plan.add(path.path, Item::Symlink { target: named });
        }
    }

    fn has(&mut self, target: Option<&Option<PathBuf>>) -> bool {
        let real = target.and_then(Option::as_ref).and_then(|target| self.host.resolve(target));
        real.is_some_and(|real| self.plan.items.contains_key(&real.path))
    }
}

/// Whether a regular file of this mode is refused, and why.
pub(super) fn refuse_mode(mode: u32) -> Option<LeftOut> {
    if mode & 0o6000 != 0 {
        return Some(LeftOut::SetId);
    }
    (mode & 0o004 == 0).then_some(LeftOut::NotWorldReadable)
}

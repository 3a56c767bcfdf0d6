//! Ranges of host user ids, one for each container that runs.
//!
//! A container's users 0..65535 are the host's `base..base + 65535`, and no two
//! containers of this machine share a range: a process that gets out of one sandbox
//! is still a stranger to every other. Because several engine roots can live on one
//! machine, the slots are handed out by files in a directory they all know
//! (`/run/shipway/slots`), one file per slot in use: its owner's instance, engine
//! root, boot and container.
//!
//! # Invariants
//!
//! * A slot is given back only by the instance that took it, once nothing of the
//!   container runs any more.
//! * A slot of a dead engine root (its directory is gone, or belongs to another
//!   instance by now) is taken over only when no process runs under its ids.
//! * Everything below happens under one lock, `.lock` beside the files.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use shipway_stdx::fs::remove_if_there;

use crate::EngineError;
use crate::error::Doing;

/// The first host id of slot 0. Above what distributions give to users and to
/// `/etc/subuid`, and the last slot still ends below 2^31.
pub const FIRST_ID: u32 = 0x7000_0000;
/// Ids in a slot.
pub const SLOT_IDS: u32 = 65_536;
/// Slots of a machine.
pub const SLOTS: u32 = 4096;

/// One range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl Slot {
    /// Which of the machine's slots it is.
    pub(crate) fn number(self) -> u16 {
        u16::try_from(self.0).expect("there are fewer slots than 65,536")
    }

    /// The first host id.
    pub(crate) const fn base(self) -> u32 {
        FIRST_ID + self.0 * SLOT_IDS
    }

    /// The slot that begins with this host id.
    pub(crate) fn of_base(base: u32) -> Option<Self> {
        let offset = base.checked_sub(FIRST_ID)?;
        let slot = offset / SLOT_IDS;
        (offset % SLOT_IDS == 0 && slot < SLOTS).then_some(Self(slot))
    }
}

/// What a slot's file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    instance: String,
    root: PathBuf,
    boot: String,
    container: String,
}

/// The slots of this machine, as one engine root sees them.
#[derive(Debug)]
pub(crate) struct Slots {
    folder: PathBuf,
    instance: String,
    root: PathBuf,
    boot: String,
    /// Where to look next: a slot just given back is the last to be taken again.
    next: AtomicU32,
}

impl Slots {
    /// Opens the directory, or makes it.
    pub(crate) fn open(folder: &Path, instance: &str, root: &Path, boot: &str) -> Result<Self, EngineError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.on("make", folder)?;
        let found = fs::symlink_metadata(folder).on("look at", folder)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(EngineError::Invalid(format!("{} is not a directory of our own", folder.display())));
        }
        Ok(Self {
            folder: folder.to_owned(),
            instance: instance.to_owned(),
            root: root.to_owned(),
            boot: boot.to_owned(),
            next: AtomicU32::new(std::process::id() % SLOTS),
        })
    }

    /// Takes a free slot for a container.
    pub(crate) fn take(&self, container: &str) -> Result<Slot, EngineError> {
        let _lock = self.lock()?;
        let first = self.next.load(Ordering::Relaxed);
        for slot in (0..SLOTS).map(|n| Slot((first + n) % SLOTS)) {
            if self.claim(slot, container)? {
                self.next.store((slot.0 + 1) % SLOTS, Ordering::Relaxed);
                return Ok(slot);
            }
        }
        // All are taken: see whose owners are dead. Rare, so it may be slow.
        let used = ids_in_use();
        for slot in (0..SLOTS).map(Slot) {
            if self.is_abandoned(slot, &used) {
                self.unlink(slot)?;
                if self.claim(slot, container)? {
                    return Ok(slot);
                }
            }
        }
        Err(EngineError::Full(format!("all {SLOTS} ranges of user ids are in use")))
    }

    /// Takes this very slot for a container, unless another has it by now.
    pub(crate) fn take_again(&self, slot: Slot, container: &str) -> Result<bool, EngineError> {
        let _lock = self.lock()?;
        if self.owner(slot).as_ref() == Some(&self.owner_of(container)) {
            return Ok(true);
        }
        if self.is_abandoned(slot, &ids_in_use()) {
            self.unlink(slot)?;
        }
        self.claim(slot, container)
    }

    /// Gives a slot back, if this container has it.
    pub(crate) fn give_back(&self, slot: Slot, container: &str) -> Result<(), EngineError> {
        let _lock = self.lock()?;
        match self.owner(slot) {
            Some(owner) if owner == self.owner_of(container) => self.unlink(slot),
            _ => Ok(()),
        }
    }

    /// Gives back every slot of this instance whose container is not in `keep`.
    pub(crate) fn give_back_all_but(&self, keep: &BTreeSet<String>) -> Result<(), EngineError> {
        let _lock = self.lock()?;
        for slot in self.taken()? {
            let ours = self.owner(slot).is_some_and(|o| o.instance == self.instance && !keep.contains(&o.container));
            if ours {
                self.unlink(slot)?;
            }
        }
        Ok(())
    }

    /// Lists the containers of this instance that have a slot.
    #[cfg(test)]
    fn ours(&self) -> Vec<String> {
        let owners = self.taken().unwrap().into_iter();
        owners
            .filter_map(|slot| self.owner(slot))
            .filter(|owner| owner.instance == self.instance)
            .map(|owner| owner.container)
            .collect()
    }

    fn taken(&self) -> Result<Vec<Slot>, EngineError> {
        let entries = fs::read_dir(&self.folder).on("list", &self.folder)?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|number| *number < SLOTS)
            .map(Slot)
            .collect())
    }

    fn owner_of(&self, container: &str) -> Owner {
        Owner {
            instance: self.instance.clone(),
            root: self.root.clone(),
            boot: self.boot.clone(),
            container: container.to_owned(),
        }
    }

    /// Makes the slot's file; false when there is one.
    fn claim(&self, slot: Slot, container: &str) -> Result<bool, EngineError> {
        let path = self.path(slot);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = match made {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error).on("make", &path),
        };
        let text = serde_json::to_vec(&self.owner_of(container)).expect("plain texts are JSON");
        file.write_all(&text).on("write", &path)?;
        Ok(true)
    }

    fn owner(&self, slot: Slot) -> Option<Owner> {
        let text = fs::read(self.path(slot)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether nobody will ever give this slot back.
    fn is_abandoned(&self, slot: Slot, used: &BTreeSet<u32>) -> bool {
        if used.contains(&slot.0) {
            return false;
        }
        match self.owner(slot) {
            // Of an earlier boot, where `/run` survived it: nothing of it runs.
            Some(owner) if owner.boot != self.boot => true,
            // Our own are given back by their containers.
            Some(owner) if owner.instance == self.instance => false,
            Some(owner) => crate::home::instance_of(&owner.root).is_none_or(|now| now != owner.instance),
            // A file that was made but never written: its maker was killed in
            // between, under the lock we hold now.
            None => true,
        }
    }

    fn unlink(&self, slot: Slot) -> Result<(), EngineError> {
        let path = self.path(slot);
        remove_if_there(&path).map(drop).on("remove", &path)
    }

    fn path(&self, slot: Slot) -> PathBuf {
        self.folder.join(slot.0.to_string())
    }

    /// Held until the returned file is dropped.
    fn lock(&self) -> Result<File, EngineError> {
        let path = self.folder.join(".lock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).on("open", &path)?;
        flock(&file, FlockOperation::LockExclusive).on("lock", &path)?;
        Ok(file)
    }
}

/// The slots that any process of this machine runs under.
fn ids_in_use() -> BTreeSet<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        // Then nothing can be proven to be free.
        return (0..SLOTS).collect();
    };
    entries
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter_map(|process| process.uid().checked_sub(FIRST_ID))
        .map(|offset| offset / SLOT_IDS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(folder: &Path, instance: &str, root: &Path) -> Slots {
        Slots::open(folder, instance, root, "boot").unwrap()
    }

    /// An engine root with this instance id.
    fn root(folder: &Path, name: &str) -> PathBuf {
        let root = folder.join(name);
        fs::create_dir(&root).unwrap();
        crate::home::write_instance(&root, name).unwrap();
        root
    }

    #[test]
    fn ranges_do_not_meet_and_stay_below_two_to_the_31() {
        assert_eq!(Slot(0).base() % SLOT_IDS, 0);
        assert_eq!(Slot(1).base(), Slot(0).base() + SLOT_IDS);
        assert!(Slot(SLOTS - 1).base().checked_add(SLOT_IDS - 1).unwrap() < 1 << 31);
        assert_eq!(Slot::of_base(Slot(77).base()), Some(Slot(77)));
        assert_eq!(Slot::of_base(Slot(77).base() + 1), None);
        assert_eq!(Slot::of_base(0), None);
    }

    #[test]
    fn two_engine_roots_never_share_a_slot() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (root(folder.path(), "a"), root(folder.path(), "b"));
        let shared = folder.path().join("slots");
        let (a, b) = (slots(&shared, "a", &a), slots(&shared, "b", &b));
        let taken: BTreeSet<Slot> =
            (0..20).flat_map(|n| [a.take(&n.to_string()).unwrap(), b.take("x").unwrap()]).collect();
        assert_eq!(taken.len(), 40);
        b.give_back(*taken.first().unwrap(), "0").unwrap();
        assert_eq!((a.ours().len(), b.ours().len()), (20, 20), "not b's to give");
        a.give_back_all_but(&BTreeSet::from(["3".to_owned()])).unwrap();
        assert_eq!((a.ours(), b.ours().len()), (vec!["3".to_owned()], 20));
    }

    #[test]
    fn a_full_machine_says_so_and_takes_over_only_from_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let (a_root, b_root) = (root(folder.path(), "a"), root(folder.path(), "b"));
        let shared = folder.path().join("slots");
        let (a, b) = (slots(&shared, "a", &a_root), slots(&shared, "b", &b_root));
        for _ in 0..SLOTS {
            b.take("theirs").unwrap();
        }
        let full = a.take("mine").unwrap_err().to_string();
        assert!(full.contains("all 4096 ranges"), "{full}");
        fs::remove_dir_all(&b_root).unwrap();
        let slot = a.take("mine").unwrap();
        assert_eq!(a.ours(), ["mine"]);
        assert!(a.take_again(slot, "mine").unwrap(), "it is ours");
        assert!(!a.take_again(slot, "another").unwrap());
    }

    #[test]
    fn a_slot_of_an_earlier_boot_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let own = root(folder.path(), "a");
        let before = Slots::open(folder.path(), "a", &own, "monday").unwrap();
        let slot = before.take("c").unwrap();
        let after = Slots::open(folder.path(), "a", &own, "tuesday").unwrap();
        assert!(after.take_again(slot, "other").unwrap());
    }
}

//! Letting packets through the host, on the links concerned only, and undoing it.
//!
//! For IPv4 each link says whether what comes in by it may be passed on. For IPv6 only
//! Linux 6.17 and newer have that (`force_forwarding`); before, the host as a whole is
//! made a router, which would have it stop listening to router advertisements, so links
//! that listen are told to go on (`accept_ra` 2) first. What a setting was before is
//! written to a file before it is changed; a reboot makes the file void.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use shipway_stdx::fs::{Durability, remove_if_there, write_atomic};

/// Where settings of the network are; always the calling thread's namespace.
const SETTINGS: &str = "/proc/sys/net";
const EVERYTHING_V6: &str = "ipv6/conf/all/forwarding";

/// The settings changed, as a file.
#[derive(Debug)]
pub(crate) struct Forwarding {
    file: PathBuf,
    way: Way,
}

/// How IPv6 is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Link by link.
    Links,
    /// The host as a whole.
    Host,
}

/// What the file holds.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Memory {
    /// Of which boot of the machine this speaks.
    boot: String,
    /// In the order of the changes.
    changes: Vec<Change>,
    /// Links that were IPv6 routers before the host became one.
    routers: Vec<String>,
    /// Links that were none, and are because of us.
    opened: Vec<String>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Change {
    setting: String,
    was: String,
    is: String,
}

/// The links that pass packets on because of us, by family.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) v4: Vec<String>,
    pub(crate) v6: Vec<String>,
}

impl Forwarding {
    /// Remembers in `file`.
    pub(crate) fn new(file: &Path) -> Self {
        let by_link = at("ipv6/conf/default/force_forwarding").exists();
        Self::with_way(file, if by_link { Way::Links } else { Way::Host })
    }

    /// The same, with the way given.
    pub(crate) fn with_way(file: &Path, way: Way) -> Self {
        Self { file: file.to_owned(), way }
    }

    /// Whether the host does IPv6 on links made from now on.
    pub(crate) fn has_v6() -> bool {
        ["all", "default"]
            .iter()
            .all(|link| read(&format!("ipv6/conf/{link}/disable_ipv6")).is_ok_and(|off| off == "0"))
    }

    /// Prepares our end of a container's link: it passes packets on, and believes
    /// nothing that is told about routes there. It vanishes with the link.
    pub(crate) fn prepare(&self, link: &str, v6: bool) -> io::Result<()> {
        write(&format!("ipv4/conf/{link}/forwarding"), "1")?;
        write(&format!("ipv4/conf/{link}/accept_redirects"), "0")?;
        if v6 {
            for (setting, value) in [("accept_ra", "0"), ("autoconf", "0"), ("accept_redirects", "0")] {
                write(&format!("ipv6/conf/{link}/{setting}"), value)?;
            }
            if self.way == Way::Links {
                write(&format!("ipv6/conf/{link}/force_forwarding"), "1")?;
            }
        }
        Ok(())
    }

    /// Lets answers in by these links of the host.
    pub(crate) fn open(&self, v4: &BTreeSet<String>, v6: &BTreeSet<String>) -> io::Result<()> {
        let mut memory = self.load()?;
        for link in v4 {
            self.set(&mut memory, &format!("ipv4/conf/{link}/forwarding"), "1")?;
        }
        match self.way {
            Way::Links => {
                for link in v6 {
                    self.set(&mut memory, &format!("ipv6/conf/{link}/force_forwarding"), "1")?;
                }
            }
            Way::Host if v6.is_empty() => {}
            Way::Host => self.open_host(&mut memory)?,
        }
        Ok(())
    }

    fn open_host(&self, memory: &mut Memory) -> io::Result<()> {
        if read(EVERYTHING_V6)? == "1" {
            return Ok(());
        }
        for link in links()? {
            let listens = read(&format!("ipv6/conf/{link}/accept_ra")).is_ok_and(|value| value == "1");
            if listens {
                self.set(memory, &format!("ipv6/conf/{link}/accept_ra"), "2")?;
            }
            let routes = read(&format!("ipv6/conf/{link}/forwarding")).is_ok_and(|value| value == "1");
            let list = if routes { &mut memory.routers } else { &mut memory.opened };
            if !list.contains(&link) {
                list.push(link);
            }
        }
        self.set(memory, EVERYTHING_V6, "1")
    }

    /// The links that would not pass packets on but for us. None when the host has
    /// since been made a router by somebody else.
    pub(crate) fn opened(&self) -> io::Result<Opened> {
        let memory = self.load()?;
        let links = |before: &str, after: &str| -> Vec<String> {
            let names = memory.changes.iter().filter(|change| change.is == "1");
            names
                .filter_map(|change| Some(change.setting.strip_prefix(before)?.strip_suffix(after)?.to_owned()))
                .collect()
        };
        let mut opened = Opened::default();
        if read("ipv4/conf/all/forwarding")? == "0" {
            opened.v4 = links("ipv4/conf/", "/forwarding");
        }
        match self.way {
            Way::Host => opened.v6 = memory.opened.clone(),
            Way::Links if read(EVERYTHING_V6).is_ok_and(|all| all == "0") => {
                opened.v6 = links("ipv6/conf/", "/force_forwarding");
            }
            Way::Links => {}
        }
        Ok(opened)
    }

    /// Makes every setting what it was, where it still is what we made it.
    pub(crate) fn undo(&self) -> io::Result<()> {
        let memory = self.load()?;
        for change in memory.changes.iter().rev() {
            if read(&change.setting).is_ok_and(|now| now == change.is) {
                write(&change.setting, &change.was)?;
            }
            if change.setting == EVERYTHING_V6 {
                for link in &memory.routers {
                    // Links come and go; one that is gone needs nothing.
                    drop(write(&format!("ipv6/conf/{link}/forwarding"), "1"));
                }
            }
        }
        remove_if_there(&self.file).map(drop)
    }

    fn set(&self, memory: &mut Memory, setting: &str, value: &str) -> io::Result<()> {
        let was = match read(setting) {
            // The link went away while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if was == value {
            return Ok(());
        }
        if !memory.changes.iter().any(|change| change.setting == setting) {
            memory.changes.push(Change { setting: setting.to_owned(), was, is: value.to_owned() });
        }
        let text = serde_json::to_vec_pretty(memory).map_err(io::Error::other)?;
        write_atomic(&self.file, &text, 0o600, Durability::Process)?;
        write(setting, value)
    }

    fn load(&self) -> io::Result<Memory> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let memory: Memory = match std::fs::read(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::default(),
            other => serde_json::from_slice(&other?).map_err(io::Error::other)?,
        };
        Ok(if memory.boot == boot { memory } else { Memory { boot, ..Memory::default() } })
    }
}

fn links() -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(at("ipv6/conf"))?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name != "all" && name != "default" && name != "lo").collect())
}

fn at(setting: &str) -> PathBuf {
    Path::new(SETTINGS).join(setting)
}

fn read(setting: &str) -> io::Result<String> {
    Ok(std::fs::read_to_string(at(setting))?.trim().to_owned())
}

#[expect(clippy::disallowed_methods, reason = "a setting of the kernel is no file that could be half written")]
fn write(setting: &str, value: &str) -> io::Result<()> {
    std::fs::write(at(setting), value)
}

#[cfg(test)]
mod tests;

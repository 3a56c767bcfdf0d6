//! What was ever started and removed in a world, one line each, appended by one write.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use shipway_model::ContainerId;

use super::Paper;

/// Something that happened in a world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// To which container.
    pub container: ContainerId,
    /// Started, or else removed.
    pub started: bool,
    /// The request whose deploy made its release.
    pub nonce: String,
    /// The process that did it.
    pub pid: u32,
}

impl Entry {
    pub(super) fn started(paper: &Paper) -> Self {
        Self { container: paper.container, started: true, nonce: paper.nonce.clone(), pid: std::process::id() }
    }

    pub(super) fn removed(paper: &Paper) -> Self {
        Self { started: false, ..Self::started(paper) }
    }
}

pub(super) fn write(folder: &Path, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    let mut file = fs::File::options().append(true).create(true).open(folder.join("diary"))?;
    file.write_all(&line)
}

/// A process that was killed inside a write of that size has written all of it or nothing.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Entry>> {
    let text = match fs::read_to_string(folder.join("diary")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

//! What of an upload has arrived, kept beside the local file, so that another process can go on.
//!
//! One line of JSON for the upload, then one for each part that has arrived, in no order; a
//! last line that was cut off is passed over. It is a help, not a truth: what it says is tried, and when the
//! server knows nothing of it the upload begins anew. So it is not synced, one that
//! cannot be written is done without, and one that is lost costs what had arrived: those parts are
//! swept later.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shipway_stdx::fs::remove_if_there;

/// Most bytes of a journal that are read: room for ten thousand parts.
const BYTES_MAX: u64 = 4 << 20;
const VERSION: u32 = 1;
/// How often an upload is gone on with before it is begun anew. Fewer would waste what is up when a server is away
/// for long; more would keep one alive that cannot come to an end.
const WENT_ON_MAX: u32 = 3;

/// Which upload is meant; a journal of another one is not gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
    pub(super) bucket_url: String,
    pub(super) key: String,
    pub(super) size_bytes: u64,
    pub(super) part_bytes: u64,
    pub(super) upload: String,
}

impl Head {
    pub(super) fn new(bucket_url: &str, key: &str, size_bytes: u64, part_bytes: u64) -> Self {
        let (bucket_url, key) = (bucket_url.to_owned(), key.to_owned());
        Self { version: VERSION, bucket_url, key, size_bytes, part_bytes, upload: String::new() }
    }
}

/// What follows the head.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A part has arrived.
    Part { part: usize, id: String },
    /// Somebody went on with it.
    WentOn,
}

/// The journal of one local file, locked while it is open.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// What was begun, if anything.
    pub(super) head: Head,
    /// Which parts have arrived, and what the server calls them.
    pub(super) parts: BTreeMap<usize, String>,
    /// How often somebody went on with it, this time included.
    went_on: u32,
}

/// Where the journal of a local file is.
fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".upload");
    name.into()
}

/// Removes the journal of a file that is up.
pub(super) fn forget(file: &Path) {
    drop(remove_if_there(&beside(file)));
}

impl Journal {
    /// Opens the journal of a local file, and reads it if it is of the upload that is meant.
    pub(super) fn open(file: &Path, wanted: Head) -> Self {
        let path = beside(file);
        let mut journal = Self { file: lock(&path), path, head: wanted, parts: BTreeMap::new(), went_on: 0 };
        let Some(file) = &mut journal.file else { return journal };
        let mut text = Vec::new();
        if let Err(error) = file.take(BYTES_MAX).read_to_end(&mut text) {
            tracing::debug!(%error, "the journal of an upload cannot be read");
        }
        journal.take_over(&String::from_utf8_lossy(&text));
        journal
    }

    fn take_over(&mut self, text: &str) {
        let mut lines = text.lines();
        let head = lines.next().and_then(|line| serde_json::from_str::<Head>(line).ok());
        let Some(head) = head else { return };
        if head.upload.is_empty() || (Head { upload: String::new(), ..head.clone() }) != self.head {
            return;
        }
        self.head = head;
        for line in lines {
            match serde_json::from_str(line) {
                Ok(Line::Part { part, id }) => drop(self.parts.insert(part, id)),
                Ok(Line::WentOn) => self.went_on += 1,
                // One that was cut off.
                Err(_) => {}
            }
        }
        self.went_on += 1;
        if !text.ends_with('\n')
            && let Some(Err(error)) = self.file.as_ref().map(|mut file| file.write_all(b"\n"))
        {
            self.give_up(&error);
        }
        self.write(&Line::WentOn);
    }

    /// Whether so many have gone on with it in vain that it is rather begun anew: not every server says
    /// that it has forgotten an upload; some fail.
    pub(super) const fn is_worn_out(&self) -> bool {
        self.went_on > WENT_ON_MAX
    }

    /// Writes that an upload was begun, in place of all that was there.
    pub(super) fn begin(&mut self, upload: String) {
        self.head.upload = upload;
        self.parts.clear();
        self.went_on = 0;
        let Some(mut file) = self.file.as_ref() else { return };
        let begun = file.set_len(0).and_then(|()| file.rewind());
        if let Err(error) = begun.and_then(|()| append(file, &self.head)) {
            self.give_up(&error);
        }
    }

    /// Writes that a part has arrived.
    pub(super) fn arrived(&mut self, part: usize, id: String) {
        self.write(&Line::Part { part, id: id.clone() });
        self.parts.insert(part, id);
    }

    fn write(&mut self, line: &Line) {
        if let Some(Err(error)) = self.file.as_ref().map(|file| append(file, line)) {
            self.give_up(&error);
        }
    }

    /// The upload is no more: the next one begins anew.
    pub(super) fn reset(&mut self) {
        self.head.upload.clear();
        self.parts.clear();
        self.went_on = 0;
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.set_len(0)) {
            self.give_up(&error);
        }
    }

    /// Removes it: all is up.
    pub(super) fn finish(self) {
        drop(remove_if_there(&self.path));
    }

    fn give_up(&mut self, error: &io::Error) {
        tracing::warn!(path = %self.path.display(), %error, "an upload goes on without its journal");
        self.file = None;
        drop(remove_if_there(&self.path));
    }
}

/// Opens and locks; `None` when it cannot be written, or another one puts the same file now.
fn lock(path: &Path) -> Option<File> {
    let opened = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "an upload has no journal");
            return None;
        }
    };
    file.try_lock().ok().map(|()| file)
}

fn append(mut file: &File, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)
}

#[cfg(test)]
mod tests;

//! The digest of a module's archive: `h1:`, over the list of its files' own digests.

use std::io::{self, Read, Seek};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::zip::{Archive, ZipError};

/// Most bytes of all its files: an archive may promise a thousand times its own size. The
/// largest, a Go tool chain, has some 250 MB.
const BYTES_MAX: u64 = 2 << 30;

/// Digests an archive as `go.sum` and the checksum database do.
///
/// # Errors
///
/// The archive cannot be used, or is too large once unpacked.
pub fn content<R: Read + Seek>(archive: &mut Archive<R>) -> Result<String, ZipError> {
    let mut entries = archive.entries().to_vec();
    if entries.iter().map(|entry| entry.size).sum::<u64>() > BYTES_MAX {
        return Err(ZipError::Broken("it is too large once unpacked"));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut whole = Sha256::new();
    for entry in &entries {
        let mut file = Hashing(Sha256::new());
        archive.copy(entry, &mut file)?;
        // Names have no newline: they are checked when the archive is opened.
        whole.update(format!("{}  {}\n", crate::key::hex(&file.0.finalize()), entry.name));
    }
    Ok(format!("h1:{}", STANDARD.encode(whole.finalize())))
}

struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The files of an archive.

use std::io::{self, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::ZipError;
use super::directory::{Entry, TAIL_BYTES, list, locate, u16_at};

const FILE_MAGIC: [u8; 4] = *b"PK\x03\x04";
const FILE_BYTES: usize = 30;

/// An archive that can be read at any place.
#[derive(Debug)]
pub struct Archive<R> {
    from: R,
    entries: Vec<Entry>,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the list of files.
    ///
    /// # Errors
    ///
    /// As [`list`].
    pub fn open(mut from: R) -> Result<Self, ZipError> {
        let size = from.seek(SeekFrom::End(0))?;
        let mut tail = Vec::new();
        from.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        (&mut from).take(TAIL_BYTES).read_to_end(&mut tail)?;
        let (offset, length) = locate(&tail, size)?;
        let mut bytes = Vec::new();
        from.seek(SeekFrom::Start(offset))?;
        (&mut from).take(length).read_to_end(&mut bytes)?;
        Ok(Self { entries: list(&bytes)?, from })
    }

    /// The files in it, directories left out.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Copies a file out, and says how many bytes it had.
    ///
    /// # Errors
    ///
    /// The file is not as the list says: place, size, checksum; or `to` fails.
    pub fn copy(&mut self, entry: &Entry, to: &mut impl io::Write) -> Result<u64, ZipError> {
        let mut head = [0; FILE_BYTES];
        self.from.seek(SeekFrom::Start(entry.offset))?;
        self.from.read_exact(&mut head).map_err(|_| ZipError::Broken("a file is not where the list says"))?;
        if !head.starts_with(&FILE_MAGIC) || u16_at(&head, 8) != if entry.deflated { 8 } else { 0 } {
            return Err(ZipError::Broken("a file is not where the list says"));
        }
        let skipped = i64::from(u16_at(&head, 26)) + i64::from(u16_at(&head, 28));
        self.from.seek(SeekFrom::Current(skipped))?;
        let packed = (&mut self.from).take(entry.packed);
        let mut to = Checked { to, crc: Crc::new() };
        // One byte more than it says is enough to know that it lies.
        let copied = if entry.deflated {
            io::copy(&mut DeflateDecoder::new(packed).take(entry.size + 1), &mut to).map_err(malformed)?
        } else {
            io::copy(&mut packed.take(entry.size + 1), &mut to)?
        };
        if copied != entry.size || to.crc.sum() != entry.crc {
            return Err(ZipError::Broken("a file has another size or checksum than the list says"));
        }
        Ok(copied)
    }

    /// A whole file, if it has no more than `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::copy`], and if it is larger.
    pub fn read(&mut self, entry: &Entry, bytes_max: u64) -> Result<Vec<u8>, ZipError> {
        if entry.size > bytes_max {
            return Err(ZipError::Broken("a file in it is too large"));
        }
        let mut whole = Vec::new();
        self.copy(entry, &mut whole)?;
        Ok(whole)
    }
}

/// What the unpacker says of bytes that are none of its own.
fn malformed(error: io::Error) -> ZipError {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ZipError::Broken("a file in it is malformed")
        }
        _ => ZipError::Io(error),
    }
}

/// Writes on, and keeps the checksum.
struct Checked<'a, W> {
    to: &'a mut W,
    crc: Crc,
}

impl<W: io::Write> io::Write for Checked<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

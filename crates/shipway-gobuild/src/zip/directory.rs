//! The list at an archive's end.

use super::ZipError;

/// Most files of one archive. The Go tool chain, the largest there is, has some 15,000.
const ENTRIES_MAX: usize = 60_000;
/// Longest name of a file.
const NAME_BYTES_MAX: usize = 1024;
/// The end's record, and the comment it may have behind it.
const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: usize = 65_535;
/// From so many bytes at an archive's end [`locate`] finds the list, and often they hold it.
pub const TAIL_BYTES: u64 = 128 << 10;

const END_MAGIC: [u8; 4] = *b"PK\x05\x06";
const ENTRY_MAGIC: [u8; 4] = *b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its whole name, checked: relative, plain, with no `..` and no backslash.
    pub name: String,
    /// Bytes once unpacked, as it says.
    pub size: u64,
    pub(super) packed: u64,
    pub(super) deflated: bool,
    pub(super) crc: u32,
    pub(super) offset: u64,
}

/// Finds the list: its offset in the archive and its size, from the archive's last bytes.
///
/// # Errors
///
/// Not an archive, or of a kind that no module is.
pub fn locate(tail: &[u8], size: u64) -> Result<(u64, u64), ZipError> {
    let broken = || ZipError::Broken("it has no end");
    let from = tail.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    let starts = (from..=tail.len().checked_sub(END_BYTES).ok_or_else(broken)?).rev();
    let found = starts
        .map(|at| &tail[at..])
        .find(|rest| rest.starts_with(&END_MAGIC) && usize::from(u16_at(rest, 20)) == rest.len() - END_BYTES);
    let end = found.ok_or_else(broken)?;
    let (length, offset) = (u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    let end_at = size.checked_sub(end.len() as u64).ok_or_else(broken)?;
    let one_part = u16_at(end, 4) == 0 && u16_at(end, 6) == 0 && u16_at(end, 8) == u16_at(end, 10);
    if !one_part || offset + length != end_at {
        return Err(ZipError::Broken("its list of files is not where it says"));
    }
    Ok((offset, length))
}

/// Reads the list of files.
///
/// # Errors
///
/// Malformed, too many files, or one that must not be there: a link, a directory that is no
/// directory, two of one name, a name that leads elsewhere.
pub fn list(mut bytes: &[u8]) -> Result<Vec<Entry>, ZipError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        if entries.len() == ENTRIES_MAX {
            return Err(ZipError::Broken("it holds too many files"));
        }
        let (entry, rest) = entry(bytes)?;
        bytes = rest;
        if !entry.name.ends_with('/') {
            entries.push(entry);
        }
    }
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ZipError::Name { name: pair[0].to_owned(), reason: "twice" }),
        None => Ok(entries),
    }
}

fn entry(bytes: &[u8]) -> Result<(Entry, &[u8]), ZipError> {
    let broken = || ZipError::Broken("its list of files is malformed");
    let head = bytes.get(..ENTRY_BYTES).filter(|head| head.starts_with(&ENTRY_MAGIC)).ok_or_else(broken)?;
    let lengths = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
    let end = ENTRY_BYTES + lengths.iter().sum::<usize>();
    let name = bytes.get(ENTRY_BYTES..ENTRY_BYTES + lengths[0]).ok_or_else(broken)?;
    let name = std::str::from_utf8(name).map_err(|_| ZipError::Broken("a name in it is no text"))?;
    let rest = bytes.get(end..).ok_or_else(broken)?;
    check_name(name)?;
    let refuse = |reason| Err(ZipError::Name { name: name.to_owned(), reason });
    let mode = u32_at(head, 38) >> 16;
    let by_unix = head[5] == 3;
    if by_unix && !matches!(mode & 0o17_0000, 0 | 0o10_0000 | 0o4_0000) {
        return refuse("neither a file nor a directory");
    }
    if u16_at(head, 8) & 1 != 0 {
        return refuse("encrypted");
    }
    let deflated = match u16_at(head, 10) {
        0 => false,
        8 => true,
        _ => return refuse("packed in an unknown way"),
    };
    let entry = Entry {
        name: name.to_owned(),
        crc: u32_at(head, 16),
        packed: u64::from(u32_at(head, 20)),
        size: u64::from(u32_at(head, 24)),
        offset: u64::from(u32_at(head, 42)),
        deflated,
    };
    Ok((entry, rest))
}

fn check_name(name: &str) -> Result<(), ZipError> {
    let refuse = |reason| Err(ZipError::Name { name: crate::module::shown(name), reason });
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return refuse("no name, or too long a one");
    }
    if name.bytes().any(|byte| byte == b'\\' || byte.is_ascii_control()) {
        return refuse("a name that is not plain");
    }
    let parts = name.strip_suffix('/').unwrap_or(name).split('/');
    if parts.clone().any(|part| matches!(part, "" | "." | "..")) {
        return refuse("a name that leads elsewhere");
    }
    Ok(())
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

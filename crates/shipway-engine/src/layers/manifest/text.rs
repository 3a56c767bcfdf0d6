//! The manifest's lines, written and read.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Entry, Kind, TreeError};

/// First line. Another number is another digest for the same tree.
const HEADER: &[u8] = b"shipway tree 1";

/// Writes all entries, which are sorted.
pub(super) fn write(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::with_capacity(entries.len() * 140);
    text.extend_from_slice(HEADER);
    text.push(b'\n');
    for entry in entries {
        write_line(entry, &mut text);
    }
    text
}

fn write_line(entry: &Entry, text: &mut Vec<u8>) {
    let letter = match entry.kind {
        Kind::Directory => 'd',
        Kind::File { .. } => 'f',
        Kind::Symlink { .. } => 'l',
    };
    escape(&entry.path, text);
    let Entry { mode, uid, gid, .. } = entry;
    text.extend_from_slice(format!("\t{letter}\t{mode:04o}\t{uid}:{gid}").as_bytes());
    match &entry.kind {
        Kind::Directory => {}
        Kind::File { sha256 } => {
            text.push(b'\t');
            for byte in sha256 {
                text.extend_from_slice(format!("{byte:02x}").as_bytes());
            }
        }
        Kind::Symlink { target } => {
            text.push(b'\t');
            escape(target, text);
        }
    }
    text.push(b'\n');
}

fn escape(path: &Path, text: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'\\' => text.extend_from_slice(b"\\\\"),
            b'\t' => text.extend_from_slice(b"\\t"),
            b'\n' => text.extend_from_slice(b"\\n"),
            byte => text.push(byte),
        }
    }
}

/// Reads what [`write`] wrote.
pub(super) fn read(text: &[u8]) -> Result<Vec<Entry>, TreeError> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut lines = text.split(|byte| *byte == b'\n');
    if lines.next() != Some(HEADER) {
        let what = "`shipway tree 1` was expected";
        return Err(TreeError::Text { line: 1, what });
    }
    lines.enumerate().map(|(at, line)| read_line(line).map_err(|what| TreeError::Text { line: at + 2, what })).collect()
}

fn read_line(line: &[u8]) -> Result<Entry, &'static str> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
    let (path, letter, mode, owner, rest) = match fields[..] {
        [path, letter, mode, owner] => (path, letter, mode, owner, None),
        [path, letter, mode, owner, rest] => (path, letter, mode, owner, Some(rest)),
        _ => return Err("four or five fields were expected"),
    };
    let kind = match (letter, rest) {
        (b"d", None) => Kind::Directory,
        (b"f", Some(hex)) => Kind::File { sha256: read_hash(hex).ok_or("64 hexadecimal digits were expected")? },
        (b"l", Some(target)) => Kind::Symlink { target: unescape(target)? },
        _ => return Err("a kind of `d`, `f` or `l` was expected"),
    };
    let (uid, gid) = read_owner(owner).ok_or("an owner like `0:0` was expected")?;
    let mode = std::str::from_utf8(mode).ok();
    let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok());
    Ok(Entry { path: unescape(path)?, mode: mode.ok_or("an octal mode was expected")?, uid, gid, kind })
}

fn read_owner(field: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

fn read_hash(hex: &[u8]) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn unescape(field: &[u8]) -> Result<PathBuf, &'static str> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (byte, false) => byte,
            (_, true) => match rest.next() {
                Some(b'\\') => b'\\',
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                _ => return Err("a backslash is followed by `\\`, `t` or `n`"),
            },
        });
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

//! One entry's meaning: its head, with what the extension heads before it add.
//!
//! POSIX's pax heads (`x`, `g`; pax(1)) and GNU's long names (`L`, `K`) change what the
//! next entry says. Programs differ in what wins when two of them say different things,
//! and archives have been made to look harmless to one program and not to another; so
//! here everything is said once, and whatever could be read in two ways is refused.

use std::io::Read;

use tar::Entry;

use crate::rule::{Rule, UnpackError, broken, broken_at};
use crate::source::Trouble;

/// Largest extension: Linux's largest extended attribute, sixteen times.
const EXTENSION_MAX: u64 = 1 << 20;

/// What an entry says.
#[derive(Debug)]
pub(crate) struct Head {
    /// As written, not checked.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub(crate) modified: (i64, u32),
    /// Bytes of content behind the head; only files have any.
    pub(crate) size: u64,
    /// Extended attributes and access lists, which are dropped.
    pub(crate) attributes: u64,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Symlink { target: Vec<u8> },
    HardLink { target: Vec<u8> },
    Device,
    Pipe,
}

/// What extension heads have said about the entry to come.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    seen: bool,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<(i64, u32)>,
    attributes: u64,
}

impl Pending {
    /// Takes the next head of the archive: the entry it is, or `None` when it only said
    /// something about the next one.
    pub(crate) fn take<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        trouble: &Trouble,
    ) -> Result<Option<Head>, UnpackError> {
        match entry.header().as_old().linkflag[0] {
            b'x' => {
                let text = extension(entry, trouble)?;
                self.seen = true;
                self.pax(&text)?;
            }
            // Comments only: whatever it would say of all entries, some programs forget.
            b'g' => {
                let mut global = Self::default();
                global.pax(&extension(entry, trouble)?)?;
                if global.says_something() {
                    return Err(broken(Rule::Extension));
                }
            }
            b'L' => {
                self.seen = true;
                once(&mut self.path, long_name(&extension(entry, trouble)?)?)?;
            }
            b'K' => {
                self.seen = true;
                once(&mut self.link, long_name(&extension(entry, trouble)?)?)?;
            }
            flag => return std::mem::take(self).finish(entry, flag).map(Some),
        }
        Ok(None)
    }

    /// At the archive's end nothing may be left unsaid.
    pub(crate) const fn end(&self) -> Result<(), UnpackError> {
        if self.seen { Err(broken(Rule::Truncated)) } else { Ok(()) }
    }

    const fn says_something(&self) -> bool {
        let Self { path, link, size, uid, gid, .. } = self;
        path.is_some() || link.is_some() || size.is_some() || uid.is_some() || gid.is_some()
    }

    /// Records of pax(1): `LENGTH KEY=VALUE\n`, the length counting all of it.
    fn pax(&mut self, mut text: &[u8]) -> Result<(), UnpackError> {
        while !text.is_empty() {
            let (key, value, rest) = record(text).ok_or_else(|| broken(Rule::Extension))?;
            self.say(key, value)?;
            text = rest;
        }
        Ok(())
    }

    fn say(&mut self, key: &[u8], value: &[u8]) -> Result<(), UnpackError> {
        match key {
            b"path" => once(&mut self.path, name(value)?),
            b"linkpath" => once(&mut self.link, name(value)?),
            b"size" => once(&mut self.size, number(value)?),
            b"uid" => once(&mut self.uid, number(value)?),
            b"gid" => once(&mut self.gid, number(value)?),
            b"mtime" => once(&mut self.modified, time(value).ok_or_else(|| broken(Rule::Extension))?),
            b"SCHILY.realsize" => Err(broken(Rule::Sparse)),
            key if key.starts_with(b"GNU.sparse.") => Err(broken(Rule::Sparse)),
            key => {
                let dropped: [&[u8]; 4] = [b"SCHILY.xattr.", b"LIBARCHIVE.xattr.", b"SCHILY.acl.", b"RHT.security."];
                self.attributes += u64::from(dropped.iter().any(|prefix| key.starts_with(prefix)));
                Ok(())
            }
        }
    }

    fn finish<R: Read>(self, entry: &Entry<'_, R>, flag: u8) -> Result<Head, UnpackError> {
        let header = entry.header();
        let path = self.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let unreadable = |_| broken_at(Rule::Format, &path);
        let size = header.entry_size().map_err(unreadable)?;
        if self.size.is_some_and(|said| said != size) {
            return Err(broken_at(Rule::Extension, &path));
        }
        let link = || {
            let short = || header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
            self.link.unwrap_or_else(short)
        };
        let kind = match flag {
            b'\0' if path.ends_with(b"/") => Kind::Folder,
            // A folder's name on a file: some programs make the one, some the other.
            b'\0' | b'0' | b'7' if !path.ends_with(b"/") => Kind::File,
            b'1' => Kind::HardLink { target: link() },
            b'2' => Kind::Symlink { target: link() },
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Folder,
            b'6' => Kind::Pipe,
            b'S' => return Err(broken_at(Rule::Sparse, &path)),
            _ => return Err(broken_at(Rule::Kind, &path)),
        };
        if kind != Kind::File && size != 0 {
            return Err(broken_at(Rule::Body, &path));
        }
        Ok(Head {
            kind,
            mode: header.mode().map_err(unreadable)?,
            uid: self.uid.map_or_else(|| header.uid(), Ok).map_err(unreadable)?,
            gid: self.gid.map_or_else(|| header.gid(), Ok).map_err(unreadable)?,
            modified: match self.modified {
                Some(modified) => modified,
                None => (modified(header).ok_or_else(|| broken_at(Rule::Format, &path))?, 0),
            },
            size,
            attributes: self.attributes,
            path,
        })
    }
}

/// The head's own time: octal, or base 256 with a sign as GNU writes it, which `tar`
/// reads without.
fn modified(header: &tar::Header) -> Option<i64> {
    let field = &header.as_old().mtime;
    match field {
        [0xff, .., _, _, _, _, _, _, _, _] => field.last_chunk().map(|last| i64::from_be_bytes(*last)),
        _ => i64::try_from(header.mtime().ok()?).ok(),
    }
}

/// Reads an extension's content, which is small or refused.
fn extension<R: Read>(entry: &mut Entry<'_, R>, trouble: &Trouble) -> Result<Vec<u8>, UnpackError> {
    let size = entry.header().entry_size().map_err(|_| broken(Rule::Format))?;
    if size > EXTENSION_MAX {
        return Err(broken(Rule::Extension));
    }
    let mut text = Vec::new();
    entry.take(size).read_to_end(&mut text).map_err(|error| trouble.explain(&error))?;
    if (text.len() as u64) < size {
        return Err(broken(Rule::Truncated));
    }
    Ok(text)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), UnpackError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(broken(Rule::Extension)),
    }
}

/// The text of an `L` or `K` head: up to its zero, behind which there is nothing.
fn long_name(text: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    if text[end..].iter().any(|byte| *byte != 0) {
        return Err(broken(Rule::Extension));
    }
    name(&text[..end])
}

/// Empty means "as if this were not said" to some programs.
fn name(value: &[u8]) -> Result<Vec<u8>, UnpackError> {
    if value.is_empty() { Err(broken(Rule::Extension)) } else { Ok(value.to_vec()) }
}

fn number(value: &[u8]) -> Result<u64, UnpackError> {
    digits(value).ok_or_else(|| broken(Rule::Extension))
}

/// Decimal digits and nothing else: `parse` would take a sign.
fn digits(text: &[u8]) -> Option<u64> {
    let plain = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

/// Takes one record off the front: key, value, rest.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(digits(&text[..space])?).ok()?;
    if length > text.len() || length < space + 2 {
        return None;
    }
    let (record, rest) = text.split_at(length);
    let body = record[space + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], rest))
}

/// `1700000000.25`, perhaps with a minus.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(digits(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |sum, at| sum * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    Some(match (negative, nanos) {
        (false, nanos) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_with_their_fraction() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.25"), Some((12, 250_000_000)));
        assert_eq!(time(b"12.1234567891"), Some((12, 123_456_789)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"-1"), Some((-1, 0)));
        for bad in [&b""[..], b".", b"1.x", b"+1", b"1e9", b"99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn records_must_be_whole() {
        assert_eq!(record(b"9 a=b=c\nx"), None, "the length counts the line feed");
        assert_eq!(record(b"8 a=b=c\nx"), Some((&b"a"[..], &b"b=c"[..], &b"x"[..])));
        for bad in [&b""[..], b"8", b"99 a=b\n", b"0 a=b\n", b"2 a", b"+6 a=b\n", b"6 a:b\n", b"5 a=b\n"] {
            assert_eq!(record(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_extension_makes_it_panic(text in proptest::collection::vec(
            prop_oneof![Just(b'1'), Just(b' '), Just(b'='), Just(b'\n'), any::<u8>()], 0..60)) {
            let mut pending = Pending::default();
            drop(pending.pax(&text));
            prop_assert!(time(&text).is_none_or(|(_, nanos)| nanos < 1_000_000_000));
        }
    }
}

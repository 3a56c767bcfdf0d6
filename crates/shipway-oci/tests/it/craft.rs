//! Archives written byte by byte, and trees told as text.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use shipway_oci::{Rule, UnpackError, UnpackLimits, Unpacked};

/// One head of 512 bytes and its content; nothing about it need be right.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    name: Vec<u8>,
    flag: u8,
    link: Vec<u8>,
    mode: u32,
    uid: u64,
    size: Option<u64>,
    body: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(flag: u8, name: impl AsRef<[u8]>) -> Self {
        let (name, link, body) = (name.as_ref().to_vec(), Vec::new(), Vec::new());
        Self { name, flag, link, mode: 0o644, uid: 0, size: None, body }
    }

    pub(crate) fn to(mut self, link: impl AsRef<[u8]>) -> Self {
        self.link = link.as_ref().to_vec();
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) const fn uid(mut self, uid: u64) -> Self {
        self.uid = uid;
        self
    }

    /// Says another size than the body has.
    pub(crate) const fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut head = [0_u8; 512];
        put(&mut head, 0, 100, &self.name);
        put(&mut head, 100, 8, format!("{:07o}", self.mode).as_bytes());
        put_number(&mut head, 108, 8, self.uid);
        put_number(&mut head, 116, 8, 0);
        put_number(&mut head, 124, 12, self.size.unwrap_or(self.body.len() as u64));
        put(&mut head, 136, 12, b"00000000012");
        head[156] = self.flag;
        put(&mut head, 157, 100, &self.link);
        put(&mut head, 257, 8, b"ustar\x0000");
        put(&mut head, 148, 8, b"        ");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut head, 148, 8, format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

fn put(head: &mut [u8; 512], at: usize, room: usize, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(room)];
    head[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Octal where it fits, else base 256 as GNU writes it.
fn put_number(head: &mut [u8; 512], at: usize, room: usize, number: u64) {
    let octal = format!("{number:0width$o}", width = room - 1);
    if octal.len() < room {
        return put(head, at, room, octal.as_bytes());
    }
    head[at] = 0x80;
    head[at + room - 8..at + room].copy_from_slice(&number.to_be_bytes());
    if room == 8 {
        head[at] |= 0x80;
    }
}

pub(crate) fn file(name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Entry {
    Entry::new(b'0', name).body(body)
}

pub(crate) fn folder(name: impl AsRef<[u8]>) -> Entry {
    Entry::new(b'5', name).mode(0o755)
}

pub(crate) fn symlink(name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Entry {
    Entry::new(b'2', name).to(to).mode(0o777)
}

pub(crate) fn hard_link(name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Entry {
    Entry::new(b'1', name).to(to)
}

/// A pax head; each record gets its length.
pub(crate) fn pax(records: &[(&str, &str)]) -> Entry {
    let mut text = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|length: &usize| rest.len() + length.to_string().len() == *length).unwrap();
        text.push_str(&format!("{length}{rest}"));
    }
    Entry::new(b'x', "pax").body(text)
}

pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut out));
    out.resize(out.len() + 1024, 0);
    out
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(plain).unwrap();
    out.finish().unwrap()
}

/// Unpacks below a folder of its own; the second value is what is there afterwards.
pub(crate) fn unpack(archive: &[u8], limits: &UnpackLimits) -> (Result<Unpacked, UnpackError>, Vec<String>) {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let result = shipway_oci::unpack(archive, &tree, limits);
    let beside: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["tree"], "nothing is written beside the tree");
    (result, tell(&tree))
}

#[track_caller]
pub(crate) fn refused(entries: &[Entry], rule: Rule) {
    let (result, _) = unpack(&archive(entries), &UnpackLimits::default());
    match result {
        Err(error) => assert_eq!(error.rule(), Some(rule), "{error}"),
        Ok(done) => panic!("expected {rule:?}, not {done:?}"),
    }
}

#[track_caller]
pub(crate) fn taken(entries: &[Entry]) -> (Unpacked, Vec<String>) {
    let (result, lines) = unpack(&archive(entries), &UnpackLimits::default());
    (result.unwrap(), lines)
}

/// Everything in a tree, a line each: path, kind, mode, owner, time, content.
pub(crate) fn tell(tree: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    tell_below(tree, Path::new(""), &mut lines);
    lines.sort();
    lines
}

fn tell_below(root: &Path, path: &Path, lines: &mut Vec<String>) {
    let full = root.join(path);
    let meta = full.symlink_metadata().unwrap();
    let kind = meta.file_type();
    let name = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    let content = if kind.is_symlink() {
        format!("-> {}", std::fs::read_link(&full).unwrap().display())
    } else if kind.is_file() {
        format!("{:?}", String::from_utf8_lossy(&std::fs::read(&full).unwrap()))
    } else if kind.is_dir() {
        "/".to_owned()
    } else {
        format!("special {}", kind.is_char_device())
    };
    let mode = if kind.is_symlink() { 0o777 } else { meta.permissions().mode() & 0o7777 };
    lines.push(format!("{name} {mode:04o} {}:{} {} {content}", meta.uid(), meta.gid(), meta.mtime()));
    if kind.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names.iter().for_each(|name: &std::ffi::OsString| tell_below(root, &path.join(OsStr::new(name)), lines));
    }
}

impl Entry {
    /// Puts a real path where `@OUT@` stands in a link.
    pub(crate) fn aim(mut self, outside: &str) -> Self {
        self.link = String::from_utf8_lossy(&self.link).replace("@OUT@", outside).into_bytes();
        self
    }
}

//! One file, served at `/`.
//!
//! What is asked for is decided here, as a value; the server sends it. The
//! facts that cost a look at the whole file (is it UTF-8?) are learnt once, at
//! the start: content never changes under a release.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::http::answer::Answer;
use crate::http::condition::{self, Validators, Verdict};
use crate::http::head::{Head, Target};
use crate::http::range::{self, Part, Wanted};

pub mod types;

/// The file, and what is known of it for good.
#[derive(Debug)]
pub struct Content {
    path: PathBuf,
    etag: String,
    content_type: String,
    /// The file as long as an answer is being sent from it: a thousand slow visitors
    /// share one descriptor.
    open: RefCell<Weak<OwnedFd>>,
}

/// A stretch of an answer's body.
#[derive(Debug)]
pub enum Segment {
    /// Bytes of ours.
    Bytes(Vec<u8>),
    /// Bytes of the file.
    File {
        /// Shared by the segments of one answer.
        file: Rc<OwnedFd>,
        /// Which bytes.
        part: Part,
    },
}

/// An answer to be sent.
#[derive(Debug)]
pub struct Reply {
    /// Head, without its framing of the connection.
    pub answer: Answer,
    /// Body; already empty for HEAD.
    pub body: Vec<Segment>,
}

impl Content {
    /// Learns what it must know of the file for good.
    ///
    /// # Errors
    ///
    /// None for a file that is missing: readiness says so, every time it is asked.
    #[must_use]
    pub fn open(config: &Config) -> Self {
        Self {
            path: config.content.clone(),
            etag: etag(config),
            content_type: media_type(config),
            open: RefCell::default(),
        }
    }

    fn file(&self) -> io::Result<Rc<OwnedFd>> {
        let mut open = self.open.borrow_mut();
        if let Some(file) = open.upgrade() {
            return Ok(file);
        }
        let file = Rc::new(OwnedFd::from(File::open(&self.path)?));
        *open = Rc::downgrade(&file);
        Ok(file)
    }

    /// Answers a request for it.
    ///
    /// # Errors
    ///
    /// Any error of opening the file.
    pub fn answer(&self, head: &Head, now: SystemTime) -> io::Result<Reply> {
        if !matches!(&head.target, Target::Path { path, .. } if path == "/") {
            return Ok(plain(head, 404, "there is one file here, at /"));
        }
        if !matches!(head.method.as_str(), "GET" | "HEAD") {
            let mut reply = plain(head, 405, "this file can be read with GET and HEAD");
            reply.answer = reply.answer.header("Allow", "GET, HEAD");
            return Ok(reply);
        }
        let file = self.file()?;
        let found = rustix::fs::fstat(&*file)?;
        let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(found.st_mtime).unwrap_or(0));
        let validators = Validators { etag: self.etag.clone(), modified: condition::last_modified(modified, now) };
        Ok(self.reply(head, file, u64::try_from(found.st_size).unwrap_or(0), &validators))
    }

    fn reply(&self, head: &Head, file: Rc<OwnedFd>, size: u64, validators: &Validators) -> Reply {
        let wanted = match condition::evaluate(head, validators) {
            Verdict::Failed => return plain(head, 412, "the file is not the one you meant"),
            Verdict::NotModified => {
                let answer = with_validators(Answer::new(304, ""), validators);
                return Reply { answer, body: Vec::new() };
            }
            // §14.2: Range means something for GET only.
            Verdict::Proceed { range: true } if head.method == "GET" => range::parse(head.only("range"), size),
            Verdict::Proceed { .. } => Wanted::Whole,
        };
        let mut reply = match wanted {
            Wanted::Unsatisfiable => {
                let mut reply = plain(head, 416, "the file has no such bytes");
                reply.answer = reply.answer.header("Content-Range", format!("bytes */{size}"));
                return reply;
            }
            Wanted::Whole => self.whole(file, size, validators),
            Wanted::Parts(parts) => match parts.as_slice() {
                [part] => self.single(file, *part, size, validators),
                parts => self.multiple(&file, parts, size, validators),
            },
        };
        if head.method == "HEAD" {
            reply.body.clear();
        }
        reply
    }

    fn whole(&self, file: Rc<OwnedFd>, size: u64, validators: &Validators) -> Reply {
        let answer = with_validators(Answer::new(200, ""), validators)
            .header("Content-Type", &self.content_type)
            .header("Content-Length", size.to_string());
        let part = Part { start: 0, end: size };
        Reply { answer, body: vec![Segment::File { file, part }] }
    }

    fn single(&self, file: Rc<OwnedFd>, part: Part, size: u64, validators: &Validators) -> Reply {
        let answer = with_validators(Answer::new(206, ""), validators)
            .header("Content-Type", &self.content_type)
            .header("Content-Length", (part.end - part.start).to_string())
            .header("Content-Range", content_range(part, size));
        Reply { answer, body: vec![Segment::File { file, part }] }
    }

    /// RFC 9110 §14.6. The boundary is the file's own digest: bytes that contain
    /// the digest of themselves do not occur.
    fn multiple(&self, file: &Rc<OwnedFd>, parts: &[Part], size: u64, validators: &Validators) -> Reply {
        let boundary = self.etag.trim_matches('"');
        let mut body = Vec::with_capacity(parts.len() * 2 + 1);
        let mut length = 0;
        for part in parts {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                self.content_type,
                content_range(*part, size)
            );
            length += head.len() as u64 + part.end - part.start;
            body.push(Segment::Bytes(head.into_bytes()));
            body.push(Segment::File { file: Rc::clone(file), part: *part });
        }
        let end = format!("\r\n--{boundary}--\r\n");
        length += end.len() as u64;
        body.push(Segment::Bytes(end.into_bytes()));
        let answer = with_validators(Answer::new(206, ""), validators)
            .header("Content-Type", format!("multipart/byteranges; boundary={boundary}"))
            .header("Content-Length", length.to_string());
        Reply { answer, body }
    }
}

fn with_validators(answer: Answer, validators: &Validators) -> Answer {
    answer
        .header("ETag", &validators.etag)
        .header("Last-Modified", httpdate::fmt_http_date(validators.modified))
        .header("Accept-Ranges", "bytes")
}

fn content_range(part: Part, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

/// Makes a one-line answer of plain text; without its body for HEAD.
#[must_use]
pub fn plain(head: &Head, status: u16, message: &str) -> Reply {
    let text = format!("{message}\n");
    let answer = Answer::new(status, "")
        .header("Content-Type", "text/plain; charset=utf-8")
        .header("Content-Length", text.len().to_string());
    let body = if head.method == "HEAD" { Vec::new() } else { vec![Segment::Bytes(text.into_bytes())] };
    Reply { answer, body }
}

/// Whether content can be read now; otherwise, why not.
///
/// # Errors
///
/// What stands in the way, in words.
pub fn readable(path: &Path) -> Result<(), String> {
    let mut byte = [0];
    let read = File::open(path).and_then(|mut file| file.read(&mut byte));
    read.map(drop).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// Its tag, with its quotes: the digest.
#[must_use]
pub fn etag(config: &Config) -> String {
    format!("\"{}\"", config.digest.trim_start_matches("sha256:"))
}

/// Decides the type it is served as, for which it may have to be read once.
#[must_use]
pub fn media_type(config: &Config) -> String {
    types::decide(config.content_type.as_deref(), config.file_name.as_deref(), || {
        is_utf8(&config.content).unwrap_or(false)
    })
}

/// Whether a file is UTF-8 from end to end, read in pieces of 64 KiB.
///
/// # Errors
///
/// Any error of reading it.
pub fn is_utf8(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            return Ok(kept == 0);
        }
        let filled = kept + read;
        kept = match std::str::from_utf8(&buffer[..filled]) {
            Ok(_) => 0,
            Err(error) if error.error_len().is_some() => return Ok(false),
            // A character was cut: its beginning waits for the next piece.
            Err(error) => {
                buffer.copy_within(error.valid_up_to()..filled, 0);
                filled - error.valid_up_to()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_is_recognised_across_the_pieces_it_is_read_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for (text, expected) in [
            (b"".to_vec(), true),
            ("é".repeat(100_001).into_bytes(), true),
            ([b"a".as_slice(), "é".repeat(70_000).as_bytes()].concat(), true),
            (b"caf\xe9".to_vec(), false),
            ("é".as_bytes()[..1].to_vec(), false),
        ] {
            io::Write::write_all(&mut File::create(&path).unwrap(), &text).unwrap();
            assert_eq!(is_utf8(&path).unwrap(), expected, "{} bytes", text.len());
        }
    }
}

//! An answer, as fcgiwrap takes it: a header block of RFC 3875, then the body.

use crate::cgi::header::{Block, PLAIN_TEXT};
use crate::http::answer;

/// Begins an answer. Without a length nginx frames the body as its client understands.
#[must_use]
pub fn head(block: &Block, length: Option<u64>) -> Vec<u8> {
    let mut bytes = status(block.status, &block.reason);
    for (name, value) in &block.headers {
        for part in [name.as_bytes(), b": ", value.as_slice(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    if let Some(length) = length {
        bytes.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// A one-line answer of plain text.
#[must_use]
pub fn plain(code: u16, message: &str) -> Vec<u8> {
    let mut bytes = status(code, "");
    let length = message.len() + 1;
    let retry = if code == 503 { "Retry-After: 1\r\n" } else { "" };
    bytes.extend_from_slice(
        format!("Content-Type: {PLAIN_TEXT}\r\nContent-Length: {length}\r\n{retry}\r\n{message}\n").as_bytes(),
    );
    bytes
}

fn status(code: u16, reason: &str) -> Vec<u8> {
    let reason = if reason.is_empty() { answer::phrase(code) } else { reason };
    format!("Status: {code} {reason}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::header;

    #[test]
    fn an_answer_is_written_as_it_was_read() {
        let (block, _) = header::split(b"Status: 418 Teapot\nContent-Type: a/b\nX-A: c\n\nrest");
        let text = String::from_utf8(head(&block, Some(4))).unwrap();
        assert_eq!(text, "Status: 418 Teapot\r\nContent-Type: a/b\r\nX-A: c\r\nContent-Length: 4\r\n\r\n");
        let (again, at) = header::split(text.as_bytes());
        assert_eq!((again.status, again.length, at), (418, Some(4), text.len()));
        assert!(plain(502, "no").ends_with(b"\r\n\r\nno\n"));
    }
}

//! Writing an answer's head.
//!
//! Every head goes through [`Answer`], so that each has exactly one status line,
//! one Date, and a framing its version understands.

use std::time::SystemTime;

/// An answer's head in the making.
#[derive(Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    has_date: bool,
}

impl Answer {
    /// Begins a head. The version is always 1.1 (RFC 9110 §2.5); framing is what
    /// must suit an older client.
    #[must_use]
    pub fn new(status: u16, reason: &str) -> Self {
        let reason = if reason.is_empty() { phrase(status) } else { reason };
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
        Self { bytes, has_date: false }
    }

    /// Adds a header line. The caller has made sure that it is one line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.has_date |= name.eq_ignore_ascii_case("date");
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value.as_ref());
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header line if there is a value for it.
    #[must_use]
    pub fn optional(self, name: &str, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Says whether the connection stays, where the client's version would
    /// otherwise expect the opposite.
    #[must_use]
    pub fn connection(self, keep_alive: bool, is_http11: bool) -> Self {
        match (keep_alive, is_http11) {
            (false, true) => self.header("Connection", "close"),
            (true, false) => self.header("Connection", "keep-alive"),
            _ => self,
        }
    }

    /// Ends the head and returns its bytes.
    #[must_use]
    pub fn finish(mut self, now: SystemTime) -> Vec<u8> {
        if !self.has_date {
            self = self.header("Date", httpdate::fmt_http_date(now));
        }
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes
    }
}

/// Returns the phrase of a status; empty for one we do not know, which is legal
/// (RFC 9112 §4).
#[must_use]
pub const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_one_date() {
        let epoch = SystemTime::UNIX_EPOCH;
        let text = |answer: Answer| String::from_utf8(answer.finish(epoch)).unwrap();
        assert_eq!(
            text(Answer::new(204, "").connection(false, true)),
            "HTTP/1.1 204 No Content\r\nConnection: close\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
        );
        assert_eq!(text(Answer::new(299, "Odd").header("date", "today")), "HTTP/1.1 299 Odd\r\ndate: today\r\n\r\n");
    }
}

//! A visitor's request head, if it is one of the plain kind, in the words that its
//! service will read.
//!
//! Pure: bytes in, bytes out, and how the body is framed. Whatever could be read in
//! two ways, or needs thought, is [`Seen::Elsewhere`]: the general path refuses it or
//! serves it. What is accepted here, the guard accepts too, with the same framing.

use std::mem::MaybeUninit;

use httparse::{Header, Request, Status};

use crate::guard::{self, HEAD_BYTES_MAX};
use crate::headers;

/// Most fields of a request on this path.
const FIELDS_MAX: usize = 64;

/// Most digits of a Content-Length: every number of so many fits a `u64`.
const LENGTH_DIGITS_MAX: usize = 19;

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen<'a> {
    /// Too little to say.
    More,
    /// Not a request of the plain kind.
    Elsewhere,
    /// A request of the plain kind.
    Plain(Plain<'a>),
}

/// A request of the plain kind. Its head's bytes are `bytes[..length]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain<'a> {
    pub(super) length: usize,
    pub(super) method: Method,
    /// The target, without its query.
    pub(super) path: &'a str,
    /// As the visitor wrote it.
    pub(super) host: &'a [u8],
    /// The body's bytes.
    pub(super) body: u64,
    /// Whether the visitor wants the connection closed after the answer.
    pub(super) is_last: bool,
    /// The id the visitor gave, sane or not.
    pub(super) id: Option<&'a [u8]>,
}

/// A method of the plain kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => return None,
        })
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Whether twice is as good as once (RFC 9110 §9.2.2).
    pub(super) const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }
}

/// Looks at the front of `bytes`. `searched` remembers how far an earlier look at
/// the same bytes came.
///
/// For a [`Seen::Plain`], `out` is then the head for the service, but for what is
/// ours to say: the host, the forwarding fields and the blank line.
pub(super) fn look<'a>(bytes: &'a [u8], searched: &mut usize, out: &mut Vec<u8>) -> Seen<'a> {
    // A blank line before a request is rare, and the guard's to judge.
    if bytes.first().is_some_and(|first| !first.is_ascii_uppercase()) {
        return Seen::Elsewhere;
    }
    match guard::find_end(bytes, searched) {
        Ok(Some(length)) => translate(&bytes[..length], out).map_or(Seen::Elsewhere, Seen::Plain),
        Ok(None) if bytes.len() < HEAD_BYTES_MAX => Seen::More,
        _ => Seen::Elsewhere,
    }
}

/// What becomes of a field.
enum Field {
    Passes,
    IsDropped,
    Host,
    Length,
    Connection,
    Id,
    Cookie,
    /// It takes the request to the general path.
    Leaves,
}

/// `name` is in lower case.
fn field(name: &[u8]) -> Field {
    match name {
        b"host" => Field::Host,
        b"content-length" => Field::Length,
        b"connection" => Field::Connection,
        b"x-request-id" => Field::Id,
        b"cookie" => Field::Cookie,
        b"transfer-encoding" | b"te" | b"upgrade" | b"expect" | b"trailer" => Field::Leaves,
        _ if headers::stops_here(name) => Field::IsDropped,
        _ => Field::Passes,
    }
}

/// Translates a whole head.
fn translate<'a>(head: &'a [u8], out: &mut Vec<u8>) -> Option<Plain<'a>> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut fields) {
        Ok(Status::Complete(length)) if length == head.len() && request.version == Some(1) => {}
        _ => return None,
    }
    let target = request.path.filter(|target| is_plain_target(target.as_bytes()))?;
    let method = Method::of(request.method?)?;
    out.clear();
    for part in [method.name(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let mut plain = Plain { length: head.len(), method, path, host: b"", body: 0, is_last: false, id: None };
    fields_of(request.headers, &mut plain, out)?;
    Some(plain)
}

fn fields_of<'a>(fields: &[Header<'a>], plain: &mut Plain<'a>, out: &mut Vec<u8>) -> Option<()> {
    let (mut hosts, mut lengths, mut connections, mut cookies) = (0, 0, 0, 0);
    for Header { name, value } in fields {
        let at = out.len();
        out.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
        let passes = match field(&out[at..]) {
            Field::Passes => true,
            Field::IsDropped => false,
            Field::Leaves => return None,
            Field::Host => {
                hosts += 1;
                plain.host = value;
                false
            }
            Field::Length => {
                lengths += 1;
                plain.body = number(value)?;
                true
            }
            Field::Connection => {
                connections += 1;
                plain.is_last = is_last(value)?;
                false
            }
            Field::Id => {
                plain.id = plain.id.or(Some(value));
                false
            }
            Field::Cookie => {
                cookies += 1;
                true
            }
        };
        if passes {
            push_value(out, value);
        } else {
            out.truncate(at);
        }
    }
    (hosts == 1 && lengths <= 1 && connections <= 1 && cookies <= 1).then_some(())
}

/// Ends a field whose name is there.
pub(super) fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(value: &[u8]) -> Option<u64> {
    let plain = !value.is_empty() && value.len() <= LENGTH_DIGITS_MAX && value.iter().all(u8::is_ascii_digit);
    plain.then(|| value.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}

fn is_last(value: &[u8]) -> Option<bool> {
    let is_close = value.eq_ignore_ascii_case(b"close");
    (is_close || value.eq_ignore_ascii_case(b"keep-alive")).then_some(is_close)
}

/// Whether a target has the origin form and only bytes that nobody reads in two
/// ways (RFC 3986 §3.3 and §3.4).
fn is_plain_target(target: &[u8]) -> bool {
    target.first() == Some(&b'/') && target.iter().all(|byte| PLAIN[usize::from(*byte)])
}

const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+,;=:@%/?";
    let mut at = 0;
    while at < others.len() {
        plain[others[at] as usize] = true;
        at += 1;
    }
    plain
};

#[cfg(test)]
mod tests;

//! A service's response head in the words that a visitor will read.
//!
//! Pure. It follows hyper's rules of what is an answer and how its body is framed
//! (RFC 9112 §6.3), because a service must not notice which path a request took. One
//! exception: a connection to a service that speaks HTTP/1.0 is used once, where
//! hyper goes on in HTTP/1.0.

use std::mem::MaybeUninit;
use std::time::SystemTime;

use http::StatusCode;
use httparse::{Header, Response, Status};

use super::request::push_value;
use crate::forward::is_stream_kind;
use crate::headers;

/// Most fields of a response.
const FIELDS_MAX: usize = 256;

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Too little to say.
    More,
    /// An interim response of so many bytes: it is swallowed.
    Interim(usize),
    /// The answer.
    Answer(Answer),
    /// No answer at all.
    Garbage,
}

/// An answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of its head, in bytes.
    pub(super) length: usize,
    pub(super) status: StatusCode,
    pub(super) framing: Framing,
    /// Whether the connection can carry another request after it.
    pub(super) is_reusable: bool,
    /// Whether it may be quiet for long.
    pub(super) is_stream: bool,
    /// Whether the visitor was told that the connection ends.
    pub(super) is_last: bool,
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// It has none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What an answer is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The request was a HEAD.
    pub(super) is_head: bool,
    /// The connection ends after it.
    pub(super) is_last: bool,
    /// The request's id.
    pub(super) id: &'a [u8],
}

/// Looks at the front of `bytes`. For a [`Seen::Answer`], `out` is then the whole
/// head for the visitor.
pub(super) fn look(bytes: &[u8], asked: Asked<'_>, out: &mut Vec<u8>) -> Seen {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
    let mut response = Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Seen::More,
        Err(_) => return Seen::Garbage,
    };
    let is_1_1 = response.version == Some(1);
    match response.code.and_then(|code| StatusCode::from_u16(code).ok()) {
        // Nobody asked to switch.
        None | Some(StatusCode::SWITCHING_PROTOCOLS) => Seen::Garbage,
        Some(status) if status.is_informational() => Seen::Interim(length),
        Some(status) => match Fields::of(response.headers, is_1_1) {
            None => Seen::Garbage,
            Some(fields) => {
                let Some(framing) = fields.framing(status, asked.is_head, is_1_1) else {
                    return Seen::Garbage;
                };
                write(response.headers, &fields, status, framing, asked, out);
                let (is_reusable, is_stream) = (fields.is_kept, fields.is_stream);
                Seen::Answer(Answer { length, status, framing, is_reusable, is_stream, is_last: asked.is_last })
            }
        },
    }
}

/// What the fields say about the message.
#[derive(Debug, Default)]
struct Fields<'a> {
    length: Option<u64>,
    /// The last Transfer-Encoding.
    encoding: Option<&'a [u8]>,
    is_kept: bool,
    is_stream: bool,
    has_date: bool,
    /// Everything that `Connection` nominates.
    connections: Vec<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// `None`: the lengths are no lengths, or differ.
    fn of(fields: &[Header<'a>], is_1_1: bool) -> Option<Self> {
        let mut seen = Self::default();
        let mut closes = false;
        let mut lengths_hold = true;
        for Header { name, value } in fields {
            match name.as_bytes().first().map_or(0, u8::to_ascii_lowercase) {
                b'c' if name.eq_ignore_ascii_case("content-length") => {
                    lengths_hold &= seen.add_lengths(value).is_some();
                }
                b'c' if name.eq_ignore_ascii_case("connection") => {
                    closes |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"close"));
                    seen.connections.push(value);
                }
                b'c' if name.eq_ignore_ascii_case("content-type") => seen.is_stream |= is_stream_kind(value),
                b't' if name.eq_ignore_ascii_case("transfer-encoding") => seen.encoding = Some(value),
                b'd' if name.eq_ignore_ascii_case("date") => seen.has_date = true,
                _ => {}
            }
        }
        seen.is_kept = !closes && is_1_1;
        // A length beside an encoding is not looked at, true or not.
        (lengths_hold || seen.encoding.is_some()).then_some(seen)
    }

    fn add_lengths(&mut self, value: &[u8]) -> Option<()> {
        for one in tokens(value) {
            let digits = std::str::from_utf8(one).ok().filter(|one| one.bytes().all(|byte| byte.is_ascii_digit()))?;
            let number: u64 = digits.parse().ok().filter(|number| *number < u64::MAX - 2)?;
            if *self.length.get_or_insert(number) != number {
                return None;
            }
        }
        Some(())
    }

    fn framing(&self, status: StatusCode, is_head: bool, is_1_1: bool) -> Option<Framing> {
        if is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Some(Framing::Empty);
        }
        match self.encoding {
            Some(_) if !is_1_1 => None,
            Some(encoding) => {
                let last = encoding.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                let is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
                Some(if is_chunked { Framing::Chunked } else { Framing::UntilClose })
            }
            None => Some(self.length.map_or(Framing::UntilClose, Framing::Length)),
        }
    }

    fn nominates(&self, name: &[u8]) -> bool {
        let is_needed = matches!(name, b"host" | b"content-length");
        !is_needed && self.connections.iter().copied().flat_map(tokens).any(|token| token.eq_ignore_ascii_case(name))
    }
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn write(
    fields: &[Header<'_>],
    seen: &Fields<'_>,
    status: StatusCode,
    framing: Framing,
    asked: Asked<'_>,
    out: &mut Vec<u8>,
) {
    begin(out, status);
    let has_body = framing != Framing::Empty;
    for Header { name, value } in fields {
        let at = out.len();
        out.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
        let name = &out[at..];
        let passes = match name {
            b"content-length" | b"x-request-id" => false,
            b"trailer" => has_body,
            _ => !headers::is_hop_by_hop(name) && !seen.nominates(name),
        };
        if passes {
            push_value(out, value);
        } else {
            out.truncate(at);
        }
    }
    push(out, b"x-request-id", asked.id);
    match framing {
        Framing::Empty => {
            // A HEAD's length is the one a GET would have.
            if let Some(length) = seen.length.filter(|_| asked.is_head && seen.encoding.is_none()) {
                push(out, b"content-length", decimal(length, &mut [0; 20]));
            }
        }
        Framing::Length(length) => push(out, b"content-length", decimal(length, &mut [0; 20])),
        Framing::Chunked | Framing::UntilClose => push(out, b"transfer-encoding", b"chunked"),
    }
    end(out, seen.has_date, asked.is_last);
}

/// The status line.
pub(super) fn begin(out: &mut Vec<u8>, status: StatusCode) {
    out.clear();
    for part in ["HTTP/1.1 ", status.as_str(), " ", status.canonical_reason().unwrap_or("<none>"), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// One field.
pub(super) fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    push_value(out, value);
}

/// What every head ends with.
pub(super) fn end(out: &mut Vec<u8>, has_date: bool, is_last: bool) {
    if is_last {
        push(out, b"connection", b"close");
    }
    if !has_date {
        push(out, b"date", &date());
    }
    out.extend_from_slice(b"\r\n");
}

/// A number's digits.
pub(super) fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// Now, as the `Date` field writes it; formatted once a second.
fn date() -> [u8; 29] {
    use std::cell::Cell;
    thread_local! {
        static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (last, mut text) = LAST.get();
    if last != second {
        let written = httpdate::fmt_http_date(now);
        if let Ok(exact) = <[u8; 29]>::try_from(written.as_bytes()) {
            text = exact;
        }
        LAST.set((second, text));
    }
    text
}

#[cfg(test)]
mod tests;

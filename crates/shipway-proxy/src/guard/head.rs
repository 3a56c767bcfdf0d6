//! One request head: where it ends, and whether it can be read in one way only.

use httparse::{EMPTY_HEADER, Header, Request};

use super::{Framing, Refusal};
use crate::host;

/// Largest head, request line and headers, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most headers of one request.
pub(crate) const FIELDS_MAX: usize = 100;

/// Most digits of a Content-Length: every number of so many fits a `u64`.
const LENGTH_DIGITS_MAX: usize = 19;

/// Returns the length of the head that `bytes` begin with, once all of it is there.
///
/// `searched` remembers how far an earlier call came, so that a head that arrives
/// byte by byte is still searched only once. One blank line before a request is
/// let through (RFC 9112 §2.2), a second is not.
pub(crate) fn find_end(bytes: &[u8], searched: &mut usize) -> Result<Option<usize>, Refusal> {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let from = (*searched).max(skipped);
    for (at, _) in bytes.iter().enumerate().skip(from).filter(|(_, b)| **b == b'\n') {
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(Refusal::BareLineFeed);
        }
        if at == skipped + 1 {
            return Err(Refusal::Malformed);
        }
        if bytes[..at - 1].ends_with(b"\r\n") {
            let length = at + 1;
            return if length > HEAD_BYTES_MAX {
                Err(Refusal::HeadTooLarge)
            } else {
                *searched = 0;
                Ok(Some(length))
            };
        }
    }
    *searched = bytes.len();
    if bytes.len() > HEAD_BYTES_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(None)
}

/// Checks a whole head and says how its body is framed.
pub(super) fn check(head: &[u8]) -> Result<Framing, Refusal> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooManyFields),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        // The parser takes no folded header; only the words for it are missing.
        _ if is_folded(head) => return Err(Refusal::Folded),
        _ => return Err(Refusal::Malformed),
    }
    if request.method == Some("CONNECT") {
        return Err(Refusal::Connect);
    }
    let is_1_0 = request.version == Some(0);
    check_host(request.headers, is_1_0)?;
    framing(request.headers, is_1_0)
}

fn is_folded(head: &[u8]) -> bool {
    head.windows(3).any(|w| w == b"\r\n " || w == b"\r\n\t")
}

fn check_host(fields: &[Header<'_>], is_1_0: bool) -> Result<(), Refusal> {
    let mut hosts = named(fields, "host");
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::HostRepeated);
    }
    match first {
        Some(value) => host::parse(value).map(drop).map_err(|_| Refusal::HostInvalid),
        None if is_1_0 => Ok(()),
        None => Err(Refusal::HostMissing),
    }
}

fn framing(fields: &[Header<'_>], is_1_0: bool) -> Result<Framing, Refusal> {
    let length = content_length(fields)?;
    let is_chunked = is_chunked(fields)?;
    match (length, is_chunked) {
        (Some(_), true) => Err(Refusal::LengthAndEncoding),
        (None, true) if is_1_0 => Err(Refusal::EncodingVersion),
        (None, true) => Ok(Framing::Chunked),
        (Some(length), false) if length > 0 => Ok(Framing::Length(length)),
        _ if !is_1_0 && asks_upgrade(fields) => Ok(Framing::Upgrade),
        _ => Ok(Framing::Empty),
    }
}

fn content_length(fields: &[Header<'_>]) -> Result<Option<u64>, Refusal> {
    let mut values = named(fields, "content-length");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let plain = !value.is_empty() && value.len() <= LENGTH_DIGITS_MAX && value.iter().all(u8::is_ascii_digit);
    if values.next().is_some() || !plain {
        return Err(Refusal::Length);
    }
    let number = value.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
    Ok(Some(number))
}

fn is_chunked(fields: &[Header<'_>]) -> Result<bool, Refusal> {
    let mut values = named(fields, "transfer-encoding");
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(Refusal::Encoding),
    }
}

/// Whether another protocol is asked for. `h2c` is not: it would carry requests
/// past every check, and whoever speaks HTTP/2 can begin with it.
fn asks_upgrade(fields: &[Header<'_>]) -> bool {
    let mut upgrades = named(fields, "upgrade");
    let (Some(protocol), None) = (upgrades.next(), upgrades.next()) else {
        return false;
    };
    let is_h2c = tokens(protocol).any(|token| token.eq_ignore_ascii_case(b"h2c"));
    let is_nominated = named(fields, "connection").flat_map(tokens).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    !is_h2c && is_nominated && !protocol.is_empty()
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn named<'a>(fields: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value.trim_ascii())
}

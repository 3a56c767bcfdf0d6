//! A request's head, read strictly.
//!
//! `httparse` splits the lines; what it lets through and a peer could use to make
//! two programs see two different requests is refused here: a bare LF or CR,
//! Content-Length beside Transfer-Encoding, either of them or Host repeated, a
//! coding other than `chunked`, a version other than 1.0 and 1.1.

use std::ops::Range;

/// Longest head, request line included (431 beyond). A peer with more is not a browser.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most header lines in a head (431 beyond).
pub const HEADERS_MAX: usize = 100;

/// Longest method; the longest registered one has 17 letters.
const METHOD_BYTES_MAX: usize = 32;

/// A request that is not answered by content: the status, and what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 505.
    pub status: u16,
    /// For the peer, lower case.
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: 400, reason }
}

/// How the end of a request's body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Content-Length; never zero.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `OPTIONS *`.
    Asterisk,
    /// A path beginning with `/`, and what followed the first `?`; both as sent.
    Path {
        /// Still percent-encoded.
        path: String,
        /// Without the `?`.
        query: Option<String>,
    },
}

/// One header line. The name is in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Lower case.
    pub name: String,
    /// Without surrounding blanks; not always UTF-8.
    pub value: Vec<u8>,
}

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// As sent: methods are case-sensitive.
    pub method: String,
    /// What is asked for.
    pub target: Target,
    /// Host and port as sent (RFC 9110 §7.2), or empty.
    pub host: String,
    /// True for HTTP/1.1, false for HTTP/1.0.
    pub is_http11: bool,
    /// In the order sent.
    pub headers: Vec<Header>,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
}

impl Head {
    /// Returns the values of all headers of this (lower-case) name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.name == name).map(|header| header.value.as_slice())
    }

    /// Returns the value of the only header of this name, as text.
    ///
    /// A header that is repeated or not ASCII counts as absent: a condition or a
    /// range that can be read in two ways is best not read at all.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|header| header.name == name).map(|header| header.value.as_slice());
        let first = values.next()?;
        if values.next().is_some() || !first.is_ascii() {
            return None;
        }
        std::str::from_utf8(first).ok()
    }

    /// Returns the values of all headers of this name as one list (RFC 9110 §5.3).
    #[must_use]
    pub fn list(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.all(name).map(String::from_utf8_lossy).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

impl Head {
    /// The request that a local redirect to `path` makes of this one (RFC 3875 §6.2.2):
    /// a GET without a body.
    #[must_use]
    pub fn redirected(mut self, path: &str) -> Self {
        if self.method != "HEAD" {
            "GET".clone_into(&mut self.method);
        }
        self.target = split_query(path.split('#').next().unwrap_or("/"));
        self.framing = Framing::None;
        self
    }
}

/// Reads a head at the beginning of `bytes`; `None` when its end has not arrived.
///
/// `scanned` is how many bytes of it earlier calls have seen, so that a head that
/// drips in is not searched from its beginning every time.
///
/// # Errors
///
/// A [`Refusal`]; the connection cannot be used afterwards.
pub fn parse(bytes: &[u8], scanned: usize) -> Result<Option<(Head, usize)>, Refusal> {
    // RFC 9112 §2.2: one empty line before a request is tolerated.
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(end) = find_end(bytes, skipped, scanned)? else {
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err(too_large());
        }
        return Ok(None);
    };
    if end > HEAD_BYTES_MAX {
        return Err(too_large());
    }
    let head = parse_whole(&bytes[skipped..end])?;
    Ok(Some((head, end)))
}

const fn too_large() -> Refusal {
    Refusal { status: 431, reason: "the request's head is larger than 64 KiB" }
}

/// Finds the empty line that ends a head, refusing CR and LF that stand alone.
fn find_end(bytes: &[u8], start: usize, scanned: usize) -> Result<Option<usize>, Refusal> {
    // Far enough back to see a CR LF CR LF that was cut anywhere.
    let from = scanned.saturating_sub(3).max(start);
    for at in from..bytes.len() {
        match bytes[at] {
            b'\n' if at == start || bytes[at - 1] != b'\r' => {
                return Err(bad("a line ends with LF alone"));
            }
            b'\n' if at == start + 1 => return Err(bad("the request line is empty")),
            b'\n' if at >= start + 3 && bytes[at - 3..at] == *b"\r\n\r" => {
                return Ok(Some(at + 1));
            }
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Err(bad("a CR stands alone"));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn parse_whole(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut slots);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(used)) if used == bytes.len() => {}
        Ok(_) => return Err(bad("the request's head is malformed")),
        Err(error) => return Err(name_error(error)),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(bad("the request line is malformed"));
    };
    if method.len() > METHOD_BYTES_MAX {
        return Err(Refusal { status: 501, reason: "the method is longer than any known one" });
    }
    let is_http11 = version == 1;
    let headers: Vec<Header> = request.headers.iter().map(own).collect();
    let (target, authority) = parse_target(method, target)?;
    let host = match authority {
        // RFC 9112 §3.2.2: the target's own authority replaces Host, which must be there all the same.
        Some(authority) => find_host(&headers, is_http11).map(|_| authority)?,
        None => find_host(&headers, is_http11)?,
    };
    let framing = find_framing(&headers, is_http11)?;
    Ok(Head {
        method: method.to_owned(),
        target,
        host,
        is_http11,
        framing,
        keep_alive: find_keep_alive(&headers, is_http11),
        expects_continue: find_expectation(&headers, is_http11, framing)?,
        headers,
    })
}

fn name_error(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal { status: 431, reason: "more than 100 header lines" },
        httparse::Error::Version => Refusal { status: 505, reason: "only HTTP/1.0 and HTTP/1.1 are spoken here" },
        httparse::Error::HeaderName => bad("a header's name is malformed"),
        httparse::Error::HeaderValue => bad("a header's value is malformed"),
        _ => bad("the request line is malformed"),
    }
}

fn own(header: &httparse::Header<'_>) -> Header {
    Header { name: header.name.to_ascii_lowercase(), value: header.value.trim_ascii().to_vec() }
}

/// Splits a request target into what is asked for and, in absolute form, of whom.
fn parse_target(method: &str, target: &str) -> Result<(Target, Option<String>), Refusal> {
    if method == "CONNECT" {
        return Err(Refusal { status: 501, reason: "this is no proxy" });
    }
    if !target.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#') {
        return Err(bad("the request target has a character it may not have"));
    }
    if target == "*" && method == "OPTIONS" {
        return Ok((Target::Asterisk, None));
    }
    if target.starts_with('/') {
        return Ok((split_query(target), None));
    }
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| strip_prefix_ignore_case(target, scheme))
        .ok_or_else(|| bad("the request target is neither a path nor a URL"))?;
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = checked_host(&rest.as_bytes()[..cut])?;
    if authority.is_empty() {
        return Err(bad("the request target has no host"));
    }
    let path = &rest[cut..];
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((split_query(&path), Some(authority)))
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn split_query(target: &str) -> Target {
    match target.split_once('?') {
        Some((path, query)) => Target::Path { path: path.to_owned(), query: Some(query.to_owned()) },
        None => Target::Path { path: target.to_owned(), query: None },
    }
}

/// Finds Host: exactly one in HTTP/1.1, at most one in HTTP/1.0 (RFC 9112 §3.2).
fn find_host(headers: &[Header], is_http11: bool) -> Result<String, Refusal> {
    match only(headers, "host").map_err(|()| bad("Host is repeated"))? {
        Some(value) => checked_host(value),
        None if is_http11 => Err(bad("Host is missing")),
        None => Ok(String::new()),
    }
}

/// Checks a `uri-host [":" port]`, of which nothing but a name, an IPv4 address or
/// a bracketed IPv6 address can be meant.
fn checked_host(value: &[u8]) -> Result<String, Refusal> {
    let refusal = bad("Host is malformed");
    let text = std::str::from_utf8(value).map_err(|_| refusal)?;
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(refusal)?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let name_is_fine = if text.starts_with('[') {
        name.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
    };
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    if name_is_fine && port_is_fine && text.len() <= 255 { Ok(text.to_owned()) } else { Err(refusal) }
}

/// Returns the only value of this name, or that there are several.
fn only<'a>(headers: &'a [Header], name: &str) -> Result<Option<&'a [u8]>, ()> {
    let mut found = headers.iter().filter(|header| header.name == name);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(()),
        (first, None) => Ok(first.map(|header| header.value.as_slice())),
    }
}

/// RFC 9112 §6.3, without any of its leniencies.
fn find_framing(headers: &[Header], is_http11: bool) -> Result<Framing, Refusal> {
    let length = only(headers, "content-length").map_err(|()| bad("Content-Length is repeated"))?;
    let coding = only(headers, "transfer-encoding").map_err(|()| bad("Transfer-Encoding is repeated"))?;
    match (length, coding) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(bad("Content-Length and Transfer-Encoding are both given")),
        (Some(length), None) => parse_length(length),
        (None, Some(_)) if !is_http11 => Err(bad("Transfer-Encoding in HTTP/1.0")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(Refusal { status: 501, reason: "the only transfer coding spoken here is chunked" }),
    }
}

fn parse_length(value: &[u8]) -> Result<Framing, Refusal> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    match number {
        Some(0) if digits => Ok(Framing::None),
        Some(length) if digits => Ok(Framing::Length(length)),
        _ => Err(bad("Content-Length is not a number")),
    }
}

fn find_keep_alive(headers: &[Header], is_http11: bool) -> bool {
    let has = |wanted: &[u8]| {
        headers
            .iter()
            .filter(|header| header.name == "connection")
            .flat_map(|header| header.value.split(|byte| *byte == b','))
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    if is_http11 { !has(b"close") } else { has(b"keep-alive") && !has(b"close") }
}

/// RFC 9110 §10.1.1. A request without a body has nothing to wait for.
fn find_expectation(headers: &[Header], is_http11: bool, framing: Framing) -> Result<bool, Refusal> {
    if !is_http11 {
        return Ok(false);
    }
    let mut expects = false;
    for header in headers.iter().filter(|header| header.name == "expect") {
        if !header.value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal { status: 417, reason: "the only expectation met here is 100-continue" });
        }
        expects = framing != Framing::None;
    }
    Ok(expects)
}

/// Turns `%41` into `A`. `None` for a broken escape or an encoded NUL, which no
/// environment variable can carry.
#[must_use]
pub fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest: Range<usize> = 0..bytes.len();
    while let Some(at) = rest.next() {
        if bytes[at] != b'%' {
            decoded.push(bytes[at]);
            continue;
        }
        let hex = |at: Option<usize>| at.and_then(|at| char::from(bytes[at]).to_digit(16));
        let (high, low) = (hex(rest.next())?, hex(rest.next())?);
        match u8::try_from(high * 16 + low) {
            Ok(0) | Err(_) => return None,
            Ok(byte) => decoded.push(byte),
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests;

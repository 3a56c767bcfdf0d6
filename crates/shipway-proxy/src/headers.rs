//! What of a message's headers passes the proxy, and what it adds.
//!
//! Headers about one connection stop here (RFC 9110 §7.6.1), those that a
//! `Connection` header nominates included. Headers by which a service learns who
//! asks are ours alone to set: a visitor's own are dropped, also when they are
//! spelled with underscores, which CGI and WSGI cannot tell from hyphens.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

/// About one connection only. `Trailer` is not among them: it describes the message.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Prefixes and names that only we may set, with hyphens.
const OURS_PREFIXES: [&str; 3] = ["x-forwarded-", "x-original-", "shipway-"];
const OURS: [&str; 4] = ["forwarded", "x-real-ip", "x-request-id", "proxy"];

/// Must not be spelled with underscores: the framing and routing of a message.
const FRAMING: [&str; 3] = ["content-length", "host", "transfer-encoding"];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-original-host");
const X_ORIGINAL_SUBDOMAIN: HeaderName = HeaderName::from_static("x-original-subdomain");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
/// Names the request in logs and error pages.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A visitor's address as headers want it, made once for a connection.
#[derive(Debug)]
pub(crate) struct VisitorAddress {
    address: HeaderValue,
    /// As `Forwarded` writes it (RFC 7239 §6).
    node: Box<str>,
}

impl VisitorAddress {
    pub(crate) fn new(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let node = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
        Self { address: text(&address.to_string()), node: node.into() }
    }
}

/// Headers that are added to a request at most: room for them is made at once.
const ADDED_MAX: usize = 10;

/// What a service is told about the request's way.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    /// The visitor.
    pub(crate) from: &'a VisitorAddress,
    /// The host it asked for, with port, as it wrote it.
    pub(crate) host: &'a HeaderValue,
    /// The label of the service, or `None` for the API.
    pub(crate) label: Option<&'a str>,
    /// The request's name.
    pub(crate) request_id: &'a HeaderValue,
    /// The protocol to switch to, for an upgrade.
    pub(crate) upgrade: Option<HeaderValue>,
}

/// Makes a visitor's headers fit for a service.
pub(crate) fn for_service(headers: &mut HeaderMap, way: &Way<'_>) {
    let wants_trailers = lists(headers, &TE, "trailers");
    headers.reserve(ADDED_MAX);
    strip_hop_by_hop(headers);
    strip_ours(headers);
    // hyper has answered it, or will, when the body is first wanted.
    headers.remove(EXPECT);
    join_cookies(headers);
    headers.insert(HOST, way.host.clone());
    set_forwarding(headers, way);
    match (&way.upgrade, wants_trailers) {
        (Some(protocol), _) => {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol.clone());
        }
        (None, true) => {
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        (None, false) => {}
    }
}

fn set_forwarding(headers: &mut HeaderMap, way: &Way<'_>) {
    headers.insert(X_FORWARDED_FOR, way.from.address.clone());
    headers.insert(X_FORWARDED_HOST, way.host.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    // A host has passed our own grammar: nothing in it needs escaping.
    let host = way.host.to_str().unwrap_or_default();
    headers.insert(FORWARDED, text(&["for=", &way.from.node, ";host=\"", host, "\";proto=http"].concat()));
    if let Some(label) = way.label {
        headers.insert(X_ORIGINAL_HOST, way.host.clone());
        headers.insert(X_ORIGINAL_SUBDOMAIN, text(label));
    }
    headers.insert(X_REQUEST_ID, way.request_id.clone());
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Makes a service's headers fit for a visitor.
pub(crate) fn for_visitor(headers: &mut HeaderMap, request_id: &HeaderValue) {
    if headers.contains_key(TRANSFER_ENCODING) {
        // The body was read by its encoding; a length beside it is a lie or a trap.
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
    headers.insert(X_REQUEST_ID, request_id.clone());
}

/// Makes a 101's headers fit for a visitor: it names the protocol.
pub(crate) fn for_switch(headers: &mut HeaderMap, request_id: &HeaderValue) {
    let protocol = headers.get(UPGRADE).cloned();
    for_visitor(headers, request_id);
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
}

/// Keeps of trailers what may follow a body: nothing that frames, routes or forwards.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_ours(trailers);
    for name in [CONTENT_LENGTH, HOST, TRAILER] {
        trailers.remove(name);
    }
}

/// Makes several equal lengths one; `false`: they differ, or are no lengths.
pub(crate) fn has_one_length(headers: &mut HeaderMap) -> bool {
    if headers.contains_key(TRANSFER_ENCODING) || !headers.contains_key(CONTENT_LENGTH) {
        return true;
    }
    let values = headers.get_all(CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let number = |text: &[u8]| {
        let text =
            std::str::from_utf8(text.trim_ascii()).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        text.parse::<u64>().ok()
    };
    let mut numbers = values.map(number);
    let Some(first) = numbers.next().flatten() else {
        return false;
    };
    let is_one = numbers.all(|number| number == Some(first));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(first));
    is_one
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Headers that `Connection` nominates, except what a message cannot do without.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let needed = [HOST, CONTENT_LENGTH];
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !needed.contains(name))
        .collect()
}

/// Whether a field, its name in lower case, is about one connection only.
pub(crate) fn is_hop_by_hop(name: &[u8]) -> bool {
    let is_likely = matches!(name.first(), Some(b'c' | b'k' | b'p' | b't' | b'u'));
    is_likely && HOP_BY_HOP.iter().any(|one| one.as_bytes() == name)
}

/// Whether a visitor's field, its name in lower case, is not passed on.
pub(crate) fn stops_here(name: &[u8]) -> bool {
    // Asked of every field: most begin with another letter than all of these.
    let is_likely = matches!(name.first(), Some(b'c' | b'f' | b'h' | b'k' | b'p' | b's' | b't' | b'u' | b'x'));
    (is_likely || name.contains(&b'_')) && (is_hop_by_hop(name) || std::str::from_utf8(name).is_ok_and(is_ours))
}

/// What a service is told about every request of one visitor for one host, but for
/// the request's id: these fields in this order.
pub(crate) fn forwarding(from: &VisitorAddress, host: &HeaderValue, label: &str) -> HeaderMap {
    let request_id = HeaderValue::from_static("");
    let way = Way { from, host, label: Some(label), request_id: &request_id, upgrade: None };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.clone());
    set_forwarding(&mut headers, &way);
    headers.remove(X_REQUEST_ID);
    headers
}

fn strip_ours(headers: &mut HeaderMap) {
    // Asked first, because usually there is none and nothing needs to be collected.
    if !headers.keys().any(|name| is_ours(name.as_str())) {
        return;
    }
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_ours(name: &str) -> bool {
    if name.contains('_') {
        let spelled = name.replace('_', "-");
        return is_reserved(&spelled) || FRAMING.contains(&spelled.as_str()) || HOP_BY_HOP.contains(&spelled.as_str());
    }
    is_reserved(name)
}

fn is_reserved(name: &str) -> bool {
    OURS.contains(&name) || OURS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// HTTP/2 may send cookies apart (RFC 9113 §8.2.3); HTTP/1 knows one header.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Whether a list header has `token` among its values.
pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests;

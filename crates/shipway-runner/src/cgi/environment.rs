//! What a script is told about its request (RFC 3875 §4.1).
//!
//! Three layers, each stronger than the one below:
//!
//! ```text
//! REQUEST_METHOD, PATH_INFO, …   the standard's own variables
//! the service's environment      what the user set; the runner's own, minus LISTEN_*
//! HTTP_*                         the visitor's headers
//! ```
//!
//! So a visitor can never override what the user set: with `HTTP_TOKEN` in the
//! service's environment, a header `Token:` is not passed on.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;

use crate::http::head::{self, Framing, Head, Target};

/// Tells the processes of one request from those of another (see [`crate::family`]).
pub const MARKER: &str = "SHIPWAY_REQUEST_ID";

/// What `PATH` is when the service's environment has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Headers that are not passed on as `HTTP_*`: those with a variable of their
/// own, those that speak of this connection only, and `Proxy`, which would
/// become the `HTTP_PROXY` that many programs obey (httpoxy).
const NOT_PASSED: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "keep-alive",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The environment a script would have if there were no request: what all
/// requests share.
#[derive(Debug, Clone, Default)]
pub struct Base(BTreeMap<Vec<u8>, Vec<u8>>);

impl Base {
    /// Takes the runner's own environment, without what was said to the runner itself.
    pub fn new(own: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut variables: BTreeMap<_, _> = own
            .map(|(name, value)| (name.into_vec(), value.into_vec()))
            .filter(|(name, _)| !name.starts_with(b"LISTEN_") && !name.is_empty())
            .collect();
        variables.entry(b"PATH".to_vec()).or_insert_with(|| DEFAULT_PATH.as_bytes().to_vec());
        Self(variables)
    }
}

/// A request whose path cannot be told to a script: a broken escape, or NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPath;

/// Makes the environment of one request's script, as `NAME=value`.
///
/// # Errors
///
/// [`BadPath`], which is a 400.
pub fn build(base: &Base, head: &Head, script: &str, marker: &str) -> Result<Vec<CString>, BadPath> {
    let Target::Path { path, query } = &head.target else {
        return Err(BadPath);
    };
    let mut variables: BTreeMap<Vec<u8>, Vec<u8>> = from_headers(head);
    variables.extend(base.0.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut set = |name: &str, value: &[u8]| {
        variables.insert(name.as_bytes().to_vec(), value.to_vec());
    };
    let is_https = head.only("x-forwarded-proto") == Some("https");
    let (server, port) = server(head, is_https);
    let query_string = query.as_deref().unwrap_or("");
    let uri = query.as_ref().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    set("GATEWAY_INTERFACE", b"CGI/1.1");
    set("SERVER_SOFTWARE", concat!("shipway-runner/", env!("CARGO_PKG_VERSION")).as_bytes());
    set("SERVER_PROTOCOL", if head.is_http11 { b"HTTP/1.1" } else { b"HTTP/1.0" });
    set("SERVER_NAME", server.as_bytes());
    set("SERVER_PORT", port.as_bytes());
    set("REQUEST_METHOD", head.method.as_bytes());
    set("REQUEST_URI", uri.as_bytes());
    set("REQUEST_SCHEME", if is_https { b"https" } else { b"http" });
    set("SCRIPT_NAME", b"");
    set("SCRIPT_FILENAME", script.as_bytes());
    set("PATH_INFO", &head::percent_decode(path).ok_or(BadPath)?);
    set("QUERY_STRING", query_string.as_bytes());
    set("REMOTE_ADDR", remote_address(head).as_bytes());
    set(MARKER, marker.as_bytes());
    if let Framing::Length(length) = head.framing {
        set("CONTENT_LENGTH", length.to_string().as_bytes());
    }
    if let (Some(media_type), true) = (head.all("content-type").next(), head.framing != Framing::None) {
        set("CONTENT_TYPE", media_type);
    }
    if is_https {
        set("HTTPS", b"on");
    }
    Ok(variables.into_iter().filter_map(line).collect())
}

/// A variable with a NUL in it cannot be told; the parser lets none through.
fn line((mut name, value): (Vec<u8>, Vec<u8>)) -> Option<CString> {
    name.push(b'=');
    name.extend(value);
    CString::new(name).ok()
}

/// Turns headers into `HTTP_*`. A name with anything but letters, digits and
/// hyphens is dropped: `X_A` and `X-A` would become one variable, and a peer
/// that is only allowed to send one of them could send the other.
fn from_headers(head: &Head) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut variables: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for header in &head.headers {
        let is_plain = header.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_plain || NOT_PASSED.contains(&header.name.as_str()) {
            continue;
        }
        let name = format!("HTTP_{}", header.name.replace('-', "_").to_ascii_uppercase());
        let separator: &[u8] = if header.name == "cookie" { b"; " } else { b", " };
        variables
            .entry(name.into_bytes())
            .and_modify(|value| {
                value.extend_from_slice(separator);
                value.extend_from_slice(&header.value);
            })
            .or_insert_with(|| header.value.clone());
    }
    variables
}

/// `SERVER_NAME` and `SERVER_PORT`, from the host the visitor asked for.
fn server(head: &Head, is_https: bool) -> (&str, &str) {
    let host = head.host.as_str();
    let colon = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let (name, port) = match colon {
        Some(at) => (&host[..at], &host[at + 1..]),
        None => (host, ""),
    };
    let default = if is_https { "443" } else { "80" };
    (if name.is_empty() { "localhost" } else { name }, if port.is_empty() { default } else { port })
}

/// The visitor, as the proxy says. Without its word nobody knows, and a visitor
/// must never be taken for localhost: `0.0.0.0`.
fn remote_address(head: &Head) -> String {
    head.list("x-forwarded-for")
        .and_then(|list| list.split(',').next()?.trim().parse::<IpAddr>().ok())
        .map_or_else(|| "0.0.0.0".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(request: &str, own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let text = format!("{}\r\n\r\n", request.replace('\n', "\r\n"));
        let (head, _) = head::parse(text.as_bytes(), 0).unwrap().unwrap();
        let base = Base::new(own.iter().map(|(name, value)| (name.into(), value.into())));
        build(&base, &head, "/srv/content", "m1")
            .unwrap()
            .into_iter()
            .map(|line| {
                let line = line.into_string().unwrap();
                let (name, value) = line.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect()
    }

    #[test]
    fn every_variable_the_standard_demands_is_there() {
        let seen = environment(
            "POST /a%20b/c?x=1&y=%20 HTTP/1.1\nHost: site.example:8080\nContent-Type: text/x\nContent-Length: 3\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: https",
            &[],
        );
        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", "site.example"),
            ("SERVER_PORT", "8080"),
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/a%20b/c?x=1&y=%20"),
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", "/a b/c"),
            ("QUERY_STRING", "x=1&y=%20"),
            ("CONTENT_LENGTH", "3"),
            ("CONTENT_TYPE", "text/x"),
            ("REMOTE_ADDR", "192.0.2.7"),
            ("HTTPS", "on"),
            ("HTTP_HOST", "site.example:8080"),
            (MARKER, "m1"),
            ("PATH", DEFAULT_PATH),
        ] {
            assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!seen.contains_key("HTTP_CONTENT_TYPE"));
        assert!(!seen.contains_key("HTTP_CONTENT_LENGTH"));
    }

    #[test]
    fn a_request_without_a_body_has_no_content_variables() {
        let seen = environment("GET / HTTP/1.0\nContent-Type: a/b\nContent-Length: 0", &[]);
        assert!(!seen.contains_key("CONTENT_LENGTH") && !seen.contains_key("CONTENT_TYPE"));
        assert_eq!(seen["QUERY_STRING"], "");
        assert_eq!(seen["SERVER_NAME"], "localhost");
        assert_eq!(seen["SERVER_PORT"], "80");
        assert_eq!(seen["REMOTE_ADDR"], "0.0.0.0");
        assert!(!seen.contains_key("HTTPS"));
    }

    #[test]
    fn headers_cannot_pass_for_something_else() {
        let seen = environment(
            "GET / HTTP/1.1\nHost: a\nProxy: evil:1\nX_Token: evil\nX-Token: fine\nX-A: 1\nX-A: 2\nCookie: a=1\nCookie: b=2\nToken: evil\nConnection: x",
            &[("HTTP_TOKEN", "mine"), ("PATH_INFO", "mine"), ("LISTEN_FDS", "1"), ("KEY", "v")],
        );
        assert!(!seen.contains_key("HTTP_PROXY"));
        assert!(!seen.contains_key("HTTP_CONNECTION"));
        assert!(!seen.contains_key("LISTEN_FDS"));
        assert_eq!(seen["HTTP_X_TOKEN"], "fine");
        assert_eq!(seen["HTTP_X_A"], "1, 2");
        assert_eq!(seen["HTTP_COOKIE"], "a=1; b=2");
        assert_eq!(seen["HTTP_TOKEN"], "mine");
        assert_eq!(seen["PATH_INFO"], "/");
        assert_eq!(seen["KEY"], "v");
    }

    #[test]
    fn the_server_may_be_an_ipv6_address() {
        let seen = environment("GET / HTTP/1.1\nHost: [::1]\nX-Forwarded-For: bogus", &[]);
        assert_eq!((seen["SERVER_NAME"].as_str(), seen["SERVER_PORT"].as_str()), ("[::1]", "80"));
        assert_eq!(seen["REMOTE_ADDR"], "0.0.0.0");
        let seen = environment("GET / HTTP/1.1\nHost: [::1]:81", &[]);
        assert_eq!((seen["SERVER_NAME"].as_str(), seen["SERVER_PORT"].as_str()), ("[::1]", "81"));
    }
}

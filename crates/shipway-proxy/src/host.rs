//! Which name a request means.
//!
//! A host is parsed once, strictly: what is not plainly a name or an address is
//! refused, so that the proxy and the service can never read it differently.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

/// Longest host, port included: a name has at most 253 bytes (RFC 1035 §2.3.4).
const LENGTH_MAX: usize = 253 + 1 + 6;

/// Why a host cannot be used. All of them are a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    /// There is none.
    #[error("the request has no Host")]
    Missing,
    /// There is more than one.
    #[error("the request has more than one Host")]
    Repeated,
    /// It is not a host with an optional port.
    #[error("the Host is not valid")]
    Invalid,
    /// The request's target names another one (RFC 9112 §3.2.2).
    #[error("the request's target and its Host differ")]
    Differs,
}

/// Checks a `Host` and returns it in lower case without port and trailing dot.
pub(crate) fn parse(text: &[u8]) -> Result<String, HostError> {
    if text.is_empty() || text.len() > LENGTH_MAX {
        return Err(HostError::Invalid);
    }
    let text = std::str::from_utf8(text).map_err(|_| HostError::Invalid)?;
    let (name, port) = split_port(text)?;
    let plain_port = port.is_none_or(|port| port.len() <= 5 && digits(port));
    let name = name.strip_suffix('.').unwrap_or(name);
    if !plain_port || !(is_name(name) || is_bracketed(name)) {
        return Err(HostError::Invalid);
    }
    Ok(name.to_ascii_lowercase())
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), HostError> {
    if let Some(end) = text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        let (literal, rest) = text.split_at(end + 2);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((literal, Some(port))),
            None if rest.is_empty() => Ok((literal, None)),
            None => Err(HostError::Invalid),
        };
    }
    Ok(match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    })
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Letters, digits, hyphens, dots and underscores, no empty label.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    name.split('.').all(|label| !label.is_empty() && label.len() <= 63 && label.bytes().all(plain))
}

fn is_bracketed(name: &str) -> bool {
    name.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Returns the one host that a request means, as [`parse`] gives it.
///
/// HTTP/2 has it in `:authority`, HTTP/1 in `Host`, an absolute target in both;
/// where there are two they must agree.
pub(crate) fn of_request(parts: &Parts) -> Result<String, HostError> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(HostError::Repeated);
    }
    let field = field.map(|value| parse(value.as_bytes())).transpose()?;
    let target = parts.uri.authority().map(of_authority).transpose()?;
    match (field, target) {
        (None, None) => Err(HostError::Missing),
        (Some(host), None) | (None, Some(host)) => Ok(host),
        (Some(host), Some(target)) if host == target => Ok(host),
        (Some(_), Some(_)) => Err(HostError::Differs),
    }
}

fn of_authority(authority: &Authority) -> Result<String, HostError> {
    // Userinfo is refused: `parse` knows no `@`.
    parse(authority.as_str().as_bytes())
}

/// What a host names here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// The API.
    Api,
    /// A service, by its label.
    Service(&'a str),
    /// Nothing of ours.
    Nothing,
}

/// The names this proxy answers to.
#[derive(Debug)]
pub(crate) struct Hosts {
    suffixes: Vec<String>,
    api: Vec<String>,
}

impl Hosts {
    /// `suffixes` and `api` as configured; loopback names are the API's too.
    pub(crate) fn new(suffixes: &[String], api: &[String]) -> Self {
        let lower = |names: &[String]| -> Vec<String> {
            names
                .iter()
                .map(|name| name.trim_matches('.').to_ascii_lowercase())
                .filter(|name| !name.is_empty())
                .collect()
        };
        let mut api = lower(api);
        api.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        Self { suffixes: lower(suffixes), api }
    }

    /// Says what `host` (as [`parse`] gives it) names.
    pub(crate) fn name<'a>(&self, host: &'a str) -> Named<'a> {
        if self.api.iter().any(|api| api == host) {
            return Named::Api;
        }
        let label = self
            .suffixes
            .iter()
            .find_map(|suffix| host.strip_suffix(suffix.as_str()).and_then(|rest| rest.strip_suffix('.')));
        match label {
            Some(label) if !label.contains('.') => Named::Service(label),
            _ => Named::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;

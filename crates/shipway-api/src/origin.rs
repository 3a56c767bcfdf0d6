//! Whether a request could come from somebody else's web page.
//!
//! A browser on the operator's machine reaches the API on loopback like the
//! operator does, and will carry a request for any page it shows: one on the
//! internet, or one that a service of Shipway's own serves. Two checks keep those
//! out. `Host` must name the API, which ends DNS rebinding. And a request that
//! changes something, or asks for an upgrade, must not say that it comes from
//! another origin: browsers tell by `Origin` and `Sec-Fetch-Site`, and a page
//! cannot forge either. Programs send neither and are not concerned.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, Method, header};
use shipway_api_types::ProblemCode;

use crate::reply::Reject;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Refuses a request whose `Host` names no host of the API.
pub(crate) fn check_host(headers: &HeaderMap, api_hosts: &BTreeSet<String>) -> Result<(), Reject> {
    let host = single(headers, &header::HOST).and_then(name_of);
    let known =
        host.as_deref().is_some_and(|name| LOOPBACK_NAMES.contains(&name) || api_hosts.iter().any(|api| api == name));
    if known {
        return Ok(());
    }
    Err(Reject::new(ProblemCode::WrongHost, "the Host header names no host of the API")
        .hint("use the API's host name (`api.host`), or localhost on this machine"))
}

/// The name in a `Host` header: lower case, without port and final dot.
fn name_of(authority: &str) -> Option<String> {
    let name = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => {
            let port = &authority[colon + 1..];
            if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            &authority[..colon]
        }
        _ => authority,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// Refuses what a page of another origin could have sent, where it matters:
/// methods that change something, and every upgrade.
pub(crate) fn check(method: &Method, headers: &HeaderMap) -> Result<(), Reject> {
    let harmless = method.is_safe() && !headers.contains_key(header::UPGRADE);
    if harmless || (site_is_ours(headers) && origin_is_ours(headers)) {
        return Ok(());
    }
    Err(Reject::new(ProblemCode::ForeignOrigin, "this request comes from a web page of another origin"))
}

fn site_is_ours(headers: &HeaderMap) -> bool {
    // `same-site` is not enough: services are our site, and are not trusted.
    headers.get_all(SEC_FETCH_SITE).iter().all(|site| site == "same-origin" || site == "none")
}

fn origin_is_ours(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
    if origins.peek().is_none() {
        return true;
    }
    let Some(host) = single(headers, &header::HOST) else {
        return false;
    };
    origins.all(|origin| {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    })
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        rows.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[track_caller]
    fn check_host_is(host: &str, known: bool) {
        let hosts = BTreeSet::from(["api.example.com".to_owned()]);
        let result = check_host(&headers(&[("host", host)]), &hosts);
        assert_eq!(result.is_ok(), known, "{host}");
    }

    #[test]
    fn only_hosts_of_the_api_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "127.0.0.1:1",
            "[::1]:8080",
            "[::1]",
            "api.example.com",
            "API.example.com.:80",
        ] {
            check_host_is(host, true);
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "x.localhost",
            "localhost.evil.example",
            "localhost:80:80",
            "localhost:evil",
            "api.example.com@evil",
            "127.0.0.2",
        ] {
            check_host_is(host, false);
        }
    }

    #[test]
    fn a_repeated_or_missing_host_is_refused() {
        let mut twice = headers(&[("host", "localhost")]);
        twice.append(header::HOST, "localhost".parse().unwrap());
        assert!(check_host(&twice, &BTreeSet::new()).is_err());
        assert!(check_host(&HeaderMap::new(), &BTreeSet::new()).is_err());
    }

    #[track_caller]
    fn check_is(method: &Method, rows: &[(&'static str, &str)], allowed: bool) {
        let mut all = headers(rows);
        all.insert(header::HOST, "localhost:8080".parse().unwrap());
        assert_eq!(check(method, &all).is_ok(), allowed, "{method} {rows:?}");
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        for (rows, allowed) in [
            (&[] as &[_], true),
            (&[("origin", "http://localhost:8080")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "null")], false),
            (&[("origin", "http://localhost:9090")], false),
            (&[("origin", "http://x.localhost:8080")], false),
            (&[("origin", "http://localhost:8080.evil.example")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
        ] {
            check_is(&Method::PUT, rows, allowed);
            check_is(&Method::DELETE, rows, allowed);
            check_is(&Method::GET, rows, true);
        }
    }

    #[test]
    fn an_upgrade_counts_as_a_change() {
        let foreign = [("upgrade", "websocket"), ("origin", "http://evil.example")];
        check_is(&Method::GET, &foreign, false);
        check_is(&Method::GET, &foreign[..1], true);
    }
}

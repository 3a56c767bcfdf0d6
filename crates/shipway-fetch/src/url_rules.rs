//! What a URL itself may look like, before anything is resolved.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use crate::address::special_use;
use crate::allow::AllowList;
use crate::error::FetchError;

/// A longer URL is refused: no origin needs one.
pub(crate) const URL_BYTES_MAX: usize = 2048;

/// Names of this machine or of nobody's on the public internet.
const LOCAL_NAMES: [&str; 4] = ["localhost", "local", "broadcasthost", "internal"];

/// Checks a URL as it was given or as a redirect names it.
pub(crate) fn check(text: &str, ports: &[u16], allow: &AllowList) -> Result<Url, FetchError> {
    if text.len() > URL_BYTES_MAX {
        return Err(FetchError::refused(format!("a URL has at most {URL_BYTES_MAX} bytes")));
    }
    let url = Url::parse(text).map_err(|error| FetchError::refused(format!("this is no URL: {error}")))?;
    check_parsed(&url, ports, allow)?;
    Ok(url)
}

pub(crate) fn check_parsed(url: &Url, ports: &[u16], allow: &AllowList) -> Result<(), FetchError> {
    if !matches!(url.scheme(), "http" | "https") {
        let rule = format!("the scheme `{}` is not fetched; http and https are", url.scheme());
        return Err(FetchError::refused(rule));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::refused("a URL with a user or password in it is not fetched"));
    }
    let port = url.port_or_known_default().unwrap_or(0);
    match url.host() {
        None => Err(FetchError::refused("the URL has no host")),
        Some(Host::Domain(name)) => check_name(name, port, ports, allow),
        Some(Host::Ipv4(address)) => check_address(IpAddr::V4(address), port, ports, allow),
        Some(Host::Ipv6(address)) => check_address(IpAddr::V6(address), port, ports, allow),
    }
}

fn check_name(name: &str, port: u16, ports: &[u16], allow: &AllowList) -> Result<(), FetchError> {
    let bare = name.trim_end_matches('.').to_ascii_lowercase();
    let last = bare.rsplit('.').next().unwrap_or_default();
    if bare.is_empty() || LOCAL_NAMES.contains(&last) {
        return Err(FetchError::refused(format!(
            "`{name}` names this machine or this network, which is not fetched from"
        )));
    }
    if !ports.contains(&port) && !allow.may_exempt(port) {
        return Err(port_refused(port, ports));
    }
    Ok(())
}

/// Checks an address that stands in a URL, or that a name was resolved to.
pub(crate) fn check_address(address: IpAddr, port: u16, ports: &[u16], allow: &AllowList) -> Result<(), FetchError> {
    let pair = SocketAddr::new(address, port);
    if allow.exempts(pair) {
        return Ok(());
    }
    if let Some(what) = special_use(address) {
        return Err(address_refused(pair, what));
    }
    if ports.contains(&port) { Ok(()) } else { Err(port_refused(port, ports)) }
}

/// The refusal of an address, and what an operator can do about it.
pub(crate) fn address_refused(pair: SocketAddr, what: &str) -> FetchError {
    FetchError::Refused {
        rule: format!("{} is not fetched from: {what}", pair.ip()),
        hint: Some(format!("an operator can exempt it: fetch.allow={pair}")),
    }
}

fn port_refused(port: u16, ports: &[u16]) -> FetchError {
    let usual: Vec<String> = ports.iter().map(u16::to_string).collect();
    FetchError::refused(format!("port {port} is not fetched from; {} are", usual.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, says: &str) {
        let error = check(text, &[80, 443], &AllowList::default()).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }

    #[test]
    fn every_way_to_write_a_private_address_is_seen_through() {
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://169.254.169.254/latest",
            "http://①②⑦.0.0.1/",
            "http://127。0。0。1/",
            "http://127.0.0.1./",
            "http://0x7f.1/",
            "http://0x7f.0x0.0x0.0x1/",
            "http://017700000001/",
            "http://[::127.0.0.1]/",
            "http://[2002:7f00:1::]/",
            "http://[fd00:ec2::254]/",
            "http://%31%32%37.0.0.1/",
        ] {
            refused(text, "is not fetched from");
        }
        for text in [
            "http://localhost/",
            "http://localhost./",
            "http://LOCALHOST/",
            "http://a.localhost/",
            "http://printer.local/",
            "http://metadata.google.internal/",
            "http://broadcasthost/",
        ] {
            refused(text, "names this machine");
        }
    }

    #[test]
    fn other_schemes_users_and_ports_are_refused() {
        refused("ftp://example.org/", "scheme");
        refused("file:///etc/passwd", "scheme");
        refused("gopher://example.org/", "scheme");
        refused("http://user@example.org/", "user or password");
        refused("http://:x@example.org/", "user or password");
        refused("http://example.org:22/", "port 22");
        refused("http://1.1.1.1:6379/", "port 6379");
        refused("//example.org/", "no URL");
        refused(&format!("http://example.org/{}", "a".repeat(URL_BYTES_MAX)), "at most");
    }

    #[test]
    fn public_ones_and_exempt_ones_pass() {
        let allow: AllowList = "127.0.0.1:8099,10.0.0.0/8".parse().unwrap();
        for text in [
            "http://example.org/a?b#c",
            "https://example.org:443/",
            "http://1.1.1.1/",
            "http://127.0.0.1:8099/x",
            "http://10.1.2.3/",
            "http://10.1.2.3:8098/",
        ] {
            assert!(check(text, &[80, 443], &allow).is_ok(), "{text}");
        }
        assert!(check("http://127.0.0.1:8098/", &[80, 443], &allow).is_err());
        assert!(check("http://11.1.2.3:8098/", &[80, 443], &allow).is_err());
    }
}

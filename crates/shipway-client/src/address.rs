//! Where the API is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::{Host, Url};

/// Where the API is: `http://host[:port]` or `unix:///path/to/socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP listener.
    Http {
        /// Name or address, as it goes into `Host`.
        host: String,
        /// Port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// Why a text is no address of an API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL at all.
    #[error("expected http://host[:port] or unix:///path, not `{0}`")]
    NotAnAddress(String),
    /// HTTPS is not spoken yet.
    #[error("https is not supported yet: use http, or a tunnel")]
    Https,
}

impl Address {
    /// For the `Host` header. A unix socket has no name, so it is localhost.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Http { host, port: 80 } => host.clone(),
            Self::Http { host, port } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Whether what is sent there stays on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Http { host, .. } => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::NotAnAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return path.starts_with('/').then(|| Self::Unix(PathBuf::from(path))).ok_or_else(wrong);
        }
        let url = Url::parse(text).map_err(|_| wrong())?;
        match url.scheme() {
            "http" => {}
            "https" => return Err(AddressError::Https),
            _ => return Err(wrong()),
        }
        let plain = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let host = url.host().filter(|_| plain).ok_or_else(wrong)?;
        Ok(Self::Http {
            host: match host {
                Host::Ipv6(address) => format!("[{address}]"),
                other => other.to_string(),
            },
            port: url.port().unwrap_or(80),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { .. } => write!(f, "http://{}", self.authority()),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in ["http://localhost", "http://127.0.0.1:8080", "http://[::1]:8080", "unix:///run/shipway/api.sock"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert!(address.is_local(), "{text}");
        }
        let far: Address = "http://shipway.example.com/".parse().unwrap();
        assert!(!far.is_local());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "localhost:8080",
            "ftp://x",
            "https://x",
            "unix://relative",
            "http://u:p@x",
            "http://x/path",
            "http://x/?q",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}

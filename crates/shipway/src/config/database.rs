//! Which database: a URL, or the pieces that the Caddy build server's configuration has.

use std::collections::BTreeMap;
use std::fmt;

use super::{ConfigError, Given};

/// Settings that are shown to nobody.
pub(crate) const SECRET_KEYS: &[&str] =
    &["database.url", "database.password", "storage.s3.secret_key", "worker.signing.key_password", "api.go_proxy"];

/// What stands in the place of a secret.
pub(crate) const HIDDEN: &str = "(hidden)";

/// A PostgreSQL database with all that is needed to get in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl(String);

impl DatabaseUrl {
    /// As the store takes it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// `None` is SQLite in the state directory.
pub(super) fn parse(given: &BTreeMap<&'static str, Given>) -> Result<Option<DatabaseUrl>, ConfigError> {
    let text = |key: &'static str| given[key].text.trim();
    let (url, host) = (text("database.url"), text("database.host"));
    match (url.is_empty(), host.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => {
            Err(ConfigError::Together("`database.url` and `database.host` both name a database; give one".to_owned()))
        }
        (false, true) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            Ok(Some(DatabaseUrl(url.to_owned())))
        }
        (false, true) => Err(ConfigError::BadValue {
            key: "database.url",
            text: HIDDEN.to_owned(),
            origin: given["database.url"].origin.clone(),
            expected: "postgres://user:password@host:5432/name is expected".to_owned(),
        }),
        (true, false) => Ok(Some(of_pieces(&text))),
    }
}

fn of_pieces<'a>(text: &impl Fn(&'static str) -> &'a str) -> DatabaseUrl {
    let password = match text("database.password") {
        "" => String::new(),
        password => format!(":{}", escaped(password)),
    };
    DatabaseUrl(format!(
        "postgres://{}{password}@{}:{}/{}?sslmode={}",
        escaped(text("database.user")),
        host(text("database.host")),
        text("database.port"),
        escaped(text("database.database")),
        escaped(text("database.ssl_mode")),
    ))
}

/// An IPv6 address stands in brackets; a path to a socket has its slashes escaped.
fn host(host: &str) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => escaped(host),
    }
}

/// With all that could mean something in a URL as `%XX`.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

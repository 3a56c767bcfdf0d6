//! From text to types: the settings as the parts of Shipway take them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use shipway_engine::{OutsideConfig, Upstreams};

use super::builds::{self, BuildSettings};
use super::database::DatabaseUrl;
use super::janitor::{self, JanitorSettings};
use super::roles::Roles;
use super::worker::{self, WorkerSettings};
use super::{ConfigError, Given};

/// Where Shipway listens, unless told.
const USUAL_PORT: u16 = 8080;
/// Where a resolver listens, unless told.
const NAMES_PORT: u16 = 53;
/// As many as the forwarder makes use of.
const RESOLVERS_MAX: usize = 3;

/// Every setting, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) roles: Roles,
    pub(crate) state_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    /// PostgreSQL, or (none) SQLite in the state directory.
    pub(crate) database_url: Option<DatabaseUrl>,
    pub(crate) listeners: Vec<ListenerConfig>,
    pub(crate) host: String,
    pub(crate) api_host: String,
    pub(crate) api_open: OpenTo,
    pub(crate) url_deploy: bool,
    pub(crate) fetch_allow: String,
    pub(crate) outside: OutsideConfig,
    pub(crate) fetch_limit_bytes: u64,
    pub(crate) worker: WorkerSettings,
    pub(crate) janitor: JanitorSettings,
    pub(crate) builds: BuildSettings,
    pub(crate) proxy_user: ProxyUser,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_address_max: usize,
    pub(crate) status_listen: Option<SocketAddr>,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
}

/// One address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerConfig {
    pub(crate) address: SocketAddr,
    pub(crate) serves: Serves,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    Api,
    Services,
    Both,
}

impl Serves {
    /// As in the setting.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Services => "services",
            Self::Both => "both",
        }
    }
}

/// Who needs no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenTo {
    Nobody,
    Loopback,
}

/// Who the proxy runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProxyUser {
    Auto,
    Number(u32),
    Name(String),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Auto,
    Human,
    Json,
}

/// One value on its way from text to type.
pub(super) struct Field<'a> {
    key: &'static str,
    given: &'a Given,
}

impl<'a> Field<'a> {
    /// What stands between commas.
    pub(super) fn words(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.given.text.split(',').map(str::trim).filter(|word| !word.is_empty())
    }

    pub(super) fn text_if_any(&self) -> Option<&'a str> {
        Some(self.given.text.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn parsed<T: FromStr>(&self, expected: &str) -> Result<T, ConfigError> {
        self.given.text.trim().parse().map_err(|_| self.bad(expected))
    }

    pub(super) fn bad(&self, expected: impl Into<String>) -> ConfigError {
        let Given { text, origin } = self.given.clone();
        ConfigError::BadValue { key: self.key, text, origin, expected: expected.into() }
    }

    pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        least: T,
        most: T,
    ) -> Result<T, ConfigError> {
        let number = self.given.text.parse::<T>().ok().filter(|n| *n >= least && *n <= most);
        number.ok_or_else(|| self.bad(format!("a whole number from {least} to {most} is expected")))
    }

    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let found = words.iter().find(|(word, _)| *word == self.given.text).map(|(_, value)| *value);
        let choices: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        found.ok_or_else(|| self.bad(format!("one of {} is expected", choices.join(", "))))
    }

    fn folder(&self) -> Result<PathBuf, ConfigError> {
        let path = PathBuf::from(&self.given.text);
        if path.is_absolute() { Ok(path) } else { Err(self.bad("an absolute path is expected")) }
    }

    /// A DNS name of at least one label, in lower case.
    fn host(&self) -> Result<String, ConfigError> {
        let host = self.given.text.to_ascii_lowercase();
        let label = |label: &str| {
            let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            plain && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
        };
        // 37 more are needed for "<uuid>.".
        if host.len() <= 253 - 37 && host.split('.').all(label) {
            Ok(host)
        } else {
            Err(self.bad("a host name is expected, such as apps.example.org"))
        }
    }
}

impl Config {
    /// Checks every value, then what they mean together.
    pub(super) fn parse(given: &BTreeMap<&'static str, Given>) -> Result<Self, ConfigError> {
        let field = |key: &'static str| Field { key, given: &given[key] };
        let host = field("host").host()?;
        let api_host = match given["api.public_host"].text.as_str() {
            "" => format!("api.{host}"),
            _ => field("api.public_host").host()?,
        };
        if api_host == host && host != "localhost" {
            let reason = format!(
                "`host` and `api.public_host` are both {host}: services answer below the one, the API at the other"
            );
            return Err(ConfigError::Together(reason));
        }
        let roles = Roles::parse(&field("roles"))?;
        let database_url = database(given, &field)?;
        if database_url.is_none() && roles != Roles::ALL {
            let reason = format!(
                "SQLite is for one process that does everything; `roles: {}` needs PostgreSQL in `database.url`",
                roles.words()
            );
            return Err(ConfigError::Together(reason));
        }
        Ok(Self {
            roles,
            state_dir: field("state_dir").folder()?,
            run_dir: field("run_dir").folder()?,
            database_url,
            listeners: listeners(&field)?,
            host,
            api_host,
            api_open: field("api.open").word(&[("off", OpenTo::Nobody), ("loopback", OpenTo::Loopback)])?,
            url_deploy: field("api.contracts.url_deploy").word(&[("true", true), ("false", false)])?,
            fetch_allow: fetch_allow(&field("fetch.allow"))?,
            outside: OutsideConfig {
                allow: list(&field("network.allow"))?,
                pools: list(&field("network.pools"))?,
                accept_rule: field("network.accept_rule").word(&[("true", true), ("false", false)])?,
                upstreams: upstreams(&field("network.resolvers"))?,
            },
            fetch_limit_bytes: field("fetch.limit_bytes").number(1, 1 << 40)?,
            worker: worker::parse(&field)?,
            janitor: janitor::parse(&field)?,
            builds: builds::parse(&field)?,
            proxy_user: proxy_user(&field("proxy.user"))?,
            connections_max: field("proxy.connections_max").number(1, 1 << 20)?,
            connections_per_address_max: field("proxy.connections_per_address_max").number(1, 1 << 20)?,
            status_listen: status_listen(&field("status.listen"))?,
            log_format: field("log.format").word(&[
                ("auto", LogFormat::Auto),
                ("human", LogFormat::Human),
                ("json", LogFormat::Json),
            ])?,
            log_level: given["log.level"].text.clone(),
        })
    }

    /// The port that stands in the URLs of services: that of the first listener
    /// that serves them, as it was really opened.
    pub(crate) fn public_port(&self, opened: &[SocketAddr]) -> u16 {
        let serving = self.listeners.iter().position(|listener| listener.serves != Serves::Api);
        opened.get(serving.unwrap_or(0)).map_or(80, SocketAddr::port)
    }
}

fn status_listen(field: &Field<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    match field.text_if_any() {
        None => Ok(None),
        Some(_) => Ok(Some(field.parsed("an address such as 127.0.0.1:9100 is expected")?)),
    }
}

/// Which database, once its pieces are known to be ones.
fn database<'a>(
    given: &BTreeMap<&'static str, Given>,
    field: &impl Fn(&'static str) -> Field<'a>,
) -> Result<Option<DatabaseUrl>, ConfigError> {
    field("database.port").number(1, u16::MAX)?;
    let modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"].map(|mode| (mode, ()));
    field("database.ssl_mode").word(&modes)?;
    super::database::parse(given)
}

/// Reads what stands between commas.
fn list<T: FromStr<Err: ToString>>(field: &Field<'_>) -> Result<Vec<T>, ConfigError> {
    field.words().map(|word| word.parse::<T>().map_err(|error| field.bad(error.to_string()))).collect()
}

fn upstreams(field: &Field<'_>) -> Result<Upstreams, ConfigError> {
    let words: Vec<&str> = field.words().collect();
    let address = |word: &&str| {
        let plain = word.parse().map(|address: IpAddr| SocketAddr::new(address, NAMES_PORT));
        plain.or_else(|_| word.parse::<SocketAddr>()).ok().filter(|address| address.port() != 0)
    };
    let expected = || field.bad("addresses such as 10.0.0.53, fd00::53 or 127.0.0.1:5353 are expected, 3 at most");
    match words.iter().map(address).collect::<Option<Vec<SocketAddr>>>() {
        Some(all) if all.is_empty() => Ok(OutsideConfig::default().upstreams),
        Some(all) if all.len() <= RESOLVERS_MAX => Ok(Upstreams::Given(all)),
        _ => Err(expected()),
    }
}

fn fetch_allow(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = &field.given.text;
    match text.parse::<shipway_fetch::AllowList>() {
        Ok(_) => Ok(text.clone()),
        Err(error) => Err(field.bad(error.to_string())),
    }
}

fn proxy_user(field: &Field<'_>) -> Result<ProxyUser, ConfigError> {
    match (field.given.text.as_str(), field.given.text.parse::<u32>()) {
        ("auto", _) => Ok(ProxyUser::Auto),
        ("root" | "nobody" | "", _) | (_, Ok(0 | 65_534)) => {
            Err(field.bad("a user of its own is expected: neither root, nor nobody, whom others use too"))
        }
        (_, Ok(number)) => Ok(ProxyUser::Number(number)),
        (name, Err(_)) => Ok(ProxyUser::Name(name.to_owned())),
    }
}

/// Where to listen: as `listen` says, or `port`, or the older configuration's `api`.
fn listeners<'a>(field: &impl Fn(&'static str) -> Field<'a>) -> Result<Vec<ListenerConfig>, ConfigError> {
    let (listen, port) = (field("listen"), field("port"));
    let is_default = listen.given.origin == super::Origin::Default || listen.text_if_any().is_none();
    if port.text_if_any().is_some() {
        let port = port.number(1, u16::MAX)?;
        if is_default {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            return Ok(vec![ListenerConfig { address, serves: Serves::Both }]);
        }
    }
    let of_api = api_listener(&field("api.host"), &field("api.port"))?;
    if let Some(listener) = of_api.filter(|_| is_default && port.text_if_any().is_none()) {
        return Ok(vec![listener]);
    }
    let listeners: Vec<ListenerConfig> =
        listen.words().map(|text| listener(text, &listen)).collect::<Result<_, _>>()?;
    if listeners.is_empty() {
        return Err(listen.bad("at least one address is expected, such as 127.0.0.1:8080"));
    }
    Ok(listeners)
}

/// The Caddy build server's `api.host` and `api.port`. It had no services, so where others reach
/// it, only the API is served; loopback is what it always is.
fn api_listener(host: &Field<'_>, port: &Field<'_>) -> Result<Option<ListenerConfig>, ConfigError> {
    let address: IpAddr = match host.text_if_any() {
        None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(_) => host.parsed("an address such as 0.0.0.0 or 10.0.0.7, or localhost, is expected")?,
    };
    let number: Option<u16> = port.text_if_any().map(|_| port.number(0, u16::MAX)).transpose()?;
    if number.is_none() && host.text_if_any().is_none() {
        return Ok(None);
    }
    let serves = if address.is_loopback() { Serves::Both } else { Serves::Api };
    Ok(Some(ListenerConfig { address: SocketAddr::new(address, number.unwrap_or(USUAL_PORT)), serves }))
}

fn listener(text: &str, field: &Field<'_>) -> Result<ListenerConfig, ConfigError> {
    let (address, serves) = text.split_once('=').unwrap_or((text, ""));
    let address: SocketAddr =
        address.parse().map_err(|_| field.bad("addresses such as 127.0.0.1:8080 or [::]:80=services are expected"))?;
    let serves = match serves {
        "api" => Serves::Api,
        "services" => Serves::Services,
        "both" => Serves::Both,
        "" if address.ip().is_loopback() => Serves::Both,
        "" => Serves::Services,
        _ => return Err(field.bad("behind `=` one of api, services, both is expected")),
    };
    Ok(ListenerConfig { address, serves })
}

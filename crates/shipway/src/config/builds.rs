//! The settings of builds: whether any are made, with what, and where artifacts are kept. The
//! keys are those of the Caddy build server's configuration, as far as that has them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use shipway_artifacts::sign::OpenPgpConfig;
use shipway_artifacts::{ArtifactsConfig, S3Config, S3Limits, Secret};
use shipway_gobuild::request::{Plugin, Query, parse_plugin};
use shipway_gobuild::{Recipe, recipe};

use super::ConfigError;
use super::values::Field;

/// Most packages told of that nobody has built: each is looked for once an hour.
const PACKAGES_MAX: usize = 200;

/// Most programs kept warm: each is some gigabyte on disk while its cache is made.
const WARM_MAX: usize = 8;

/// How builds are made and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildSettings {
    pub(crate) enabled: Enabled,
    /// A Go tool chain's directory; the newest of this machine if none is named.
    pub(crate) go: Option<PathBuf>,
    /// `GOPROXY`; what the go command is set to if nothing is said.
    pub(crate) proxies: Option<String>,
    /// `GOSUMDB`, likewise.
    pub(crate) checksums: Option<String>,
    /// `GONOSUMDB`.
    pub(crate) exempt: Vec<String>,
    pub(crate) at_once: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_millis: Option<u32>,
    pub(crate) pids: u32,
    pub(crate) disk_bytes: u64,
    /// Longest a build may take in all.
    pub(crate) limit: Duration,
    pub(crate) plugins_max: usize,
    /// Packages told of although nobody has built them.
    pub(crate) packages: Vec<Plugin>,
    /// Names of recipes, and versions of their programs, that a cache is made of.
    pub(crate) warm: Vec<(String, Query)>,
    /// Variables of the operator's own for the go command.
    pub(crate) env: BTreeMap<String, String>,
    /// Where disks and caches of builds are; below the state directory if nothing is said.
    pub(crate) folder: Option<PathBuf>,
    /// Where artifacts are kept; below the state directory if none is named.
    pub(crate) storage: Option<ArtifactsConfig>,
    pub(crate) openpgp: Option<OpenPgpConfig>,
    /// The Caddy build server's own endpoints.
    pub(crate) contract: bool,
}

/// Whether this process makes or accepts builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enabled {
    /// If it has what it takes.
    Auto,
    /// It does, or does not start.
    Yes,
    No,
}

/// Reads them; `field` finds a setting by its key.
pub(super) fn parse<'a>(field: &impl Fn(&'static str) -> Field<'a>) -> Result<BuildSettings, ConfigError> {
    let text = |key: &'static str| field(key).text_if_any().map(str::to_owned);
    let truth = |key: &'static str| field(key).word(&[("true", true), ("false", false)]);
    let words = [("auto", Enabled::Auto), ("true", Enabled::Yes), ("false", Enabled::No)];
    Ok(BuildSettings {
        enabled: field("builds.enabled").word(&words)?,
        go: text("builds.go").map(PathBuf::from),
        proxies: text("api.go_proxy"),
        checksums: text("builds.checksum_database"),
        exempt: field("builds.checksum_exempt").words().map(str::to_owned).collect(),
        at_once: field("worker.max_jobs").number(1, 64)?,
        memory_bytes: field("worker.docker_memory_mb").number::<u64>(128, 1 << 20)? << 20,
        cpu_millis: cpu_millis(&field("worker.docker_cpus"))?,
        pids: field("worker.docker_pids_limit").number(16, 1 << 20)?,
        disk_bytes: field("builds.disk_bytes").number(64 << 20, 1 << 44)?,
        limit: Duration::from_secs(field("builds.limit_seconds").number(10, 24 * 3600)?),
        plugins_max: field("builds.plugins_max").number(0, 10_000)?,
        packages: packages(&field("builds.packages"))?,
        warm: warm(&field("builds.warm"))?,
        env: env(&field("worker.build_env"))?,
        folder: build_path(&field("worker.build_path"))?,
        storage: storage(field)?,
        openpgp: openpgp(truth("worker.signing.enabled")?, field)?,
        contract: truth("api.contracts.caddy_build")?,
    })
}

/// A mapping, which the file's is by now in JSON, or words `NAME=value`.
fn env(field: &Field<'_>) -> Result<BTreeMap<String, String>, ConfigError> {
    let Some(text) = field.text_if_any() else { return Ok(BTreeMap::new()) };
    let expected = || field.bad("a mapping of names to values is expected, or words NAME=value");
    let variables: BTreeMap<String, String> = if text.starts_with('{') {
        serde_json::from_str(text).map_err(|_| expected())?
    } else {
        let pairs = text.split_whitespace().map(|word| word.split_once('=').ok_or_else(expected));
        pairs.map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect::<Result<_, _>>()?
    };
    recipe::env::check(&variables).map_err(|error| field.bad(error.to_string()))?;
    Ok(variables)
}

/// Packages of a list, each `package[@version]`.
fn packages(field: &Field<'_>) -> Result<Vec<Plugin>, ConfigError> {
    let all: Vec<Plugin> =
        field.words().map(parse_plugin).collect::<Result<_, _>>().map_err(|error| field.bad(error.to_string()))?;
    if all.len() > PACKAGES_MAX {
        return Err(field.bad(format!("at most {PACKAGES_MAX} packages are told of")));
    }
    Ok(all)
}

/// Programs of a list, each `recipe[@version]`.
fn warm(field: &Field<'_>) -> Result<Vec<(String, Query)>, ConfigError> {
    let known = [Recipe::caddy().name, Recipe::k6().name];
    let program = |word: &str| {
        let (name, version) = word.rsplit_once('@').unwrap_or((word, "latest"));
        if !known.iter().any(|known| known == name) {
            return Err(field.bad(format!("there is no recipe {name:?}; there are {}", known.join(", "))));
        }
        let version = Query::parse(version).map_err(|error| field.bad(error.to_string()))?;
        Ok((name.to_owned(), version))
    };
    let all: Vec<(String, Query)> = field.words().map(program).collect::<Result<_, _>>()?;
    if all.len() > WARM_MAX {
        return Err(field.bad(format!("at most {WARM_MAX} programs are kept warm")));
    }
    Ok(all)
}

fn build_path(field: &Field<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let path = field.text_if_any().map(PathBuf::from);
    match path {
        Some(path) if !path.is_absolute() => Err(field.bad("an absolute path is expected")),
        path => Ok(path),
    }
}

/// `2.0`, as Docker has it; nothing is all there are.
fn cpu_millis(field: &Field<'_>) -> Result<Option<u32>, ConfigError> {
    let Some(text) = field.text_if_any() else { return Ok(None) };
    let expected = || field.bad("a number of processors such as 2.0 is expected, or nothing for all");
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    let (whole, part): (u32, u32) = (whole.parse().map_err(|_| expected())?, part.parse().map_err(|_| expected())?);
    let millis = whole.checked_mul(1000).and_then(|millis| millis.checked_add(part));
    millis.filter(|millis| *millis >= 100).map(Some).ok_or_else(expected)
}

fn storage<'a>(field: &impl Fn(&'static str) -> Field<'a>) -> Result<Option<ArtifactsConfig>, ConfigError> {
    let text = |key: &'static str| field(key).text_if_any().map(str::to_owned);
    let is_s3 = field("storage.type").word(&[("local", false), ("s3", true)])?;
    if !is_s3 {
        return Ok(text("storage.local.path").map(|path| ArtifactsConfig::Directory(PathBuf::from(path))));
    }
    let needed = |key: &'static str| {
        text(key).ok_or_else(|| ConfigError::Together(format!("`storage.type` is s3, which needs `{key}`")))
    };
    Ok(Some(ArtifactsConfig::S3(S3Config {
        bucket: needed("storage.s3.bucket")?,
        region: needed("storage.s3.region")?,
        endpoint: text("storage.s3.endpoint"),
        access_key: needed("storage.s3.access_key")?,
        secret_key: Secret::new(needed("storage.s3.secret_key")?),
        limits: S3Limits::default(),
    })))
}

fn openpgp<'a>(
    is_enabled: bool,
    field: &impl Fn(&'static str) -> Field<'a>,
) -> Result<Option<OpenPgpConfig>, ConfigError> {
    if !is_enabled {
        return Ok(None);
    }
    let Some(key_file) = field("worker.signing.key_file").text_if_any() else {
        let reason = "`worker.signing.enabled` is true, which needs `worker.signing.key_file`";
        return Err(ConfigError::Together(reason.to_owned()));
    };
    let key_password = field("worker.signing.key_password").text_if_any().map(|text| Secret::new(text.to_owned()));
    Ok(Some(OpenPgpConfig { key_file: PathBuf::from(key_file), key_password }))
}

//! From what a client asks for to what a worker will do: every field checked, all
//! mistakes told at once.

use std::collections::BTreeMap;

use shipway_api_types as api;
use shipway_api_types::{FieldError, Problem, ProblemCode, ServicePut};
use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{ContentKind, Digest, Egress, HealthCheck, Limits, ProjectName, Runner, ServiceName, Source};

use crate::app::App;
use crate::config::ApiConfig;
use crate::reply::Reject;

mod command;

/// Variables of one service.
const ENV_COUNT_MAX: usize = 256;
/// All names and values together: half of what the kernel takes for one `execve`
/// argument block on the smallest stacks, so that a script always starts.
const ENV_BYTES_MAX: usize = 64 << 10;
const FILE_NAME_BYTES_MAX: usize = 255;
const MEDIA_TYPE_BYTES_MAX: usize = 255;
const HEALTH_PATH_BYTES_MAX: usize = 1024;
const URL_BYTES_MAX: usize = 8 << 10;
const DEADLINE_MS: std::ops::RangeInclusive<u32> = 100..=600_000;

/// Reads a name of `/v1`.
pub(crate) fn name(config: &ApiConfig, text: &str) -> Result<ServiceName, Reject> {
    let wrong = |detail: String| {
        Reject::new(ProblemCode::InvalidName, detail.clone()).field("path:name", detail).hint("for example: my-service")
    };
    let name: ServiceName = text.parse().map_err(|error| wrong(format!("{error}")))?;
    if is_reserved(config, &name) {
        return Err(wrong(format!("`{name}` is taken: {name}.{} is the API's own host name", config.host)));
    }
    Ok(name)
}

/// Whether a service of this name would hide the API's own host.
pub(crate) fn is_reserved(config: &ApiConfig, name: &ServiceName) -> bool {
    let host = format!("{}.{}", name.as_str(), config.host);
    config.api_hosts.contains(&host)
}

/// Reads a deploy. Every field that is wrong is named.
pub(crate) async fn read(app: &App, project: &ProjectName, put: ServicePut) -> Result<Deploy, Reject> {
    let mut mistakes = Mistakes::default();
    let limits = limits(put.limits.unwrap_or_default(), &mut mistakes);
    let health = health(put.health.clone().unwrap_or_default(), &mut mistakes);
    env(&put.env, &mut mistakes);
    let program = match &put.image {
        Some(image) if is_served_in_image(&put) => in_image(app, project, image, &put, &mut mistakes).await?,
        Some(image) => command::read(app, project, image, &put, &mut mistakes).await?,
        None => served(app, &put, &mut mistakes).await?,
    };
    let egress = match put.egress.unwrap_or_default() {
        api::Egress::None => Egress::None,
        api::Egress::Internet => Egress::Internet,
    };
    match (program, mistakes.0.is_empty()) {
        (Some(program), true) => Ok(Deploy { program, env: put.env, limits, health, egress }),
        _ => Err(mistakes.into_reject()),
    }
}

async fn served(app: &App, put: &ServicePut, mistakes: &mut Mistakes) -> Result<Option<DeployProgram>, Reject> {
    command::of_image_only(put, mistakes);
    let content = content(app, put, mistakes).await?;
    let runner = match put.runner.unwrap_or_default() {
        api::Runner::Native => Runner::Native,
        api::Runner::Nginx => {
            env_of_nginx(&put.env, mistakes);
            Runner::Nginx
        }
    };
    Ok(content.map(|content| DeployProgram::Content { content, kind: kind(put), runner }))
}

const fn kind(put: &ServicePut) -> ContentKind {
    match put.kind {
        Some(api::ContentKind::Script) => ContentKind::Script,
        Some(api::ContentKind::Static) | None => ContentKind::Static,
    }
}

/// Content in an image is nginx's: the image is where nginx comes from.
fn is_served_in_image(put: &ServicePut) -> bool {
    put.runner == Some(api::Runner::Nginx) && (put.url.is_some() || put.upload.is_some())
}

async fn in_image(
    app: &App,
    project: &ProjectName,
    image: &str,
    put: &ServicePut,
    mistakes: &mut Mistakes,
) -> Result<Option<DeployProgram>, Reject> {
    command::of_command_only(put, mistakes);
    env_of_nginx(&put.env, mistakes);
    let content = content(app, put, mistakes).await?;
    let Some(name) = command::name(image, mistakes) else {
        return Ok(None);
    };
    if !mistakes.0.is_empty() {
        return Ok(None);
    }
    let image_digest = command::digest(app, project, &name).await?;
    let (kind, runner) = (kind(put), Runner::Nginx);
    Ok(content.map(|content| DeployProgram::ContentInImage { content, kind, runner, image_digest }))
}

/// Fields that are wrong, so far.
#[derive(Debug, Default)]
struct Mistakes(Vec<FieldError>);

impl Mistakes {
    fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
    }

    fn into_reject(self) -> Reject {
        let told: Vec<String> = self
            .0
            .iter()
            .map(|error| {
                let field = error.pointer.trim_start_matches("#/");
                format!("{field}: {}", error.detail)
            })
            .collect();
        let mut problem = Problem::new(ProblemCode::InvalidField, told.join("; "));
        problem.errors = self.0;
        Reject { problem: Box::new(problem), headers: http::HeaderMap::new() }
    }
}

async fn content(app: &App, put: &ServicePut, mistakes: &mut Mistakes) -> Result<Option<Content>, Reject> {
    match (&put.url, &put.upload) {
        (Some(url), None) => {
            of_upload_only(put, mistakes);
            fetchable(app, url)?;
            Ok(Some(Content::Url { url: url.clone() }))
        }
        (None, Some(digest)) => uploaded(app, put, digest, mistakes).await,
        (None, None) => {
            mistakes.add("#/url", "give a url to fetch, the digest of an upload, or an image and a command");
            Ok(None)
        }
        (Some(_), Some(_)) => {
            mistakes.add("#/upload", "give a url or an upload, not both");
            Ok(None)
        }
    }
}

fn of_upload_only(put: &ServicePut, mistakes: &mut Mistakes) {
    if put.file_name.is_some() {
        mistakes.add("#/file_name", "only an upload has one; a url's path says it");
    }
    if put.content_type.is_some() {
        mistakes.add("#/content_type", "only an upload has one; a url's origin says it");
    }
}

/// Refuses a URL that may not be fetched, as far as it tells without a look-up.
pub(crate) fn fetchable(app: &App, url: &str) -> Result<(), Reject> {
    let refuse = |detail: String| Reject::new(ProblemCode::FetchRefused, detail.clone()).field("#/url", detail);
    if url.len() > URL_BYTES_MAX {
        return Err(refuse(format!("a url has at most {URL_BYTES_MAX} bytes")));
    }
    match app.parts.fetcher.check(url) {
        Ok(_) => Ok(()),
        Err(error) => {
            let mut reject = refuse(error.detail());
            reject.problem.hint = error.hint();
            Err(reject)
        }
    }
}

async fn uploaded(
    app: &App,
    put: &ServicePut,
    digest: &str,
    mistakes: &mut Mistakes,
) -> Result<Option<Content>, Reject> {
    check_file(put, mistakes);
    let digest: Digest = match digest.parse() {
        Ok(digest) => digest,
        Err(error) => {
            mistakes.add("#/upload", format!("{error}"));
            return Ok(None);
        }
    };
    let Some(size_bytes) = crate::content::size_of(app, digest.clone()).await? else {
        mistakes.add("#/upload", "there is no such upload: send it to POST /v1/uploads first");
        return Ok(None);
    };
    Ok(Some(Content::Blob(Source {
        digest,
        size_bytes,
        content_type: put.content_type.clone(),
        file_name: put.file_name.clone(),
        url: None,
    })))
}

fn check_file(put: &ServicePut, mistakes: &mut Mistakes) {
    if let Some(name) = &put.file_name {
        let plain = !name.chars().any(|letter| letter.is_control() || letter == '/');
        let special = matches!(name.as_str(), "" | "." | "..");
        if !plain || special || name.len() > FILE_NAME_BYTES_MAX {
            let detail = format!("a file name has 1 to {FILE_NAME_BYTES_MAX} bytes and no slash");
            mistakes.add("#/file_name", detail);
        }
    }
    if let Some(media) = &put.content_type
        && !is_media_type(media)
    {
        mistakes.add("#/content_type", "expected a media type, as text/html");
    }
}

/// `type/subtype`, then parameters; nothing that could break a header.
fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.len() <= MEDIA_TYPE_BYTES_MAX
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

fn limits(given: api::Limits, mistakes: &mut Mistakes) -> Limits {
    let plain = Limits::default();
    let limits = Limits {
        memory_bytes: given.memory_bytes.unwrap_or(plain.memory_bytes),
        cpu_millis: given.cpu_millis.unwrap_or(plain.cpu_millis),
        pids: given.pids.unwrap_or(plain.pids),
        open_files: given.open_files.unwrap_or(plain.open_files),
        disk_bytes: given.disk_bytes.unwrap_or(plain.disk_bytes),
        inodes: given.inodes.unwrap_or(plain.inodes),
        log_bytes: given.log_bytes.unwrap_or(plain.log_bytes),
        request_timeout_ms: given.request_timeout_ms.unwrap_or(plain.request_timeout_ms),
        request_output_bytes: given.request_output_bytes.unwrap_or(plain.request_output_bytes),
        concurrency: given.concurrency.unwrap_or(plain.concurrency),
        egress_connections: given.egress_connections.unwrap_or(plain.egress_connections),
        egress_bytes_per_second: given.egress_bytes_per_second.unwrap_or(plain.egress_bytes_per_second),
    };
    if let Err(error) = limits.check() {
        let (field, least, most) = (error.field, error.least, error.most);
        let detail = format!("expected {least} to {most}, not {}", error.given);
        mistakes.add(format!("#/limits/{field}"), detail);
    }
    limits
}

fn health(given: api::HealthCheck, mistakes: &mut Mistakes) -> HealthCheck {
    let plain = HealthCheck::default();
    if let Some(path) = &given.path {
        let visible = path.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#');
        if !path.starts_with('/') || !visible || path.len() > HEALTH_PATH_BYTES_MAX {
            mistakes.add("#/health/path", "expected a path that begins with a slash, as /ready");
        }
    }
    let deadline_ms = given.deadline_ms.unwrap_or(plain.deadline_ms);
    if !DEADLINE_MS.contains(&deadline_ms) {
        let (least, most) = (DEADLINE_MS.start(), DEADLINE_MS.end());
        let detail = format!("expected {least} to {most}, not {deadline_ms}");
        mistakes.add("#/health/deadline_ms", detail);
    }
    HealthCheck { path: given.path, deadline_ms }
}

fn env(env: &BTreeMap<String, String>, mistakes: &mut Mistakes) {
    if env.len() > ENV_COUNT_MAX {
        mistakes.add("#/env", format!("at most {ENV_COUNT_MAX} variables"));
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if bytes > ENV_BYTES_MAX {
        mistakes.add("#/env", format!("names and values have at most {ENV_BYTES_MAX} bytes"));
    }
    for (name, value) in env.iter().take(ENV_COUNT_MAX) {
        if let Err(detail) = variable(name, value) {
            let key = name.replace('~', "~0").replace('/', "~1");
            mistakes.add(format!("#/env/{key}"), detail);
        }
    }
}

/// The nginx runner is told by its environment what to serve.
fn env_of_nginx(env: &BTreeMap<String, String>, mistakes: &mut Mistakes) {
    for name in env.keys().filter(|name| name.starts_with("SHIPWAY_")) {
        mistakes.add(format!("#/env/{name}"), "with the nginx runner, names that begin with SHIPWAY_ are its own");
    }
}

/// The rule for a variable's name is the shell's, because scripts are what reads it.
pub(crate) fn variable(name: &str, value: &str) -> Result<(), &'static str> {
    let mut letters = name.bytes();
    let begins = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !begins || !letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("a variable's name has letters, digits and underscores, and does not begin with a digit");
    }
    if value.contains('\0') {
        return Err("a variable's value has no zero byte");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_apis_own_host_is_taken() {
        let config = ApiConfig {
            host: "127.0.0.1.nip.io".to_owned(),
            api_hosts: ["api.127.0.0.1.nip.io".to_owned()].into(),
            ..ApiConfig::default()
        };
        assert!(name(&config, "web").is_ok());
        for taken in ["api", "", "UPPER", "-x", "3ffafdc6-d32d-42dd-9cf3-b7faa0884bcb"] {
            let reject = name(&config, taken).unwrap_err();
            assert_eq!(reject.problem.code, "invalid_name", "{taken}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mut mistakes = Mistakes::default();
        let given = api::Limits { pids: Some(1), ..api::Limits::default() };
        limits(given, &mut mistakes);
        let check = api::HealthCheck { path: Some("ready".to_owned()), deadline_ms: Some(1) };
        health(check, &mut mistakes);
        env(&[("1A".to_owned(), String::new()), ("B".to_owned(), "\0".to_owned())].into(), &mut mistakes);
        let problem = mistakes.into_reject().problem;
        let pointers: Vec<_> = problem.errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["#/limits/pids", "#/health/path", "#/health/deadline_ms", "#/env/1A", "#/env/B"]);
    }

    #[test]
    fn media_types_are_told_from_noise() {
        for good in ["text/html", "text/html; charset=utf-8", "application/vnd.a+json"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in ["", "html", "text/", "text/html\r\nX: y", "text/ht ml", "é/x"] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }
}

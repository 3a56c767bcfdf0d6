//! `shipway deploy`: a URL or a file becomes a service.

use std::io;
use std::path::Path;

use shipway_api_types::{ContentKind, HealthCheck, Limits, ServicePut};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::args::Deploy;
use crate::ask::{Asker, PATIENCE};
use crate::exit::Failure;
use crate::output::Output;

/// Endings of files that are taken for scripts unless told.
const SCRIPT_ENDINGS: [&str; 4] = ["sh", "py", "pl", "js"];

pub(super) async fn deploy(args: Deploy, asker: &Asker, output: &Output) -> Result<(), Failure> {
    let is_url = args.source.starts_with("http://") || args.source.starts_with("https://");
    let file_name = file_name(&args.source, is_url);
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_from(file_name.as_deref())?,
    };
    let kind = kind(&args, is_url, file_name.as_deref(), output).await?;
    let mut put = ServicePut { kind: Some(kind), limits: limits(&args), ..ServicePut::default() };
    put.env = args.env.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
    put.health = args.health_path.clone().map(|path| HealthCheck { path: Some(path), deadline_ms: None });
    if is_url {
        put.url = Some(args.source.clone());
    } else {
        put.upload = Some(upload(&args.source, asker, output).await?);
        put.file_name = file_name;
    }
    let before = release_before(asker, &name).await?;
    let progress = output.progress(format!("deploying {name}"));
    let done = asker.client.deploy(&name, &put, PATIENCE).await?;
    drop(progress);
    show(&done, before, output);
    Ok(())
}

fn show(put: &shipway_client::Deployed, before: Option<u32>, output: &Output) {
    let service = &put.service;
    let url = service.urls.last().unwrap_or(&service.url);
    if output.json {
        output.object(service);
    } else if output.quiet {
        output.line(url);
    } else if !put.done {
        output.line(&format!("{} is still being deployed: {url}", service.name));
    } else if before.is_some() && before == service.release {
        output.line(&format!("{} is unchanged: {url}", service.name));
    } else {
        let release = service.release.map_or_else(String::new, |number| format!(" (release {number})"));
        output.line(&format!("{} is live{release}: {url}", service.name));
    }
}

/// The last part of a path, of a URL or here.
fn file_name(source: &str, is_url: bool) -> Option<String> {
    let path = if is_url { url::Url::parse(source).ok()?.path().to_owned() } else { source.to_owned() };
    let name = path.rsplit('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// A DNS label of a file's name without its ending.
fn name_from(file_name: Option<&str>) -> Result<String, Failure> {
    let stem = file_name.and_then(|name| name.split('.').find(|part| !part.is_empty())).unwrap_or_default();
    let plain: String = stem.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let label = plain.trim_matches('-');
    if label.is_empty() || label.len() > 63 {
        return Err(Failure::new(2, "the file's name makes no name for a service").hint("give one with --name"));
    }
    Ok(label.to_owned())
}

async fn kind(args: &Deploy, is_url: bool, file_name: Option<&str>, output: &Output) -> Result<ContentKind, Failure> {
    if args.script {
        return Ok(ContentKind::Script);
    }
    if args.r#static {
        return Ok(ContentKind::Static);
    }
    let ending = file_name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
    let by_ending = ending.is_some_and(|ending| SCRIPT_ENDINGS.contains(&ending.as_str()));
    let is_script = by_ending || (!is_url && begins_with_shebang(&args.source).await?);
    if is_script {
        output.note("taken for a script, run on every request; --static serves it as it is");
        return Ok(ContentKind::Script);
    }
    Ok(ContentKind::Static)
}

async fn begins_with_shebang(path: &str) -> Result<bool, Failure> {
    let mut start = [0; 2];
    let mut file = open(path).await?;
    Ok(file.read_exact(&mut start).await.is_ok() && &start == b"#!")
}

async fn open(path: &str) -> Result<File, Failure> {
    let fail = |error: io::Error| Failure::new(1, format!("cannot read {path}: {error}"));
    let file = File::open(path).await.map_err(fail)?;
    if file.metadata().await.map_err(fail)?.is_dir() {
        return Err(Failure::new(1, format!("{path} is a directory")).hint("deploy one file of it"));
    }
    Ok(file)
}

async fn upload(path: &str, asker: &Asker, output: &Output) -> Result<String, Failure> {
    let _progress = output.progress(format!("sending {path}"));
    Ok(asker.client.upload(Path::new(path)).await?.digest)
}

/// The release that is live before the deploy, to say whether anything changed.
async fn release_before(asker: &Asker, name: &str) -> Result<Option<u32>, Failure> {
    match asker.client.service(name).await {
        Ok(service) => Ok(service.release),
        Err(error) if error.problem().is_some_and(|problem| problem.status == 404) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn limits(args: &Deploy) -> Option<Limits> {
    let limits = Limits {
        memory_bytes: args.memory.map(|size| size.0),
        cpu_millis: args.cpus,
        pids: args.pids,
        disk_bytes: args.disk.map(|size| size.0),
        request_timeout_ms: args.timeout.map(|time| u32::try_from(time.0).unwrap_or(u32::MAX)),
        concurrency: args.concurrency,
        ..Limits::default()
    };
    (limits != Limits::default()).then_some(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_files() {
        let named = |source: &str, is_url| name_from(file_name(source, is_url).as_deref()).ok();
        assert_eq!(named("https://example.org/a/Hello_World.tar.gz?x=1", true).as_deref(), Some("hello-world"));
        assert_eq!(named("./page.html", false).as_deref(), Some("page"));
        assert_eq!(named("https://example.org/", true), None);
        assert_eq!(named("/tmp/.hidden", false).as_deref(), Some("hidden"));
    }
}

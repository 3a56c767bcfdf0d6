//! `shipway caddy build`, `shipway k6 build`, `shipway build`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use shipway_api_types::{Build, BuildArtifact, BuildCreate, Event};
use shipway_client::{Client, Error};
use tokio::io::AsyncWriteExt;

use super::Context;
use crate::args::{BuildCommand, ProgramBuildArgs};
use crate::failure::{DONE, Failure};
use crate::show::harmless;
use crate::units;

/// Between two attempts to go on with a stream that broke off.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Attempts in a row that bring nothing: about as long as an upgrade may take.
const ATTEMPTS_MAX: u32 = 60;

pub(super) async fn program(context: &mut Context, recipe: &str, args: ProgramBuildArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let create = BuildCreate {
        recipe: recipe.to_owned(),
        version: Some(args.version.clone()),
        plugins: args.with.clone(),
        replacements: args.replace.clone(),
        os: args.os.clone().unwrap_or_else(own_os),
        arch: args.arch.clone().unwrap_or_else(own_arch),
        arm: args.arm,
        force: args.force,
    };
    let asking = client.create_build(&create, Duration::ZERO);
    let build = context.during("settling versions".to_owned(), asking).await?.value;
    if args.detach {
        match context.globals.json {
            true => context.print_json(&build)?,
            false => context.print(&format!("{}\n", build.id))?,
        }
        return Ok(DONE);
    }
    let build = ended(context, &client, build).await?;
    let Some(artifact) = &build.artifact else { return Err(failed(&build)) };
    let to = args.output.unwrap_or_else(|| PathBuf::from(&artifact.file_name));
    fetch(context, &client, &build, artifact, &to).await?;
    match context.globals.json {
        true => context.print_json(&build)?,
        false => {
            let size = units::size(artifact.size_bytes);
            context.note(&format!("{} is {} ({size}, {})", to.display(), build.program, artifact.digest));
        }
    }
    Ok(DONE)
}

fn own_os() -> String {
    match std::env::consts::OS {
        "macos" => "darwin".to_owned(),
        os => os.to_owned(),
    }
}

fn own_arch() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        "loongarch64" => "loong64".to_owned(),
        arch => arch.to_owned(),
    }
}

/// Follows a build to its end, and tells of each step.
async fn ended(context: &mut Context, client: &Client, build: Build) -> Result<Build, Failure> {
    let mut build = build;
    let (mut seen, mut attempts) = (0, 0);
    while !build.state.is_final() {
        let before = seen;
        match follow(context, client, &build.id, &mut seen).await {
            Ok(()) => {}
            Err(Error::Unreachable { .. } | Error::Broken(_)) if attempts < ATTEMPTS_MAX => {}
            Err(error) => return Err(error.into()),
        }
        attempts = if seen == before { attempts + 1 } else { 0 };
        build = match client.build(&build.id).await {
            Ok(build) => build,
            Err(Error::Unreachable { .. } | Error::Broken(_)) if attempts < ATTEMPTS_MAX => build,
            Err(error) => return Err(error.into()),
        };
        if !build.state.is_final() {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
    Ok(build)
}

/// Tells of events after number `seen` until the stream ends. It is read from its beginning: a
/// build has few events.
async fn follow(context: &mut Context, client: &Client, id: &str, seen: &mut u64) -> Result<(), Error> {
    let mut events = client.follow_build(id, None).await?;
    while let Some(event) = events.next().await? {
        if event.seq > *seen {
            *seen = event.seq;
            if let Some(line) = told(&event) {
                context.note(&harmless(&line));
            }
        }
    }
    Ok(())
}

/// What is said of an event; nothing of most.
fn told(event: &Event) -> Option<String> {
    let text = |name: &str| event.fields.get(name).and_then(Value::as_str);
    match event.event.as_str() {
        "build_began" => Some(format!("building on {}", text("worker")?)),
        "build_step" => {
            let (step, ended) = (text("step")?, text("ended")?);
            let took = event.fields.get("took_ms").and_then(Value::as_u64).unwrap_or(0);
            Some(format!("{step}: {ended} ({:.1} s)", Duration::from_millis(took).as_secs_f64()))
        }
        "build_returned" => Some(format!("begun anew: {}", text("cause")?)),
        _ => None,
    }
}

/// Why a build has no artifact, in the compiler's own lines.
fn failed(build: &Build) -> Failure {
    let hint = Some(format!("`shipway build logs {}` has all that was said", build.id));
    let Some(failure) = &build.failure else {
        return Failure::Said(format!("the build is {}", build.state.word()), None);
    };
    let mut text = format!("the build failed: {}", failure.failure.detail);
    for line in &failure.log_tail {
        text.push_str(&format!("\n  {}", harmless(line)));
    }
    Failure::Said(text, failure.hint.clone().or(hint))
}

/// Writes the artifact aside, compares it with its digest, then puts it in its place.
async fn fetch(
    context: &mut Context,
    client: &Client,
    build: &Build,
    artifact: &BuildArtifact,
    to: &Path,
) -> Result<(), Failure> {
    let name = to.file_name().ok_or_else(|| Failure::Usage(format!("{} is no file", to.display())))?;
    let aside = to.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let fetched = write(client, build, artifact, &aside).await;
    let placed = match fetched {
        Ok(()) => std::fs::rename(&aside, to).map_err(|error| unwritten(to, error)),
        Err(failure) => Err(failure),
    };
    if placed.is_err() {
        drop(std::fs::remove_file(&aside));
    }
    if placed.is_ok() && context.globals.quiet {
        context.print(&format!("{}\n", to.display()))?;
    }
    placed
}

async fn write(client: &Client, build: &Build, artifact: &BuildArtifact, aside: &Path) -> Result<(), Failure> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o755);
    let mut file = options.open(aside).await.map_err(|error| unwritten(aside, error))?;
    let (mut bytes, mut digest) = (client.artifact(&build.id).await?, Sha256::new());
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        digest.update(&piece);
        file.write_all(&piece).await.map_err(|error| unwritten(aside, error))?;
    }
    file.sync_all().await.map_err(|error| unwritten(aside, error))?;
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if artifact.digest != format!("sha256:{hex}") {
        let text = format!("what came is sha256:{hex}, not {}", artifact.digest);
        return Err(Failure::Said(text, Some("try again; nothing was written".to_owned())));
    }
    Ok(())
}

fn unwritten(path: &Path, error: std::io::Error) -> Failure {
    Failure::Io(format!("cannot write {}", path.display()), error)
}

pub(super) async fn build(context: &mut Context, command: BuildCommand) -> Result<u8, Failure> {
    let client = context.client()?;
    match command {
        BuildCommand::Show { id } => {
            let build = context.during("reading".to_owned(), client.build(&id)).await?;
            context.print_json(&build)?;
        }
        BuildCommand::Logs { id, follow } => logs(context, &client, &id, follow).await?,
        BuildCommand::Cancel { id } => {
            let build = context.during("cancelling".to_owned(), client.cancel_build(&id)).await?;
            show(context, &build, &format!("{} is {}", build.id, build.state.word()))?;
        }
        BuildCommand::Rebuild { id } => {
            let build = context.during("asking".to_owned(), client.rebuild(&id)).await?;
            show(context, &build, &format!("{} is {}", build.id, build.state.word()))?;
        }
    }
    Ok(DONE)
}

fn show(context: &mut Context, build: &Build, sentence: &str) -> Result<(), Failure> {
    match context.globals.json {
        true => context.print_json(build),
        false => context.print(&format!("{sentence}\n")),
    }
}

async fn logs(context: &mut Context, client: &Client, id: &str, follow: bool) -> Result<(), Failure> {
    let mut lines = client.build_logs(id, follow).await?;
    while let Some(line) = lines.next().await? {
        if context.globals.json {
            context.print_json_line(&line)?;
            continue;
        }
        let is_terminal = context.env.surroundings.stdout_is_terminal;
        let text = if is_terminal { harmless(&line.text) } else { line.text };
        context.print(&format!("{text}\n"))?;
    }
    Ok(())
}

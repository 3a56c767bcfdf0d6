//! `shipway deploy`: a URL or a file becomes a service.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use shipway_api_types::{ContentKind, Egress, HealthCheck, Limits, Protocol, Runner, ServicePut, Upload};
use shipway_client::{Client, Deployed};

use super::Context;
use crate::args::{DeployArgs, EgressArg, ProtocolArg, RunnerArg};
use crate::failure::{DONE, Failure};
use crate::guess;

/// Most that is read from standard input; the server has its own limit.
const STDIN_BYTES_MAX: u64 = 256 << 20;
/// Enough of a file to see how it begins.
const BEGINNING_BYTES: usize = 2;

pub(super) async fn deploy(context: &mut Context, args: DeployArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let Some(source) = &args.source else {
        return command(context, &client, args).await;
    };
    let source = Source::of(source);
    if matches!(source, Source::Url(_)) && args.media_type.is_some() {
        return Err(Failure::Usage("--type is for files: the origin of a URL says it".to_owned()));
    }
    let content = source.read(context)?;
    let name = name(&args, &source)?;
    let mut put = plain(&args)?;
    put.kind = Some(kind(context, &args, &source, content.as_deref()));
    put.runner = args.runner.map(|runner| match runner {
        RunnerArg::Native => Runner::Native,
        RunnerArg::Nginx => Runner::Nginx,
    });
    put.image.clone_from(&args.runner_image);
    match &source {
        Source::Url(url) => put.url = Some(url.clone()),
        Source::File(_) | Source::Stdin => {
            let upload = upload(context, &client, &source, content).await?;
            put.upload = Some(upload.digest);
            put.file_name = source.file_name().map(str::to_owned);
            put.content_type = args.media_type.clone();
        }
    }
    ask(context, &client, &name, &put, &args).await
}

/// A command in an image.
async fn command(context: &mut Context, client: &Client, args: DeployArgs) -> Result<u8, Failure> {
    let image = args.image.clone().unwrap_or_default();
    let guessed = || {
        let last = image.split(':').next().and_then(|repository| repository.rsplit('/').next());
        last.and_then(guess::service_name)
    };
    let name = args.name.clone().or_else(guessed).ok_or_else(|| nameless(&image))?;
    let protocol = args.protocol.map(|protocol| match protocol {
        ProtocolArg::Http1 => Protocol::Http1,
        ProtocolArg::H2c => Protocol::H2c,
    });
    let (port, command) = (args.port, Some(args.command.clone()));
    let put = ServicePut { image: Some(image), command, port, protocol, ..plain(&args)? };
    ask(context, client, &name, &put, &args).await
}

async fn ask(
    context: &mut Context,
    client: &Client,
    name: &str,
    put: &ServicePut,
    args: &DeployArgs,
) -> Result<u8, Failure> {
    let work = client.deploy(name, put, args.wait.limit());
    let deployed = context.during(format!("deploying {name}"), work).await?;
    show(context, &deployed)?;
    if deployed.done { Ok(DONE) } else { args.wait.overdue("the deploy") }
}

fn nameless(of: &str) -> Failure {
    Failure::Usage(format!("no name can be made of `{of}`: give one with --name"))
}

fn show(context: &mut Context, deployed: &Deployed) -> Result<(), Failure> {
    let service = &deployed.service;
    if context.globals.json {
        return context.print_json(service);
    }
    // The name's address, where there is one: that is the one to remember.
    let url = service.urls.last().unwrap_or(&service.url);
    if context.globals.quiet {
        return context.print(&format!("{url}\n"));
    }
    let state = match (deployed.done, deployed.changed) {
        (false, _) => "being deployed",
        (true, false) => "unchanged",
        (true, true) => service.state.word(),
    };
    context.print(&format!("{} is {state}: {url}\n", service.name))
}

/// What stands on the command line.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Url(String),
    File(String),
    Stdin,
}

impl Source {
    fn of(text: &str) -> Self {
        match text {
            "-" => Self::Stdin,
            text if text.contains("://") => Self::Url(text.to_owned()),
            text => Self::File(text.to_owned()),
        }
    }

    /// Its name, if it has one.
    fn file_name(&self) -> Option<&str> {
        match self {
            Self::Url(source) | Self::File(source) => Some(guess::file_name(source)).filter(|name| !name.is_empty()),
            Self::Stdin => None,
        }
    }

    /// What we can see of the content: all of standard input, how a file begins.
    fn read(&self, context: &mut Context) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Url(_) => Ok(None),
            Self::Stdin => whole(&mut context.env.stdin).map(Some),
            Self::File(path) => beginning(path).map(Some),
        }
    }
}

fn whole(input: &mut (dyn Read + Send)) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    input
        .take(STDIN_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Io("cannot read standard input".to_owned(), error))?;
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        return Err(Failure::Said("standard input is far too large to deploy".to_owned(), None));
    }
    Ok(bytes.into())
}

fn beginning(path: &str) -> Result<Bytes, Failure> {
    let unreadable = |error| Failure::Io(format!("cannot read {path}"), error);
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(Failure::Usage(format!("{path} is a folder: a service is made of one file")));
    }
    let mut bytes = [0; BEGINNING_BYTES];
    let read = file.read(&mut bytes).map_err(unreadable)?;
    Ok(Bytes::copy_from_slice(&bytes[..read]))
}

fn name(args: &DeployArgs, source: &Source) -> Result<String, Failure> {
    let given = args.name.clone();
    let guessed = || source.file_name().and_then(guess::service_name);
    given.or_else(guessed).ok_or_else(|| nameless(args.source.as_deref().unwrap_or_default()))
}

fn kind(context: &mut Context, args: &DeployArgs, source: &Source, content: Option<&[u8]>) -> ContentKind {
    match (args.script, args.r#static) {
        (true, _) => return ContentKind::Script,
        (_, true) => return ContentKind::Static,
        _ => {}
    }
    let guess = guess::kind(source.file_name().unwrap_or_default(), content);
    let (what, other) = match guess.kind {
        ContentKind::Script => ("a script, run on every request", "--static serves it as it is"),
        ContentKind::Static => ("a file, served as it is", "--script runs it on every request"),
    };
    context.note(&format!("note: taken for {what}, because {}; {other}", guess.because));
    guess.kind
}

fn plain(args: &DeployArgs) -> Result<ServicePut, Failure> {
    let millis = |time: std::time::Duration| {
        let millis = u32::try_from(time.as_millis());
        millis.map_err(|_| Failure::Usage("a time is far too long".to_owned()))
    };
    let limits = Limits {
        memory_bytes: args.memory,
        cpu_millis: args.cpus,
        pids: args.pids,
        disk_bytes: args.disk,
        request_timeout_ms: args.timeout.map(millis).transpose()?,
        concurrency: args.concurrency,
        egress_connections: args.connections,
        egress_bytes_per_second: args.bandwidth,
        ..Limits::default()
    };
    let health = HealthCheck { path: args.health.clone(), deadline_ms: args.ready_within.map(millis).transpose()? };
    Ok(ServicePut {
        env: args.env.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect(),
        limits: (limits != Limits::default()).then_some(limits),
        health: (health != HealthCheck::default()).then_some(health),
        egress: args.egress.map(|egress| match egress {
            EgressArg::None => Egress::None,
            EgressArg::Internet => Egress::Internet,
        }),
        ..ServicePut::default()
    })
}

async fn upload(
    context: &Context,
    client: &Client,
    source: &Source,
    content: Option<Bytes>,
) -> Result<Upload, Failure> {
    match source {
        Source::File(path) => {
            let work = client.upload(Path::new(path));
            context.during(format!("uploading {path}"), work).await
        }
        Source::Stdin | Source::Url(_) => {
            let work = client.upload_bytes(content.unwrap_or_default());
            context.during("uploading".to_owned(), work).await
        }
    }
}

//! What may go on for ever: `logs`, `events`.

use std::time::Duration;

use shipway_api_types::{Event, LogLine, LogStream, Wanted};
use shipway_client::{Client, Error, LogOptions};

use super::Context;
use crate::args::{EventsArgs, LogsArgs, StreamArg};
use crate::failure::{DONE, Failure};
use crate::show::{self, harmless};

/// Between two attempts to go on with a stream that broke off.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Attempts in a row that bring nothing: about as long as an upgrade may take.
const ATTEMPTS_MAX: u32 = 60;

pub(super) async fn logs(context: &mut Context, args: LogsArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let mut options = LogOptions {
        follow: args.follow,
        tail: args.tail,
        since: args.since.clone(),
        cursor: None,
        stream: args.stream.map(|stream| match stream {
            StreamArg::Stdout => LogStream::Stdout,
            StreamArg::Stderr => LogStream::Stderr,
        }),
    };
    let mut attempts = 0;
    loop {
        let before = options.cursor.clone();
        let ended = read_log(context, &client, &args, &mut options).await;
        if !args.follow {
            return ended.map(|()| DONE);
        }
        // Something came: what broke off then is a new trouble.
        attempts = if options.cursor == before { attempts + 1 } else { 1 };
        match ended {
            Err(failure) if attempts > ATTEMPTS_MAX || !may_pass(&failure, options.cursor.is_some()) => {
                return Err(failure);
            }
            Ok(()) if is_over(&client, &args.name).await? => return Ok(DONE),
            _ => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
}

/// Prints lines until the stream ends, and remembers where to go on.
async fn read_log(
    context: &mut Context,
    client: &Client,
    args: &LogsArgs,
    options: &mut LogOptions,
) -> Result<(), Failure> {
    let mut lines = client.logs(&args.name, options).await?;
    while let Some(line) = lines.next().await? {
        print_line(context, args, &line)?;
        options.cursor = Some(line.cursor);
        options.tail = None;
        options.since = None;
    }
    Ok(())
}

fn print_line(context: &mut Context, args: &LogsArgs, line: &LogLine) -> Result<(), Failure> {
    if context.globals.json {
        return context.print_json_line(line);
    }
    let text = if context.env.surroundings.stdout_is_terminal { harmless(&line.text) } else { line.text.clone() };
    let end = if line.partial { "" } else { "\n" };
    match args.timestamps {
        true => context.print(&format!("{} {text}{end}", line.at)),
        false => context.print(&format!("{text}{end}")),
    }
}

/// Whether a trouble is one that an upgrade of the server makes. At the very
/// beginning it is not: then the command line is more likely wrong.
const fn may_pass(failure: &Failure, begun: bool) -> bool {
    match failure {
        Failure::Client(Error::Broken(_) | Error::Unreachable { .. }) => begun,
        Failure::Client(Error::Refused(problem)) => problem.status == 503 && begun,
        _ => false,
    }
}

/// Whether a log that ended will not go on.
async fn is_over(client: &Client, name: &str) -> Result<bool, Failure> {
    match client.service(name).await {
        Ok(service) => Ok(service.wanted == Wanted::Stopped),
        Err(Error::Refused(problem)) if problem.status == 404 => Ok(true),
        Err(Error::Unreachable { .. } | Error::Broken(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn events(context: &mut Context, args: EventsArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    if args.follow {
        let mut events = client.follow_events(&args.name, None).await?;
        while let Some(event) = events.next().await? {
            print_event(context, &event)?;
        }
        return Ok(DONE);
    }
    let mut cursor = None;
    loop {
        let page = client.events(&args.name, cursor.as_deref()).await?;
        for event in &page.items {
            print_event(context, event)?;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(DONE);
        }
    }
}

fn print_event(context: &mut Context, event: &Event) -> Result<(), Failure> {
    if context.globals.json {
        return context.print_json_line(event);
    }
    let text: Vec<String> = show::event(event).lines().map(harmless).collect();
    context.print(&format!("{}  {}\n", event.at, text.join("\n    ")))
}

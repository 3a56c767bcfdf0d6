//! `stop`, `start`, `restart`, `rollback`, `rm`.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use shipway_api_types::Service;
use shipway_client::{Error, Waited};

use super::Context;
use crate::args::{ChangeArgs, RmArgs, RollbackArgs, WaitArgs};
use crate::failure::{DONE, Failure};

/// More than this is no answer to yes or no.
const ANSWER_BYTES_MAX: u64 = 100;

pub(super) async fn stop(context: &mut Context, args: ChangeArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    each(context, args, "stopping", "the stop", async |name, wait| client.stop(name, wait).await).await
}

pub(super) async fn start(context: &mut Context, args: ChangeArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    each(context, args, "starting", "the start", async |name, wait| client.start(name, wait).await).await
}

pub(super) async fn restart(context: &mut Context, args: ChangeArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    each(context, args, "restarting", "the restart", async |name, wait| client.restart(name, wait).await).await
}

/// Changes one service after the other; the first failure ends it.
async fn each(
    context: &mut Context,
    args: ChangeArgs,
    doing: &str,
    what: &str,
    change: impl AsyncFn(&str, Duration) -> Result<Waited<Service>, Error>,
) -> Result<u8, Failure> {
    for name in &args.names {
        let work = change(name, args.wait.limit());
        let waited = context.during(format!("{doing} {name}"), work).await?;
        finish(context, waited, args.wait, what)?;
    }
    Ok(DONE)
}

pub(super) async fn rollback(context: &mut Context, args: RollbackArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    let work = client.rollback(&args.name, args.release, args.wait.limit());
    let waited = context.during(format!("rolling {} back", args.name), work).await?;
    finish(context, waited, args.wait, "the rollback")
}

fn finish(context: &mut Context, waited: Waited<Service>, wait: WaitArgs, what: &str) -> Result<u8, Failure> {
    let service = waited.value;
    if context.globals.json {
        context.print_json(&service)?;
    } else if waited.done {
        let release = service.release.map_or_else(String::new, |number| format!(", release {number}"));
        context.note(&format!("{} is {}{release}", service.name, service.state.word()));
    }
    if waited.done { Ok(DONE) } else { wait.overdue(what) }
}

pub(super) async fn rm(context: &mut Context, args: RmArgs) -> Result<u8, Failure> {
    let client = context.client()?;
    if !args.yes {
        confirm(context, &args.names)?;
    }
    let mut code = DONE;
    for name in &args.names {
        let work = client.delete(name, args.wait.limit());
        match context.during(format!("deleting {name}"), work).await {
            Ok(waited) if waited.done => context.note(&format!("{name} is gone")),
            Ok(_) => code = args.wait.overdue(&format!("the removal of {name}"))?,
            Err(failure) if args.force && is_missing(&failure) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(code)
}

fn confirm(context: &mut Context, names: &[String]) -> Result<(), Failure> {
    if !context.env.surroundings.stdin_is_terminal {
        let text = "nobody is here to be asked; --yes deletes without asking";
        return Err(Failure::Usage(text.to_owned()));
    }
    context.complain(&format!("Delete {} with all releases? [y/N] ", names.join(", ")));
    let mut answer = String::new();
    let mut line = BufReader::new(&mut context.env.stdin).take(ANSWER_BYTES_MAX);
    let read = line.read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::Said("nothing was deleted".to_owned(), None)),
    }
}

fn is_missing(failure: &Failure) -> bool {
    matches!(failure, Failure::Client(Error::Refused(problem)) if problem.status == 404)
}

//! Commands that change what runs.

use std::io::Write as _;

use crate::args::{Rm, Rollback};
use crate::ask::{Asker, PATIENCE};
use crate::exit::Failure;
use crate::output::Output;

/// What `act` does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Stop,
    Start,
    Restart,
}

impl Action {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Stop => ("stopping", "stopped"),
            Self::Start => ("starting", "started"),
            Self::Restart => ("restarting", "restarted"),
        }
    }
}

/// `stop`, `start`, `restart`.
pub(super) async fn act(names: &[String], action: Action, asker: &Asker, output: &Output) -> Result<(), Failure> {
    for name in names {
        let (doing, done) = action.words();
        let progress = output.progress(format!("{doing} {name}"));
        let client = &asker.client;
        let waited = match action {
            Action::Stop => client.stop(name, PATIENCE).await?,
            Action::Start => client.start(name, PATIENCE).await?,
            Action::Restart => client.restart(name, PATIENCE).await?,
        };
        drop(progress);
        let service = waited.value;
        if output.json {
            output.object(&service);
        } else if waited.done {
            output.note(&format!("{} is {done}", service.name));
        } else {
            output.note(&format!("still {doing} {}", service.name));
        }
    }
    Ok(())
}

pub(super) async fn rollback(args: &Rollback, asker: &Asker, output: &Output) -> Result<(), Failure> {
    let progress = output.progress(format!("rolling {} back", args.service));
    let service = asker.client.rollback(&args.service, args.release, PATIENCE).await?.value;
    drop(progress);
    if output.json {
        output.object(&service);
    } else {
        let release = service.release.unwrap_or_default();
        output.note(&format!("{} is live with release {release}", service.name));
    }
    Ok(())
}

pub(super) async fn remove(args: &Rm, asker: &Asker, output: &Output) -> Result<(), Failure> {
    if !args.yes {
        confirm(args, asker)?;
    }
    for name in &args.services {
        let progress = output.progress(format!("removing {name}"));
        asker.client.delete(name, PATIENCE).await?;
        drop(progress);
        output.note(&format!("{name} is gone"));
    }
    Ok(())
}

fn confirm(args: &Rm, asker: &Asker) -> Result<(), Failure> {
    if !asker.surroundings.stdin_is_terminal {
        return Err(Failure::new(2, "nobody is here to be asked").hint("say --yes to remove without being asked"));
    }
    let question = format!("Remove {} with all releases? [y/N] ", args.services.join(", "));
    drop(write!(std::io::stderr().lock(), "{question}"));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::new(1, "nothing was removed")),
    }
}

//! Each command of the API's, by its subject.

mod deploy;
mod exec;
mod life;
mod logs;
mod look;
mod terminal;
mod token;

use clap::CommandFactory as _;

use crate::args::{Cli, Command};
use crate::ask::Asker;
use crate::exit::Failure;
use crate::output::Output;

/// Carries out one command and returns the exit status.
pub(crate) async fn carry_out(command: Command, asker: &Asker, output: &Output) -> Result<u8, Failure> {
    match command {
        Command::Deploy(args) => deploy::deploy(args, asker, output).await?,
        Command::Ps => look::ps(asker, output).await?,
        Command::Inspect(args) => look::inspect(&args.service, asker, output).await?,
        Command::Stats(args) => look::stats(args.services, asker, output).await?,
        Command::Releases(args) => look::releases(&args.service, asker, output).await?,
        Command::Diff(args) => look::diff(&args, asker, output).await?,
        Command::Events(args) => look::events(&args.service, asker, output).await?,
        Command::Open(args) => look::open(&args.service, asker, output).await?,
        Command::Logs(args) => logs::logs(args, asker, output).await?,
        Command::Exec(args) => return exec::exec(args, asker, output).await,
        Command::Stop(args) => life::act(&args.services, life::Action::Stop, asker, output).await?,
        Command::Start(args) => life::act(&args.services, life::Action::Start, asker, output).await?,
        Command::Restart(args) => life::act(&args.services, life::Action::Restart, asker, output).await?,
        Command::Rollback(args) => life::rollback(&args, asker, output).await?,
        Command::Rm(args) => life::remove(&args, asker, output).await?,
        Command::Token(command) => token::token(command, asker, output).await?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "shipway", &mut std::io::stdout());
        }
        Command::Serve(_) | Command::Down(_) | Command::Doctor(_) | Command::Config(_) | Command::Openapi | Command::Proxy(_) => {
            return Err(Failure::new(2, "this command belongs to the platform's binary"));
        }
    }
    Ok(0)
}

//! The one binary: the command line, and the platform behind `serve`.
//!
//! Reading order: [`config`] (what it was told), [`serve`] (the parts put together
//! and run), `serve/edge` (the proxy supervised), [`down`] (everything ended).
//! Nothing is decided here that a part could decide.

mod admin_token;
mod config;
mod config_check;
mod db;
mod doctor;
mod down;
mod facts;
mod install;
mod listeners;
mod logging;
mod platform;
mod program;
mod proxy;
mod proxy_user;
mod serve;
mod state_dir;
mod upgrade;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use shipway_cli::{Cli, Command, ConfigCommand, PlatformArgs, Surroundings};

use crate::config::{Effective, Sources};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match carry_out(cli) {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed; there is nobody else to tell.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(cli: Cli) -> anyhow::Result<ExitCode> {
    let json = cli.global.json;
    match cli.command {
        Command::Proxy(_) => proxy::run()?,
        Command::Serve(args) => serve(&args.platform, args.roles)?,
        Command::Worker(args) => serve(&args, Some("worker".to_owned()))?,
        Command::Janitor(args) => serve(&args, Some("janitor".to_owned()))?,
        Command::Upgrade(args) => upgrade::upgrade(&load(&args.platform)?.config, &args.to, json)?,
        Command::Facts => serde_json::to_writer(std::io::stdout(), &facts::Facts::own())?,
        Command::Install => install::install()?,
        Command::Uninstall(args) => runtime()?.block_on(install::uninstall(args.purge))?,
        Command::Down(args) => runtime()?.block_on(down::down(load(&args)?.config))?.print(json)?,
        Command::Doctor(args) => return doctor::doctor(&load(&args)?.config, json),
        Command::Db(command) => runtime()?.block_on(db::carry(command))?,
        Command::Config(ConfigCommand::Check(args)) => config_check::print(&load(&args)?, json)?,
        Command::Openapi => std::io::stdout().write_all(shipway_api::openapi_json().as_bytes())?,
        _ => return Ok(ExitCode::from(runtime()?.block_on(shipway_cli::run(cli, &surroundings())))),
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(args: &PlatformArgs, roles: Option<String>) -> anyhow::Result<()> {
    let Effective { config, .. } = load_with(args, roles.map(|roles| ("roles", roles)))?;
    logging::start(config.log_format, &config.log_level)?;
    runtime()?.block_on(serve::serve(config))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

/// Reads configuration; the one place that looks at the environment.
pub(crate) fn load(args: &PlatformArgs) -> anyhow::Result<Effective> {
    load_with(args, None)
}

/// The same, with a flag of its own that stands for a key.
fn load_with(args: &PlatformArgs, flag: Option<(&str, String)>) -> anyhow::Result<Effective> {
    let given = args.set.iter().map(|pair| (pair.key.clone(), pair.value.clone()));
    let sources = Sources {
        flags: given.chain(flag.map(|(key, value)| (key.to_owned(), value))).collect(),
        file: args.config.clone(),
        environment: std::env::vars().collect(),
    };
    Ok(config::load(&sources)?)
}

fn surroundings() -> Surroundings {
    Surroundings {
        is_root: rustix::process::geteuid().is_root(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stdin_is_terminal: std::io::stdin().is_terminal(),
        admin_socket: std::path::PathBuf::from("/run/shipway/api.sock"),
        has_display: std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some(),
    }
}

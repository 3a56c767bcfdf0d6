//! The commands a person types.
//!
//! # Entry points, for `main`
//!
//! * [`Cli`]: the whole command line (`Cli::parse()`). `Serve`, `Down`, `Doctor`,
//!   `Config`, `Openapi` and `Proxy` *are* the platform: the binary carries them out.
//! * [`run`]`(cli, &`[`Surroundings`]`) -> u8`: carries out every other command, those
//!   that ask the API, and returns the exit status. [`run_in`] is the same in an
//!   [`Env`] of the caller's making, which is how tests read what was printed.
//!
//! # Voice
//!
//! Data goes to standard output, everything else to standard error. Tables for
//! people, `--json` for programs. Colour never alone carries meaning. What can be
//! done about an error is its last line, after an empty one: `hint: …`.

mod args;
mod commands;
mod connection;
mod env;
mod failure;
mod guess;
mod output;
mod progress;
mod show;
mod terminal;
mod units;

pub use args::{Cli, Command, ConfigCommand, DbArgs, DbCommand, PlatformArgs, ProxyArgs, UninstallArgs, UpgradeArgs};
pub use env::{Env, Surroundings};
pub use units::KeyValue;

/// Carries out a command that asks the API, and returns the exit status.
///
/// Commands that are the platform return status 2: the binary does them.
pub async fn run(cli: Cli, surroundings: &Surroundings) -> u8 {
    run_in(cli, Env::of_process(surroundings)).await
}

/// The same, in surroundings of the caller's making.
pub async fn run_in(cli: Cli, env: Env) -> u8 {
    let is_exec = matches!(cli.command, Command::Exec(_));
    let mut context = commands::Context::new(cli.global, env);
    match commands::run(&mut context, cli.command).await {
        Ok(code) => code,
        Err(failure) => {
            failure.tell(&mut context);
            failure.exit_code(is_exec)
        }
    }
}

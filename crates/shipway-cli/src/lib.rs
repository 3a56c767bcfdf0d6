//! The commands a person types.
//!
//! [`Cli`] is the whole command line; [`run`] carries out every command that asks
//! the API. Those that *are* the platform (`serve`, `down`, `doctor`, `config`)
//! are only described here and carried out by the binary.
//!
//! Data goes to standard output, everything else to standard error: progress,
//! errors, and, after an empty line, a hint. With `--json` data is one JSON
//! object a line and errors are problem+json.

mod args;
mod ask;
mod commands;
mod exit;
mod output;
mod progress;
mod units;

pub use args::{Cli, Command, ConfigCommand, PlatformArgs, ProxyArgs};
pub use ask::Surroundings;
pub use exit::Failure;

/// Carries out a command that asks the API, and returns the exit status.
///
/// Commands that are the platform return status 2: the binary does them.
pub async fn run(cli: Cli, surroundings: &Surroundings) -> u8 {
    let output = output::Output::new(&cli.global, surroundings);
    let asker = match ask::Asker::new(&cli.global, surroundings) {
        Ok(client) => client,
        Err(failure) => return output.failure(&failure),
    };
    match commands::carry_out(cli.command, &asker, &output).await {
        Ok(code) => code,
        Err(failure) => output.failure(&failure),
    }
}

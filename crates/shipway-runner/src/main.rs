//! `shipway-runner serve …`: reads its arguments, takes descriptor 3, serves.
//!
//! Exit status: 0 after SIGTERM, 1 when it could not start, 2 when its arguments
//! are wrong. Everything it has to say goes to stderr, the container's log.

use std::process::ExitCode;

use shipway_runner::config::Config;
use shipway_runner::server::Server;

fn main() -> ExitCode {
    let config = match Config::parse(std::env::args_os().skip(1)) {
        Ok(config) => config,
        Err(error) => return complain(&error.to_string(), 2),
    };
    match Server::open(config).and_then(Server::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), 1),
    }
}

#[expect(clippy::print_stderr, reason = "a runner has nothing else to speak through")]
fn complain(message: &str, status: u8) -> ExitCode {
    eprintln!("shipway-runner: {message}");
    ExitCode::from(status)
}

//! `shipway-runner serve …`: reads its arguments, takes descriptor 3, serves.
//!
//! `shipway-runner nginx` reads its environment instead, and has nginx serve; called
//! `shipway-cgi`, it is what fcgiwrap runs for a request.
//!
//! Exit status: 0 after SIGTERM, 1 when it could not start, 2 when its arguments
//! are wrong. Everything it has to say goes to stderr, the container's log.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use shipway_runner::config::Config;
use shipway_runner::nginx::{self, init::Init};
use shipway_runner::server::Server;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if Path::new(&name).file_name() == Some(OsStr::new(nginx::WRAPPER)) {
        return report(nginx::wrapper::run());
    }
    let args: Vec<_> = args.collect();
    if args == ["nginx"] {
        return report(Init::open().and_then(Init::run));
    }
    match Config::parse(args.into_iter()) {
        Ok(config) => report(Server::open(config).and_then(Server::run)),
        Err(error) => complain(&error.to_string(), 2),
    }
}

fn report(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), 1),
    }
}

#[expect(clippy::print_stderr, reason = "a runner has nothing else to speak through")]
fn complain(message: &str, status: u8) -> ExitCode {
    eprintln!("shipway-runner: {message}");
    ExitCode::from(status)
}

//! A proxy process as `shipway proxy` is one, for the tests of this crate: takes
//! its settings and listeners from its parent and runs.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else is opened: the proxy closes what it does not know.
    let result = shipway_proxy::startup::receive();
    let level = match std::env::args().nth(1).as_deref() {
        Some("debug") => tracing::Level::DEBUG,
        _ => tracing::Level::WARN,
    };
    let file = std::env::args().nth(2);
    tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(move || log(file.as_deref())).init();
    let config = match result {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, "no settings");
            return ExitCode::from(2);
        }
    };
    match shipway_proxy::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(?error, "could not run");
            ExitCode::FAILURE
        }
    }
}

/// Opened for each line: what is open when the proxy begins, it closes.
fn log(file: Option<&str>) -> Box<dyn Write> {
    let opened = file.and_then(|file| File::options().create(true).append(true).open(file).ok());
    opened.map_or_else(|| Box::new(io::stderr()) as Box<dyn Write>, |opened| Box::new(opened))
}

//! A proxy process as `shipway proxy` is one, for the tests of this crate: takes
//! its settings and listeners from its parent and runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else is opened: the proxy closes what it does not know.
    let result = shipway_proxy::startup::receive();
    let level = match std::env::args().nth(1).as_deref() {
        Some("debug") => tracing::Level::DEBUG,
        _ => tracing::Level::WARN,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
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

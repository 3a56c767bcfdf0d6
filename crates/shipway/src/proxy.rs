//! `shipway proxy`: the process that visitors reach, started by `serve`.
//!
//! What it needs comes over its standard input; the arguments only name it in
//! the process list.

use crate::config::LogFormat;
use crate::logging;

/// Runs until told to stop.
pub(crate) fn run() -> anyhow::Result<()> {
    logging::start(LogFormat::Auto, "info")?;
    let config = shipway_proxy::startup::receive()?;
    Ok(shipway_proxy::run(config)?)
}

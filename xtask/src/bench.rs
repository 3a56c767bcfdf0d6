//! `cargo xtask bench`: the peer and Shipway in turn, in one run, on one machine.

use anyhow::bail;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which bench: start, exec, deploy, script, idle, proxy
    names: Vec<String>,
    /// One JSON object a row
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a bar is missed
    #[arg(long)]
    check: bool,
}

pub(crate) fn bench(options: &Options) -> anyhow::Result<()> {
    let _ = (options.json, options.check);
    bail!("unknown bench {:?}", options.names)
}

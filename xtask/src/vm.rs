//! `cargo xtask vm`.

#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) fn vm(_options: &Options) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}

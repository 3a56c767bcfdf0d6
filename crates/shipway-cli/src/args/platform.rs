//! Commands that are the platform itself, carried out by the binary.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::units::KeyValue;

pub(super) const SERVE_EXAMPLES: &str = "\
Examples:
  shipway serve
  shipway serve --set listen=127.0.0.1:9000 --set api.open=loopback
  shipway serve --config /etc/shipway/config.yml";

pub(super) const UPGRADE_EXAMPLES: &str = "\
Examples:
  shipway upgrade --to ./shipway-0.2.0
  shipway upgrade --to /usr/local/bin/shipway.previous

The same happens on SIGHUP (`systemctl reload shipway`) with whatever file is in place then.";

/// `shipway uninstall`.
#[derive(Debug, Clone, Args)]
pub struct UninstallArgs {
    /// Remove the state and the configuration too: every service is lost
    #[arg(long)]
    pub purge: bool,
}

/// `shipway upgrade`.
#[derive(Debug, Clone, Args)]
pub struct UpgradeArgs {
    /// The other version's binary
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Where the platform is.
    #[command(flatten)]
    pub platform: PlatformArgs,
}

/// Where the platform's own commands take their settings from.
#[derive(Debug, Clone, Default, Args)]
pub struct PlatformArgs {
    /// Configuration file [default: ./config.yml, if there is one]
    #[arg(short, long, value_name = "FILE", env = "SHIPWAY_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// One setting, as log.level=debug; `shipway config check` lists them all; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<KeyValue>,
}

/// What `serve` tells the proxy.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    /// Names its installation in the process list
    #[arg(long)]
    pub run_dir: PathBuf,
}

/// `shipway config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print what is in force, and where each value came from
    Check(PlatformArgs),
}

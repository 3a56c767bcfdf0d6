//! `shipway caddy build`, `shipway k6 build`, `shipway builds`, `shipway build`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `shipway caddy`, `shipway k6`.
#[derive(Debug, Subcommand)]
pub enum ProgramCommand {
    /// Build it with plugins, and fetch the binary
    ///
    /// Equal builds are one: what was built before, by anybody of the project, comes at once.
    Build(Box<ProgramBuildArgs>),
}

/// `shipway caddy build`.
#[derive(Debug, Args)]
pub struct ProgramBuildArgs {
    /// Version: exact, a prefix as v2, a branch, or latest
    #[arg(value_name = "VERSION", default_value = "latest")]
    pub version: String,
    /// A plugin; may be repeated
    #[arg(long = "with", value_name = "PACKAGE[@VERSION]")]
    pub with: Vec<String>,
    /// Take a module's content from another; may be repeated
    #[arg(long, value_name = "OLD=NEW@VERSION")]
    pub replace: Vec<String>,
    /// Operating system it is for, as Go calls it [default: this machine's]
    #[arg(long, value_name = "OS")]
    pub os: Option<String>,
    /// Architecture it is for, as Go calls it [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Which arm, with --arch arm: 5, 6 or 7
    #[arg(long, value_name = "NUMBER")]
    pub arm: Option<u8>,
    /// File to write [default: the program's name, in this directory]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Build it anew, even if it was built, or failed for good
    #[arg(long)]
    pub force: bool,
    /// Only ask for it, and print its id
    #[arg(long, conflicts_with = "output")]
    pub detach: bool,
}

/// `shipway builds`.
#[derive(Debug, Args)]
pub struct BuildsArgs {
    /// Only of this program: caddy or k6
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// Only builds that have come so far
    #[arg(long, value_name = "STATE")]
    pub state: Option<BuildStateArg>,
    /// Only the newest
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Show it again whenever it has changed, until interrupted; without a terminal, a line for
    /// each change
    #[arg(short, long)]
    pub watch: bool,
}

/// How far a build has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BuildStateArg {
    /// Waits for a worker
    Pending,
    /// A worker has it
    Building,
    /// There is a binary
    Success,
    /// There will be none
    Failed,
    /// Somebody did not want it any more
    Cancelled,
}

/// `shipway build`.
#[derive(Debug, Subcommand)]
pub enum BuildCommand {
    /// Print everything about a build, as JSON
    Show {
        /// Id of the build
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Print what its steps said
    Logs {
        /// Id of the build
        #[arg(value_name = "ID")]
        id: String,
        /// Go on until it has ended
        #[arg(short, long)]
        follow: bool,
    },
    /// Cancel it, for all who wait for it
    Cancel {
        /// Id of the build
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Make it anew: the same versions, by the same Go
    Rebuild {
        /// Id of the build
        #[arg(value_name = "ID")]
        id: String,
    },
}

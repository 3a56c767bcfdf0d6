//! The whole command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::units::{Duration, KeyValue, Size};

const ABOUT: &str = "Turns what you have into something that runs";

const EXIT_CODES: &str = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 no such thing, 4 not allowed, 5 Shipway cannot be \
    reached. `exec` ends with the command's own status (126: it cannot be run, 127: there is no such program).";

const EXAMPLES: &str = "Examples:
  shipway deploy https://example.org/hello.sh --script --name hello
  shipway deploy ./page.html
  shipway ps
  shipway logs -f hello
  shipway exec -it hello -- sh
  shipway rollback hello";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "shipway", version, about = ABOUT, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// For every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where the API is: `http://host:port` or `unix:///path`
    ///
    /// Unless told: the socket in /run/shipway if you may open it, else `http://127.0.0.1:8080`.
    #[arg(long, global = true, env = "SHIPWAY_URL", value_name = "URL")]
    pub url: Option<String>,
    /// An API token; not needed by root and by who started Shipway on this machine
    #[arg(long, global = true, env = "SHIPWAY_TOKEN", hide_env_values = true, value_name = "SECRET")]
    pub token: Option<String>,
    /// Print data as JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Print names and URLs alone, and no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Deploy a URL or a file as a service
    Deploy(Deploy),
    /// List services
    #[command(visible_alias = "ls")]
    Ps,
    /// Show everything about a service
    Inspect(Named),
    /// Show a service's log
    Logs(Logs),
    /// Run a command in a service's container
    Exec(Exec),
    /// Show what services use
    Stats(StatsArgs),
    /// Stop services, keep their releases
    Stop(Names),
    /// Start stopped services
    Start(Names),
    /// Replace services' containers by new ones of the same release
    Restart(Names),
    /// List a service's releases
    Releases(Named),
    /// Show what differs between two releases of a service
    Diff(Diff),
    /// Make an older release live again; nothing is downloaded
    Rollback(Rollback),
    /// Remove services with all their releases
    Rm(Rm),
    /// Show what happened to a service
    Events(Named),
    /// Print a service's URL, and open it in a browser if there is one
    Open(Named),
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Run the platform
    Serve(PlatformArgs),
    /// End the platform on this machine: the process, its proxy and its containers
    ///
    /// What was deployed is kept; the next `serve` brings it back.
    Down(PlatformArgs),
    /// Say what this host offers, what is missing, and the remedy
    Doctor(PlatformArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for your shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the API's OpenAPI document
    #[command(hide = true)]
    Openapi,
    /// The proxy's own process, started by `serve`
    #[command(hide = true)]
    Proxy(ProxyArgs),
}

/// What and how to deploy.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shipway deploy https://example.org/hello.sh --script --name hello
  shipway deploy ./report.py --script --env GREETING=hi --timeout 5s
  shipway deploy ./page.html --static")]
pub struct Deploy {
    /// A URL (http or https), or a file on this machine
    pub source: String,
    /// Run it on every request
    ///
    /// Unless told, a file that begins with `#!` or ends in .sh, .py, .pl or .js is a script.
    #[arg(long, conflicts_with = "static")]
    pub script: bool,
    /// Serve it as it is
    #[arg(long = "static")]
    pub r#static: bool,
    /// The service's name: a DNS label; unless told, made of the file's name
    #[arg(long)]
    pub name: Option<String>,
    /// Environment of the script; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub env: Vec<KeyValue>,
    /// Memory of the whole container, such as 128M
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Processors, such as 0.5
    #[arg(long, value_name = "NUMBER", value_parser = crate::units::cpus)]
    pub cpus: Option<u32>,
    /// Processes and threads at once
    #[arg(long, value_name = "NUMBER")]
    pub pids: Option<u32>,
    /// Bytes that may be written inside, such as 64M
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<Size>,
    /// Longest one request may take, such as 5s
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Duration>,
    /// Scripts at work at once
    #[arg(long, value_name = "NUMBER")]
    pub concurrency: Option<u32>,
    /// Path that must answer before the release goes live
    #[arg(long, value_name = "PATH")]
    pub health_path: Option<String>,
}

/// One service.
#[derive(Debug, Args)]
pub struct Named {
    /// Name or id of the service
    pub service: String,
}

/// Some services.
#[derive(Debug, Args)]
pub struct Names {
    /// Names or ids of the services
    #[arg(required = true)]
    pub services: Vec<String>,
}

/// Which services, or all.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Names or ids of the services; all that run, unless told
    pub services: Vec<String>,
}

/// What to read of a log.
#[derive(Debug, Args)]
pub struct Logs {
    /// Name or id of the service
    pub service: String,
    /// Go on when the end is reached
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only lines of this time or later: RFC 3339, or an age such as 15m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Put the time before each line
    #[arg(short, long)]
    pub timestamps: bool,
}

/// What to run where.
#[derive(Debug, Args)]
pub struct Exec {
    /// Pass standard input on
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Further environment; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub env: Vec<KeyValue>,
    /// Name or id of the service
    pub service: String,
    /// Program and arguments
    #[arg(last = true, required = true)]
    pub argv: Vec<String>,
}

/// Which two releases.
#[derive(Debug, Args)]
pub struct Diff {
    /// Name or id of the service
    pub service: String,
    /// The first release's number
    pub from: u32,
    /// The second release's number
    pub to: u32,
}

/// Which release.
#[derive(Debug, Args)]
pub struct Rollback {
    /// Name or id of the service
    pub service: String,
    /// The release's number; the last one that was live before, unless told
    pub release: Option<u32>,
}

/// What to remove.
#[derive(Debug, Args)]
pub struct Rm {
    /// Names or ids of the services
    #[arg(required = true)]
    pub services: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// What to do about tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is printed this once
    Create {
        /// For people: who or what will use it
        name: String,
        /// Stops working after this, such as 30d
        #[arg(long, value_name = "DURATION")]
        expires: Option<Duration>,
    },
    /// List tokens
    Ls,
    /// Make a token work no more
    Rm {
        /// Its id
        id: String,
    },
}

/// What to do about the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting, the value in force, and where it came from
    Check(PlatformArgs),
}

/// How the platform is told what to do.
#[derive(Debug, Clone, Args)]
pub struct PlatformArgs {
    /// The configuration file; `config.yml` here, unless told
    #[arg(long, env = "SHIPWAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A setting, as in `--set listen=127.0.0.1:9000`; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<KeyValue>,
}

/// What `serve` tells the proxy.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    /// Names its installation in the process list
    #[arg(long)]
    pub run_dir: PathBuf,
}

//! The command line: every command, flag and word of help.

#![expect(clippy::doc_markdown, reason = "doc comments here are what --help prints, not Markdown")]

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::units::{self, KeyValue};

mod build;
mod deploy;
mod image;
mod queue;
mod verify;

pub(crate) use build::{BuildCommand, BuildStateArg, BuildsArgs, ProgramBuildArgs, ProgramCommand};
pub(crate) use deploy::{DeployArgs, EgressArg, ProtocolArg, RunnerArg};
pub(crate) use image::ImageCommand;
pub(crate) use queue::{TaskArgs, TaskCommand, TaskStateArg, WorkerArgs, WorkerCommand};
pub(crate) use verify::VerifyArgs;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  shipway deploy https://example.com/hello.sh --script
  shipway deploy ./site.html --name site
  shipway ps
  shipway logs -f hello
  shipway exec -it hello -- sh
  shipway rollback hello

Exit codes:
  0  done
  1  it failed
  2  the command line is wrong
  3  there is no such service, release or token
  4  refused: no token, a wrong one, or not allowed
  5  the server cannot be reached, or cannot do it now
  exec exits with the command's own code: 126 it could not be run, 127 there is no
  such program, 128 and a signal's number; 125 when shipway itself failed";

/// Turns what you have into something that runs.
#[derive(Debug, Parser)]
#[command(
    name = "shipway",
    version,
    styles = STYLES,
    max_term_width = 100,
    after_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    infer_long_args = false
)]
pub struct Cli {
    /// What every command knows.
    #[command(flatten)]
    pub global: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command knows.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Where shipway is: http://host[:port] or unix:///path [default: the admin socket for root,
    /// else http://127.0.0.1:8080]
    #[arg(long, global = true, value_name = "URL", env = "SHIPWAY_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// API token; in the environment no other user of this machine sees it
    #[arg(long, global = true, value_name = "TOKEN", env = "SHIPWAY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only what was asked for: names, URLs, no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// No colours
    #[arg(long, global = true, env = "NO_COLOR", hide_env_values = true,
          value_parser = clap::builder::FalseyValueParser::new())]
    pub no_color: bool,
}

/// Everything `shipway` can do. The last ones are the platform itself, carried out
/// by the binary; the others ask the API.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a service of a URL or a file, or a new release of it
    Deploy(Box<DeployArgs>),
    /// List services
    #[command(visible_alias = "ls")]
    Ps(PsArgs),
    /// Print a service's log
    Logs(LogsArgs),
    /// Run a command in a service's container
    Exec(ExecArgs),
    /// Show what services use
    Stats(StatsArgs),
    /// Stop services; their releases are kept
    Stop(ChangeArgs),
    /// Start stopped services
    Start(ChangeArgs),
    /// Replace services' containers by new ones of the same release
    Restart(ChangeArgs),
    /// List a service's releases
    Releases(ReleasesArgs),
    /// Show what differs between two releases
    Diff(DiffArgs),
    /// Go back to an older release, with no new download
    Rollback(RollbackArgs),
    /// Delete services, with all their releases
    Rm(RmArgs),
    /// Print a service's URL, and open it in a browser if there is one
    Open(NameArgs),
    /// Print what happened to a service
    Events(EventsArgs),
    /// Print everything about a service, as JSON
    Inspect(NameArgs),
    /// Import, make, list and remove images: root file systems that commands run in
    #[command(subcommand)]
    Image(ImageCommand),
    /// Build Caddy with plugins
    #[command(subcommand)]
    Caddy(ProgramCommand),
    /// Build k6 with extensions
    #[command(subcommand)]
    K6(ProgramCommand),
    /// List builds
    Builds(BuildsArgs),
    /// Look at a build, cancel it, make it anew
    #[command(subcommand)]
    Build(BuildCommand),
    /// Say whether a file is what shipway has built and signed
    Verify(VerifyArgs),
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// List what is in the queue, and why it waits
    Tasks(TaskArgs),
    /// List the workers, and take them out of the queue
    Workers(WorkerArgs),
    /// Print a script that completes commands in your shell
    Completions(CompletionsArgs),
    /// Print the version
    Version,
    /// Run shipway itself
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Run only the worker: the same as `serve --roles worker`
    ///
    /// It carries out deployments and builds of the installation whose database it is given. Services
    /// are reached through a proxy on its machine: `serve --roles worker,proxy` is both.
    #[command(after_help = WORKER_EXAMPLES)]
    Worker(PlatformArgs),
    /// Run only the janitor: the same as `serve --roles janitor`
    ///
    /// It gives back the tasks of workers that have died, and removes what is old.
    #[command(after_help = JANITOR_EXAMPLES)]
    Janitor(PlatformArgs),
    /// End shipway on this machine: the process, its proxy and its containers
    ///
    /// What was deployed is kept; the next `serve` brings it back.
    Down(PlatformArgs),
    /// Make this binary a service of systemd's, and start it
    ///
    /// Writes /usr/local/bin/shipway, /etc/shipway/config.yml (if there is none),
    /// shipway.service and shipway.socket. Doing it again brings them up to date.
    Install,
    /// End the service and remove what `install` has written
    Uninstall(UninstallArgs),
    /// Replace the running shipway by another version, without losing a visitor
    ///
    /// The file takes the place of the one that shipway was started from, which is kept
    /// beside it as NAME.previous. Services, the proxy and every connection go on. A
    /// version that does not become ready is taken back by itself.
    #[command(after_help = UPGRADE_EXAMPLES)]
    Upgrade(UpgradeArgs),
    /// Say what this machine offers, what is missing, and the remedy
    Doctor(PlatformArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Take the state to another database
    #[command(subcommand)]
    Db(DbCommand),
    /// Print the API's OpenAPI document
    #[command(hide = true)]
    Openapi,
    /// Print what this binary can work with; asked by another before an upgrade
    #[command(hide = true)]
    Facts,
    /// Serve visitors; started by `serve`, not by people
    #[command(hide = true)]
    Proxy(ProxyArgs),
}

const SERVE_EXAMPLES: &str = "\
Examples:
  shipway serve
  shipway serve --set listen=127.0.0.1:9000 --set api.open=loopback
  shipway serve --config /etc/shipway/config.yml";

const WORKER_EXAMPLES: &str = "\
Examples:
  shipway worker --set database.url=postgres://shipway@db/shipway
  shipway worker --config /etc/shipway/config.yml

`shipway workers` lists the workers that there are.";

const JANITOR_EXAMPLES: &str = "\
Examples:
  shipway janitor --config /etc/shipway/config.yml";

const UPGRADE_EXAMPLES: &str = "\
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

/// `shipway serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// What this process does: all, or some of api, worker, janitor, proxy [default: all]
    #[arg(long, value_name = "ROLES")]
    pub roles: Option<String>,
    #[command(flatten)]
    pub platform: PlatformArgs,
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

/// Takes the state to another database.
#[derive(Debug, Clone, Subcommand)]
pub enum DbCommand {
    /// Write all that the configured database holds to a file, while shipway does not run
    Export(DbArgs),
    /// Fill the configured database, which must be empty, from such a file
    Import(DbArgs),
}

/// Which file.
#[derive(Debug, Clone, Args)]
pub struct DbArgs {
    /// The file; the environment of services is in it, so keep it to yourself
    pub file: PathBuf,
    /// Which database.
    #[command(flatten)]
    pub platform: PlatformArgs,
}

/// How long a change is waited for.
#[derive(Debug, Clone, Copy, Args)]
pub struct WaitArgs {
    /// Longest to wait until it is done; at most 300s
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "60s")]
    pub wait: Duration,
    /// Return at once; see `shipway events` for what becomes of it
    #[arg(long, conflicts_with = "wait")]
    pub no_wait: bool,
}

/// `shipway ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Only services in this state
    #[arg(long, value_name = "STATE")]
    pub state: Option<StateArg>,
}

/// A service's state, as typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StateArg {
    /// Nothing has been live yet.
    Starting,
    /// Visitors reach it.
    Live,
    /// Its container keeps dying.
    Unhealthy,
    /// Stopped, as asked.
    Stopped,
    /// Its first deploy did not become ready.
    Failed,
}

/// A service.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Name or id of the service
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Services to change.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Names or ids of the services
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// `shipway rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Names or ids of the services
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// A service that is not there is no failure
    #[arg(short, long)]
    pub force: bool,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// `shipway logs`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shipway logs hello --tail 20
  shipway logs -f hello --since 15m
  shipway logs hello --stream stderr --json | jq .text")]
pub struct LogsArgs {
    /// Name or id of the service
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Go on as new lines come
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only lines of this time or later: 2026-11-22T10:00:00Z, or an age as 15m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only this output
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<StreamArg>,
    /// Begin each line with its time
    #[arg(short, long)]
    pub timestamps: bool,
}

/// One of a container's outputs, as typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StreamArg {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// `shipway exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
The command is given to no shell: what stands after -- is the program and its arguments.

Examples:
  shipway exec -it hello -- sh
  shipway exec hello -- ls -l /tmp
  echo data | shipway exec -i hello -- tee /tmp/file")]
pub struct ExecArgs {
    /// Pass standard input on
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// A variable for the command; may be repeated
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<KeyValue>,
    /// Name or id of the service
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Program and arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// `shipway stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Names or ids of services [default: all that run]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// `shipway releases`.
#[derive(Debug, Args)]
pub struct ReleasesArgs {
    /// Name or id of the service
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Only the newest
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
}

/// `shipway diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Name or id of the service
    #[arg(value_name = "NAME")]
    pub name: String,
    /// First release [default: the one before the newest]
    #[arg(value_name = "FROM")]
    pub from: Option<u32>,
    /// Second release [default: the newest]
    #[arg(value_name = "TO", requires = "from")]
    pub to: Option<u32>,
}

/// `shipway rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Name or id of the service
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Number of the release [default: the last one that was live before]
    #[arg(value_name = "RELEASE")]
    pub release: Option<u32>,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// `shipway events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Name or id of the service; a deleted one by its id
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Go on as new events come
    #[arg(short, long)]
    pub follow: bool,
}

/// `shipway token …`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is printed this once
    Create {
        /// What it is for
        #[arg(value_name = "NAME")]
        name: String,
        /// Stops working after this time, as 30d [default: never]
        #[arg(long, value_name = "TIME", value_parser = units::duration)]
        expires: Option<Duration>,
    },
    /// List tokens, without their secrets
    #[command(visible_alias = "list")]
    Ls,
    /// Revoke tokens
    #[command(visible_alias = "revoke")]
    Rm {
        /// Ids of the tokens
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

/// `shipway completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shipway completions bash > /etc/bash_completion.d/shipway
  shipway completions zsh > \"${fpath[1]}/_shipway\"
  shipway completions fish > ~/.config/fish/completions/shipway.fish")]
pub struct CompletionsArgs {
    /// Your shell
    #[arg(value_name = "SHELL")]
    pub shell: ShellArg,
}

/// A shell, as typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ShellArg {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
}

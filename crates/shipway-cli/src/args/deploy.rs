//! `shipway deploy`, as it stands on the command line.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::WaitArgs;
use crate::units::{self, KeyValue};

/// `shipway deploy`.
#[derive(Debug, Args)]
#[command(after_help = "\
The content is fetched (or uploaded) once, now; a restart never fetches it again. Deploying the same name again makes the next release; if that
does not become ready, the one before it stays live.

Examples:
  shipway deploy https://example.com/hello.sh --script
  shipway deploy ./report.py --name report --env LEVEL=full --timeout 60s
  shipway deploy ./index.html --static
  shipway deploy ./site.html --runner nginx
  generate | shipway deploy - --name today --type text/html
  shipway deploy --image app --port 8000 -- httpd -f -p 8000")]
pub struct DeployArgs {
    /// URL, file, or - for standard input
    #[arg(value_name = "URL|FILE", required_unless_present = "image")]
    pub source: Option<String>,
    /// Run a command in this image instead; `shipway image ls` lists them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["source", "script", "static", "media_type"],
          requires_all = ["port", "command"], help_heading = "Commands in images")]
    pub image: Option<String>,
    /// TCP port that the command listens on
    #[arg(long, value_name = "PORT", requires = "image", value_parser = clap::value_parser!(u16).range(1..),
          help_heading = "Commands in images")]
    pub port: Option<u16>,
    /// What the command speaks there [default: http1]
    #[arg(long, value_name = "PROTOCOL", requires = "image", help_heading = "Commands in images")]
    pub protocol: Option<ProtocolArg>,
    /// The command and its arguments, given to no shell
    #[arg(last = true, value_name = "COMMAND", requires = "image")]
    pub command: Vec<String>,
    /// Run it on every request
    #[arg(long, conflicts_with = "static")]
    pub script: bool,
    /// Serve it as it is
    #[arg(long = "static")]
    pub r#static: bool,
    /// What serves it inside its container [default: native]
    #[arg(long, value_name = "RUNNER", conflicts_with = "image", help_heading = "Runner")]
    pub runner: Option<RunnerArg>,
    /// With nginx: the image it is in [default: the host's packages nginx and fcgiwrap]
    #[arg(long, value_name = "NAME", requires = "runner", help_heading = "Runner")]
    pub runner_image: Option<String>,
    /// Name of the service [default: made of the file's or image's name]
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
    /// A variable for the script or command; may be repeated
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<KeyValue>,
    /// Media type of an uploaded file, as text/html [default: by its name]
    #[arg(long = "type", value_name = "TYPE")]
    pub media_type: Option<String>,
    /// Memory of its container, as 256M
    #[arg(long, value_name = "BYTES", value_parser = units::bytes, help_heading = "Limits")]
    pub memory: Option<u64>,
    /// Processors, as 0.5
    #[arg(long, value_name = "NUMBER", value_parser = units::cpus, help_heading = "Limits")]
    pub cpus: Option<u32>,
    /// Processes and threads
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    pub pids: Option<u32>,
    /// Bytes it may write, as 64M; they count as memory
    #[arg(long, value_name = "BYTES", value_parser = units::bytes, help_heading = "Limits")]
    pub disk: Option<u64>,
    /// Longest one request of a script may take, as 30s
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Limits")]
    pub timeout: Option<Duration>,
    /// Requests of a script at work at once
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    pub concurrency: Option<u32>,
    /// What it may reach [default: none]
    #[arg(long, value_name = "NETWORK", help_heading = "Network")]
    pub egress: Option<EgressArg>,
    /// With egress: connections open at a time
    #[arg(long, value_name = "NUMBER", help_heading = "Network", requires = "egress")]
    pub connections: Option<u32>,
    /// With egress: bytes a second, each way, as 10M
    #[arg(long, value_name = "BYTES", value_parser = units::bytes, help_heading = "Network", requires = "egress")]
    pub bandwidth: Option<u64>,
    /// Path that must answer before the release goes live [default: the runner is asked, and no
    /// script is run; a command's port must take a connection]
    #[arg(long, value_name = "PATH", help_heading = "Health")]
    pub health: Option<String>,
    /// How long it may take to become ready, as 10s
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Health")]
    pub ready_within: Option<Duration>,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What a command speaks on its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 without TLS, as gRPC needs it
    H2c,
}

/// What serves content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RunnerArg {
    /// Shipway's own small program
    Native,
    /// Nginx, with fcgiwrap for scripts
    Nginx,
}

/// What a service may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EgressArg {
    /// Nothing
    None,
    /// The public internet, and what the operator allows besides
    Internet,
}

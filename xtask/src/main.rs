//! Everything a developer runs, in one place: `cargo xtask <command>`.
//!
//! `make up`, `make down` and `make test` are thin doors to it, and CI runs
//! `make test` and nothing that a laptop cannot.

mod bench;
mod conform;
mod deb;
mod down;
mod generate;
mod sh;
mod test;
mod tidy;
mod torture;
mod up;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything a developer runs.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a debug binary and run `shipway` with the arguments given
    Run {
        /// Passed on to `shipway`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build a release binary, start it in the background, deploy the examples (`make up`)
    Up,
    /// Stop what `up` started and leave nothing behind (`make down`)
    Down,
    /// Format, lint, tidy and every test, privileged ones included (`make test`)
    Test(test::Options),
    /// The rules a machine can check: file lengths, heads, forbidden edges, dead links
    Tidy,
    /// Write generated files anew: the OpenAPI document
    Gen,
    /// Measure Shipway and its peers in turn and print the ratios
    Bench(bench::Options),
    /// Let h2spec, slowhttptest and grpc-go judge the edge of a debug build
    Conform(conform::Options),
    /// Kill, stop and cut off what works on tasks, and look what is left
    Torture {
        /// Passed on: see `cargo xtask torture -- --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make a Debian package of the release binary
    Deb(deb::Options),
    /// Run the engine's tests in a stock Debian 12 virtual machine (cgroup v2, systemd)
    Vm(vm::Options),
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sh::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { arguments } => run(&arguments),
        Command::Up => up::up(),
        Command::Down => down::down(),
        Command::Test(options) => test::test(&options),
        Command::Tidy => tidy::tidy(),
        Command::Gen => generate::generate(),
        Command::Bench(options) => bench::bench(&options),
        Command::Conform(options) => conform::conform(&options),
        Command::Torture { arguments } => torture::torture(&arguments),
        Command::Deb(options) => deb::deb(&options),
        Command::Vm(options) => vm::vm(&options),
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut words = vec!["run", "--quiet", "--package", "shipway", "--"];
    words.extend(arguments.iter().map(String::as_str));
    sh::run("cargo", &words)
}

//! The torture suite's program: without a role the tester, with one what is tortured.
//!
//! `cargo xtask torture` builds and runs it; see `docs/dev/torture.md`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shipway_stdx::clock::{Clock as _, HostClock};
use shipway_torture::part;
use shipway_torture::report::Report;
use shipway_torture::runs::{RUNS, Stage};

/// Shoots, stops and cuts off what works on tasks, and looks what is left.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask torture")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Only this run, or these; all when none is named
    #[arg(long = "run", value_name = "R1", value_delimiter = ',')]
    runs: Vec<String>,
    /// The numbers of a night, not those of CI
    #[arg(long)]
    long: bool,
    /// Decides what is left to chance; printed at the start
    #[arg(long)]
    seed: Option<u64>,
    /// One JSON object a run, and one for all
    #[arg(long)]
    json: bool,
    /// Say which runs there are
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// What is tortured; not for people
    #[command(hide = true)]
    Part {
        /// What it is, in JSON
        config: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.role {
        Some(Role::Part { config }) => part::play(&config),
        None => torture(&arguments.options),
    };
    done.unwrap_or_else(|error| {
        say(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn torture(options: &Options) -> anyhow::Result<ExitCode> {
    if options.list {
        RUNS.iter().for_each(|run| tell(&format!("{}  {}", run.id, run.about)));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = options.runs.iter().find(|id| !RUNS.iter().any(|run| run.id == id.as_str())) {
        anyhow::bail!("there is no run {unknown:?}: see --list");
    }
    let seed = options.seed.unwrap_or_else(|| HostClock.now().unsigned_abs() % 1_000_000);
    say(&format!("seed {seed}"));
    let stage = Stage { seed, long: options.long };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let reports = runtime.block_on(all(options, &stage))?;
    let sum = Report::sum(&reports);
    print(&sum, options.json)?;
    for report in reports.iter().filter(|report| !report.violations.is_empty()) {
        tell(&format!("{} is broken; the evidence is in {:?}", report.run, report.kept));
        report.violations.iter().take(20).for_each(|violation| tell(&format!("  {violation}")));
    }
    Ok(if sum.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn all(options: &Options, stage: &Stage) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    let is_wanted = |id: &str| options.runs.is_empty() || options.runs.iter().any(|wanted| wanted == id);
    for run in RUNS.iter().filter(|run| is_wanted(run.id)) {
        say(&format!("{}: {}", run.id, run.about));
        for report in run.make(stage).await {
            print(&report, options.json)?;
            reports.push(report);
        }
    }
    Ok(reports)
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    tell(&if json { serde_json::to_string(report)? } else { report.to_string() });
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the results are for whoever asked for them")]
fn tell(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "how far it has come is for whoever waits")]
fn say(text: &str) {
    eprintln!("torture: {text}");
}

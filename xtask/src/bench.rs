//! `cargo xtask bench`: the peer and Shipway in turn, in one run, on one machine.
//!
//! Machines are noisy, so a round is peer then Shipway, rounds are repeated, and
//! what is reported is the median of the rounds' ratios. A bar that is missed is a
//! row like any other: figure, bar, not held.

mod change;
mod deploy;
mod docker;
mod egress;
mod gobuild;
mod idle;
mod proxy;
mod queue;
mod routes;
mod row;
mod scripts;
mod start;
mod visitors;
mod work;

use anyhow::{bail, ensure};

use crate::sh::{self, say, tell};
use row::Row;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which: start, exec, deploy, script, idle, proxy, routes, redeploy, upgrade, egress, queue, gobuild; all of them when none is named
    names: Vec<String>,
    /// One JSON object a row
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a bar is missed
    #[arg(long)]
    check: bool,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// A bench by its name, and whether it measures the whole binary.
type Bench = (&'static str, bool, fn(usize) -> anyhow::Result<Vec<Row>>);

const BENCHES: [Bench; 12] = [
    ("start", false, start::start),
    ("exec", false, start::exec),
    ("deploy", true, deploy::deploy),
    ("script", true, scripts::script),
    ("idle", true, idle::idle),
    ("proxy", true, proxy::proxy),
    ("routes", false, routes::routes),
    ("redeploy", true, change::redeploy),
    ("upgrade", true, change::upgrade),
    ("egress", true, egress::egress),
    ("queue", false, queue::queue),
    ("gobuild", true, gobuild::gobuild),
];

/// Measures what was named, prints a row for each comparison.
pub(crate) fn bench(options: &Options) -> anyhow::Result<()> {
    let unknown = options.names.iter().find(|name| !BENCHES.iter().any(|(known, ..)| known == name));
    if let Some(name) = unknown {
        let known: Vec<&str> = BENCHES.iter().map(|(name, ..)| *name).collect();
        bail!("there is no bench `{name}`; there are {}", known.join(", "));
    }
    let is_wanted = |name: &str| options.names.is_empty() || options.names.iter().any(|wanted| wanted == name);
    let wanted: Vec<Bench> = BENCHES.into_iter().filter(|(name, ..)| is_wanted(name)).collect();
    if wanted.iter().any(|(_, whole, _)| *whole) {
        say("building a release of Shipway (minutes, the first time)");
        sh::run("cargo", &["build", "--release", "--quiet", "--package", "shipway"])?;
    }
    let mut missed = 0;
    for (name, _, measure) in wanted {
        say(&format!("measuring {name}"));
        // Told at once: a later one may take long, or fail.
        for row in measure(options.rounds)? {
            tell(&if options.json { serde_json::to_string(&row)? } else { row.line() });
            missed += usize::from(row.held == Some(false));
        }
    }
    ensure!(!options.check || missed == 0, "{missed} bars are missed");
    Ok(())
}

//! `start` and `exec`: the engine's own cycle against that of runc and crun.
//!
//! Ours runs in the engine's example `cycle`, which prints the microseconds of each
//! cycle; runc runs a bundle of the same root file system with the same namespaces
//! and limits, from the outside, as it is used. Docker is not run: its daemon is a
//! machine-wide service, which a bench neither installs nor starts.

mod bundle;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use self::bundle::Bundle;
use super::row::{Row, median};
use crate::sh;

/// Cycles of each side in a round.
const CYCLES: usize = 30;

/// What one program's cycles took, in milliseconds: the median of each round.
type Rounds = Vec<f64>;

pub(super) fn start(rounds: usize) -> anyhow::Result<Vec<Row>> {
    build()?;
    let bundle = Bundle::new(&["/bin/true"])?;
    let bars = [("runc", 4.0), ("crun", 1.3)];
    let mut rows = Vec::new();
    for (runtime, bar) in bars {
        if let Err(error) = bundle.run(runtime) {
            rows.push(skipped("start", runtime, &error));
            continue;
        }
        let (theirs, ours) = in_turns(rounds, || each(|| bundle.run(runtime)), || ours(&bundle, "start"))?;
        rows.push(compared("start", format!("{runtime} run"), &theirs, &ours, Some(bar)));
    }
    let (bare, ours) = in_turns(rounds, || each(|| bundle.unshare()), || ours(&bundle, "start"))?;
    rows.push(compared("start", "unshare + chroot".to_owned(), &bare, &ours, None));
    Ok(rows)
}

pub(super) fn exec(rounds: usize) -> anyhow::Result<Vec<Row>> {
    build()?;
    let bundle = Bundle::new(&["/bin/sleep", "1000"])?;
    let _sleeper = bundle.keep_running("runc")?;
    let (theirs, ours) = in_turns(rounds, || each(|| bundle.exec("runc")), || ours(&bundle, "exec"))?;
    Ok(vec![compared("exec", "runc exec".to_owned(), &theirs, &ours, Some(5.0))])
}

fn build() -> anyhow::Result<()> {
    sh::run("cargo", &["build", "--release", "--quiet", "--package", "shipway-engine", "--example", "cycle"])
}

/// Peer, then ours, and again.
fn in_turns(
    rounds: usize,
    mut peer: impl FnMut() -> anyhow::Result<f64>,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<(Rounds, Rounds)> {
    let (mut their_rounds, mut our_rounds) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        their_rounds.push(peer()?);
        our_rounds.push(ours()?);
    }
    Ok((their_rounds, our_rounds))
}

/// The median of some cycles of a program that is run for each.
fn each(cycle: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let timed = |_| {
        let begun = Instant::now();
        cycle().map(|()| milliseconds(begun.elapsed()))
    };
    Ok(median((0..CYCLES).map(timed).collect::<Result<_, _>>()?))
}

fn ours(bundle: &Bundle, mode: &str) -> anyhow::Result<f64> {
    let program = sh::target().join("release/examples/cycle");
    let tree = bundle.tree();
    let printed = sh::read(&program.to_string_lossy(), &[mode, &CYCLES.to_string(), &tree.to_string_lossy()])?;
    let times: Vec<u64> = printed.lines().map(str::parse).collect::<Result<_, _>>().context("lines of microseconds")?;
    ensure!(times.len() == CYCLES, "the example printed {} times", times.len());
    Ok(median(times.into_iter().map(|micros| milliseconds(Duration::from_micros(micros))).collect()))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn compared(bench: &'static str, peer: String, theirs: &Rounds, ours: &Rounds, bar: Option<f64>) -> Row {
    let ratio = median(theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours).collect());
    let work = match bench {
        "start" => "create, /bin/true, status, cleaned up",
        _ => "/bin/true in a running container",
    };
    Row {
        bench,
        work: work.to_owned(),
        peer: format!("{peer}: {:.1} ms", median(theirs.clone())),
        ours: format!("{:.1} ms", median(ours.clone())),
        ratio: Some(ratio),
        bar: bar.map_or_else(|| "reported".to_owned(), |bar| format!("≥ {bar} ×")),
        held: bar.map(|bar| ratio >= bar),
    }
}

/// A peer that does not run here is said to be so, not left out.
fn skipped(bench: &'static str, runtime: &str, error: &anyhow::Error) -> Row {
    sh::say(&format!("{runtime} does not run here: {error:#}"));
    Row {
        bench,
        work: "the same".to_owned(),
        peer: format!("{runtime}: does not run here"),
        ours: "-".to_owned(),
        ratio: None,
        bar: "-".to_owned(),
        held: None,
    }
}

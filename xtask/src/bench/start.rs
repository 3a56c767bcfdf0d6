//! `start` and `exec`: the engine's own cycle against runc, crun, Docker and the limit.
//!
//! Ours runs in the engine's example `cycle`, which says what its modes time. The
//! peers are programs run for each container, from the outside, as they are used: runc
//! and crun on a bundle of the same root file system with the same namespaces and
//! limits, Docker on an image of it. The limit is a bare program making the same calls.

mod bundle;
mod ours;

use std::time::{Duration, Instant};

use self::bundle::Bundle;
pub(super) use self::bundle::finish;
use self::ours::{crowd, cycle};
use super::docker::{Bridge, Docker};
use super::row::{Row, median};
use crate::sh;

/// Cycles of each side in a round.
const CYCLES: usize = 30;

const COLD: &str = "create, /bin/true, status, cleaned up";
const WARM: &str = "warm start to cleaned up, refilled in a loop";
const EXEC: &str = "/bin/true in a running container";

/// What one program's cycles took, in milliseconds: the median of each round.
type Rounds = Vec<f64>;

/// The bench, what was done, and how much better than the peer it must be.
type Promise = (&'static str, &'static str, Option<f64>);

pub(super) fn start(rounds: usize) -> anyhow::Result<Vec<Row>> {
    ours::build()?;
    ours::build_limit()?;
    let bundle = Bundle::new(&["/bin/true"])?;
    let mut rows = Vec::new();
    for (runtime, promises) in [
        ("runc", [("start", COLD, Some(4.0)), ("start", WARM, Some(10.0))]),
        ("crun", [("start", COLD, Some(1.3)), ("start", WARM, None)]),
    ] {
        if let Err(error) = bundle.run(runtime) {
            rows.push(skipped(promises[0], runtime, &error));
            continue;
        }
        for promise in promises {
            let mode = if promise.1 == WARM { "warm" } else { "start" };
            let (theirs, ours) = in_turns(rounds, || each(|| bundle.run(runtime)), || cycle(&bundle, mode))?;
            rows.push(compared(promise, format!("{runtime} run"), &theirs, &ours));
        }
    }
    rows.push(beside_docker(("start", COLD, Some(40.0)), &bundle, "start", rounds)?);
    let (limit, ours) = in_turns(rounds, || ours::limit(&bundle), || cycle(&bundle, "start"))?;
    rows.push(bounded("the limit", &limit, &ours, 1.5));
    let (alone, beside) = (0..rounds).map(|_| crowd(&bundle)).collect::<anyhow::Result<(Vec<_>, Vec<_>)>>()?;
    rows.push(bounded("the first, 999 later", &alone, &beside, 2.5));
    let (bare, ours) = in_turns(rounds, || each(|| bundle.unshare()), || cycle(&bundle, "start"))?;
    rows.push(compared(("start", COLD, None), "unshare + chroot".to_owned(), &bare, &ours));
    for (mode, work) in
        [("contended", "warm, the next one made at the same time"), ("rounds", "a round of the warm loop")]
    {
        let (cold, ours) = in_turns(rounds, || cycle(&bundle, "start"), || cycle(&bundle, mode))?;
        rows.push(compared(("start", work, None), "ours, cold".to_owned(), &cold, &ours));
    }
    Ok(rows)
}

pub(super) fn exec(rounds: usize) -> anyhow::Result<Vec<Row>> {
    ours::build()?;
    let bundle = Bundle::new(&["/bin/sleep", "1000"])?;
    let _sleeper = bundle.keep_running("runc")?;
    let (theirs, ours) = in_turns(rounds, || each(|| bundle.exec("runc")), || cycle(&bundle, "exec"))?;
    let runc = compared(("exec", EXEC, Some(5.0)), "runc exec".to_owned(), &theirs, &ours);
    Ok(vec![runc, beside_docker(("exec", EXEC, Some(30.0)), &bundle, "exec", rounds)?])
}

fn beside_docker(promise: Promise, bundle: &Bundle, mode: &str, rounds: usize) -> anyhow::Result<Row> {
    let docker = match Docker::start(&bundle.tree(), Bridge::None) {
        Ok(docker) => docker,
        Err(error) => return Ok(skipped(promise, "docker", &error)),
    };
    let executes = mode == "exec";
    if executes {
        docker.keep_running()?;
    }
    let theirs = || each(|| if executes { docker.exec() } else { docker.run() });
    let (theirs, ours) = in_turns(rounds, theirs, || cycle(bundle, mode))?;
    let peer = if executes { "docker exec" } else { "docker run --rm" };
    Ok(compared(promise, peer.to_owned(), &theirs, &ours))
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

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn compared((bench, work, bar): Promise, peer: String, theirs: &Rounds, ours: &Rounds) -> Row {
    let ratio = median(theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours).collect());
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

/// A cold start against what it may be a small multiple of.
fn bounded(peer: &str, theirs: &Rounds, ours: &Rounds, most: f64) -> Row {
    let ratio = median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect());
    let row = compared(("start", COLD, None), peer.to_owned(), theirs, ours);
    Row { ratio: Some(ratio), bar: format!("≤ {most} ×"), held: Some(ratio <= most), ..row }
}

/// A peer that does not run here is said to be so, not left out.
fn skipped((bench, work, _): Promise, peer: &str, error: &anyhow::Error) -> Row {
    sh::say(&format!("{peer} does not run here: {error:#}"));
    Row {
        bench,
        work: work.to_owned(),
        peer: format!("{peer}: does not run here"),
        ours: "-".to_owned(),
        ratio: None,
        bar: "-".to_owned(),
        held: None,
    }
}
